/** What a runner answers, read without trust: anything of another outline is unknown, never an error. */
import type { RunnerEndpoints } from "../../snapshot.ts";

/** From GET /slots: a list with one object per slot. Only numbers and flags are looked at. */
export function decodeSlots(answer: unknown): Pick<RunnerEndpoints, "slots" | "slotsBusy" | "activeTokens"> {
  if (!Array.isArray(answer)) return {};
  const slots: readonly unknown[] = answer;
  if (!slots.every(isSlot)) return {};
  const busy = slots.filter((slot) => slot.is_processing);
  const activeTokens = total(busy.map(decodedTokens));
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
  if (entries.length === 0) return undefined;
  const counts = entries.map((entry) =>
    typeof entry === "object" && entry !== null && "n_decoded" in entry ? whole(entry.n_decoded) : undefined,
  );
  return total(counts);
}

/** A sum with an unknown part is unknown, and so is one that is too large to be a number. */
function total(counts: readonly (number | undefined)[]): number | undefined {
  return counts.reduce((sum, next) => (sum === undefined || next === undefined ? undefined : whole(sum + next)), 0);
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

/** A sample without labels; llama.cpp writes no time behind it. */
const SAMPLE = /^llamacpp:(\w+)[ \t]+(\S+)\s*$/;

/**
 * From GET /metrics: Prometheus text without labels. A value that is no count, or that is given twice and differently, is
 * unknown. Undefined when nothing in it is llama.cpp's.
 */
export function decodeMetrics(text: string): RunnerEndpoints | undefined {
  const found = new Map<keyof RunnerEndpoints, number | undefined>();
  for (const line of text.split("\n")) {
    const [, name = "", value = ""] = SAMPLE.exec(line) ?? [];
    const field = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
    if (field === undefined) continue;
    const number = parseCount(value);
    found.set(field, found.has(field) && found.get(field) !== number ? undefined : number);
  }
  const known = [...found].filter(([, number]) => number !== undefined);
  return known.length === 0 ? undefined : Object.fromEntries(known);
}

/** A number of Prometheus' text format that can count something: decimal, finite, not negative. */
export function parseCount(text: string): number | undefined {
  if (!/^\+?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i.test(text)) return undefined;
  const number = Number(text);
  return Number.isFinite(number) ? number : undefined;
}

/** A whole number that JSON can hold exactly. */
function whole(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
