/** What is known of the requests that a model works on or has answered. */

/**
 * What a runner of Ollama 0.30 or later says over its own HTTP port (llama.cpp's server: GET /slots, GET /metrics). No text
 * of a request is among it.
 */
export interface RunnerEndpoints {
  /** Parallel slots, and those that work now. Absent when /slots does not answer sensibly. */
  readonly slots?: number;
  readonly slotsBusy?: number;
  /** Tokens decoded so far by the requests running now. */
  readonly activeTokens?: number;
  /** True when /metrics answers, false when it is switched off; absent where that is unknown. */
  readonly answersMetrics?: boolean;
  /** The rest comes from /metrics and moves at the end of each request. */
  readonly generatedTokens?: number;
  readonly promptTokens?: number;
  readonly promptTokensCached?: number;
  readonly promptSeconds?: number;
  readonly generationSeconds?: number;
  readonly requestsProcessing?: number;
  readonly requestsDeferred?: number;
}

/** What is counted per model and request: by a runner since its start, or by a server of its own accord. */
export type RequestCounters = Pick<
  RunnerEndpoints,
  "generatedTokens" | "promptTokens" | "promptTokensCached" | "promptSeconds" | "generationSeconds"
>;

/** What an Ollama server says on a /metrics of its own. */
export interface OwnMetrics {
  /** Its families that are mapped to the catalogue's. */
  readonly mapped: readonly string[];
  /** By model, as /api/ps names it. */
  readonly counters: Readonly<Record<string, RequestCounters>>;
}
