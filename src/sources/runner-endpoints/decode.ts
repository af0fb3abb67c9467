/** What a runner answers, read without trust: anything of another outline is unknown, never an error. */
import type { RunnerEndpoints } from "../../snapshot.ts";

/** From GET /slots: a list with one object per slot. Only numbers and flags are looked at. */
export function decodeSlots(answer: unknown): Pick<RunnerEndpoints, "slots" | "slotsBusy" | "activeTokens"> {
  if (!Array.isArray(answer)) return {};
  const slots: readonly unknown[] = answer;
  if (!slots.every(isSlot)) return {};
  const busy = slots.filter((slot) => slot.is_processing);
  const decoded = busy.map(decodedTokens);
  const activeTokens = decoded.reduce<number | undefined>(
    (sum, tokens) => (sum === undefined || tokens === undefined ? undefined : sum + tokens),
    0,
  );
  return { slots: slots.length, slotsBusy: busy.length, ...(activeTokens !== undefined && { activeTokens }) };
}

interface Slot {
  readonly is_processing: boolean;
  readonly next_token?: unknown;
}

function isSlot(value: unknown): value is Slot {
  return (
    typeof value === "object" && value !== null && "is_processing" in value && typeof value.is_processing === "boolean"
  );
}

/** `next_token` is a list with one entry per sequence; older servers gave the entry itself. */
function decodedTokens({ next_token: next }: Slot): number | undefined {
  const entries: readonly unknown[] = Array.isArray(next) ? next : [next];
  const counts = entries.map((entry) =>
    typeof entry === "object" && entry !== null && "n_decoded" in entry ? count(entry.n_decoded) : undefined,
  );
  return counts.reduce<number | undefined>(
    (sum, tokens) => (sum === undefined || tokens === undefined ? undefined : sum + tokens),
    0,
  );
}

/** Names of llama.cpp's metrics (tools/server/server-context.cpp: `llamacpp:` before each) for what is kept. */
const FIELDS: Readonly<Record<string, keyof RunnerEndpoints>> = {
  tokens_predicted_total: "generatedTokens",
  prompt_tokens_total: "promptTokens",
  prompt_tokens_cached_total: "promptTokensCached",
  prompt_seconds_total: "promptSeconds",
  tokens_predicted_seconds_total: "generationSeconds",
  requests_processing: "requestsProcessing",
  requests_deferred: "requestsDeferred",
};

/** From GET /metrics: Prometheus text without labels. Undefined when nothing in it is llama.cpp's. */
export function decodeMetrics(text: string): RunnerEndpoints | undefined {
  const found: Partial<Record<string, number>> = {};
  for (const line of text.split("\n")) {
    const [, name = "", value] = /^llamacpp:(\w+)\s+(\S+)/.exec(line) ?? [];
    const field = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
    const number = value === undefined || value === "" ? undefined : count(Number(value));
    if (field !== undefined && number !== undefined) found[field] = number;
  }
  return Object.keys(found).length === 0 ? undefined : found;
}

/** A number that can count something. */
function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}
