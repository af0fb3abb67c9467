/**
 * The Prometheus endpoint that an Ollama server may have of its own (proposed upstream, OLLAMA_METRICS=1): found, and mapped
 * where it means what the catalogue means. What else is in it is not looked at. Reasons: docs/decisions/0005.
 */
import type { Clock } from "../../lib/clock.ts";
import type { OwnMetrics, RequestCounters } from "../../snapshot.ts";

/** What GET /metrics answered; undefined = nothing in time, or too much. */
export type TextAnswer = { readonly status: number; readonly contentType: string; readonly text: string } | undefined;

type Count = keyof RequestCounters | "allPromptTokens";

/** Counters with the label model, and in the older proposal reason: #18508's names first, #16998's where they differ. */
const COUNTERS: Readonly<Record<string, Count>> = {
  ollama_generated_tokens_total: "generatedTokens",
  ollama_eval_total: "generatedTokens",
  ollama_prompt_tokens_total: "allPromptTokens",
  ollama_prompt_cached_tokens_total: "promptTokensCached",
  ollama_prompt_eval_duration_seconds_total: "promptSeconds",
  ollama_prompt_eval_duration_seconds: "promptSeconds",
  ollama_eval_duration_seconds_total: "generationSeconds",
  ollama_eval_duration_seconds: "generationSeconds",
};

/** A server without the endpoint is asked again after this time, or when it has been away. */
const ABSENT_FOR_MS = 3_600_000;

export interface OwnMetricsOptions {
  readonly ask: () => Promise<TextAnswer>;
  readonly intervalMs: number;
  readonly clock: Clock;
}

export class OwnMetricsReader {
  readonly #options: OwnMetricsOptions;
  #found: OwnMetrics | undefined;
  #dueAt = -Infinity;

  constructor(options: OwnMetricsOptions) {
    this.#options = options;
  }

  /** What is known now; asks when it is time to. Never rejects. */
  async read(): Promise<OwnMetrics | undefined> {
    const { ask, intervalMs, clock } = this.#options;
    if (clock.monotonic() < this.#dueAt) return this.#found;
    const answer = await ask();
    this.#found = answer && decodeOwnMetrics(answer);
    this.#dueAt = clock.monotonic() + (answer && !this.#found ? Math.max(ABSENT_FOR_MS, intervalMs) : intervalMs);
    return this.#found;
  }

  /** The server did not answer: it may be another one when it is back. */
  serverFailed(): void {
    const { intervalMs, clock } = this.#options;
    this.#found = undefined;
    this.#dueAt = Math.min(this.#dueAt, clock.monotonic() + intervalMs);
  }
}

/** Undefined when it is not the exposition of an Ollama server. */
export function decodeOwnMetrics({ status, contentType, text }: NonNullable<TextAnswer>): OwnMetrics | undefined {
  if (status !== 200 || !/^(text\/plain|application\/openmetrics-text)\b/i.test(contentType)) return undefined;
  if (!/^ollama_build_info\b/m.test(text)) return undefined;
  const counters = new Set([...text.matchAll(/^# TYPE (\w+) counter[ \t\r]*$/gm)].map(([, name = ""]) => name));
  const samples = [...text.matchAll(/^(\w+)\{(.*)\}[ \t]+(\S+)[ \t\r]*$/gm)].flatMap(
    ([, name = "", labels = "", value = ""]) =>
      counters.has(name) && Object.hasOwn(COUNTERS, name) ? [{ name, labels, value: Number(value) }] : [],
  );
  const byName = Map.groupBy(samples, ({ name }) => name);
  const mapped = new Map<Count, string>();
  const sums = new Map<string, Map<Count, number>>();
  for (const [name, count] of Object.entries(COUNTERS)) {
    const totals = totalsByModel(byName.get(name) ?? []);
    if (!totals || mapped.has(count)) continue;
    mapped.set(count, name);
    for (const [model, total] of totals)
      sums.set(model, (sums.get(model) ?? new Map<Count, number>()).set(count, total));
  }
  return {
    mapped: [...mapped.values()],
    counters: Object.fromEntries([...sums].map(([model, counts]) => [model, countersOf(counts)])),
  };
}

/** Summed over reasons; undefined when there is none, or one of them is not what the proposals write. */
function totalsByModel(
  samples: readonly { readonly labels: string; readonly value: number }[],
): ReadonlyMap<string, number> | undefined {
  const totals = new Map<string, number>();
  const seen = new Set<string>();
  for (const { labels, value } of samples) {
    const model = modelOf(labels);
    if (model === undefined || !Number.isFinite(value) || value < 0 || seen.has(labels)) return undefined;
    seen.add(labels);
    totals.set(model, (totals.get(model) ?? 0) + value);
  }
  return totals.size === 0 ? undefined : totals;
}

/** The model under the name that /api/ps gives it, of labels that are model alone or model and reason. */
function modelOf(labels: string): string | undefined {
  const [, escaped] = /^model="((?:[^"\\]|\\.)*)"(?:,reason="(?:[^"\\]|\\.)*")?,?$/.exec(labels) ?? [];
  if (escaped === undefined || escaped === "") return undefined;
  const name = escaped.replace(/\\(.)/g, (_, character: string) => (character === "n" ? "\n" : character));
  return (name.split("/").at(-1) ?? "").includes(":") ? name : `${name}:latest`;
}

/** #18508 counts a cached prompt token in both of its counters. */
function countersOf(counts: ReadonlyMap<Count, number>): RequestCounters {
  const [all, cached] = [counts.get("allPromptTokens"), counts.get("promptTokensCached")];
  const split =
    all !== undefined && cached !== undefined && all >= cached
      ? { promptTokens: all - cached, promptTokensCached: cached }
      : {};
  const others = (["generatedTokens", "promptSeconds", "generationSeconds"] as const).flatMap((name) => {
    const value = counts.get(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...split, ...Object.fromEntries(others) };
}
