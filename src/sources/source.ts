/** The contract of everything that reads: one method, and a value instead of an exception. */

/** Why a reading gave nothing. */
export interface SourceFailure {
  readonly status: "failed";
  /** What failed, on what, and what the user can do. One line. */
  readonly reason: string;
  readonly timedOut: boolean;
}

export type SourceResult<T> =
  /** `degraded` says what is missing from the value although the reading as a whole worked: collector_success is then 0. */
  | { readonly status: "ok"; readonly value: T; readonly degraded?: string }
  /** There is nothing to read here (no driver library): the collector has no series. */
  | { readonly status: "absent"; readonly reason: string }
  | SourceFailure;

export interface Source<T> {
  /** Collector label: nvml, ollama or processes. */
  readonly name: "nvml" | "ollama" | "processes";
  /** Target label: the server for ollama, `local` otherwise. */
  readonly target: string;
  /**
   * Reads once, within the source's own deadline. Never throws, and ends early when `signal` aborts.
   * The collector never calls it again before the last call has settled.
   */
  read(signal: AbortSignal): Promise<SourceResult<T>>;
  close(): Promise<void>;
}

export const failed = (reason: string, timedOut = false): SourceFailure => ({ status: "failed", reason, timedOut });
