import { setTimeout as delay } from "node:timers/promises";

/** Time as the rest of the code sees it, so that tests can turn it by hand. */
export interface Clock {
  /** Unix milliseconds; may step back. */
  now(): number;
  /** Milliseconds from an arbitrary start; never steps back. */
  monotonic(): number;
  /**
   * Resolves after `ms`; rejects when the signal aborts. Somebody awaits a wait, so it keeps the process alive,
   * unless `keepAlive` is false: for what repeats in the background.
   */
  sleep(ms: number, signal?: AbortSignal, options?: { readonly keepAlive?: boolean }): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal, { keepAlive = true } = {}) => delay(ms, undefined, { ref: keepAlive, ...(signal && { signal }) }),
};
