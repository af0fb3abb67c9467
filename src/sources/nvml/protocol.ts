/** The messages between NvmlSource and its worker process: one question, one whole reading. */
import type { WorkerReading } from "./session.ts";

export interface ReadRequest {
  readonly id: number;
  /** Who asks; a worker that finds itself with another parent by now must not go into the driver. */
  readonly parentPid: number;
  readonly library: string;
  readonly include?: readonly string[];
  /** Between two energy samples; 0 = none. */
  readonly energyIntervalMs: number;
  /** Time of the last energy sample that the parent has, of this worker or of one before it. */
  readonly energySinceSeconds?: number;
}

export type WorkerReply = { readonly id: number } & (
  | { readonly type: "reading"; readonly reading: WorkerReading }
  /** A driver call failed in a way that ends the reading. */
  | { readonly type: "fault"; readonly function: string; readonly code: number }
  /** The library cannot be loaded; the worker ends. */
  | { readonly type: "unloadable"; readonly reason: string }
  /** A bug. */
  | { readonly type: "error"; readonly reason: string }
);
