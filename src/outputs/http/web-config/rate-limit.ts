import type { Clock } from "../../../lib/clock.ts";

/** A token bucket: one token per interval, `burst` at most (golang.org/x/time/rate, as the exporter-toolkit uses it). */
export class RateLimit {
  readonly #intervalMs: number;
  readonly #burst: number;
  readonly #clock: Clock;
  #tokens: number;
  #at: number;

  constructor({ intervalMs, burst }: { readonly intervalMs: number; readonly burst: number }, clock: Clock) {
    this.#intervalMs = intervalMs;
    this.#burst = burst;
    this.#clock = clock;
    this.#tokens = burst;
    this.#at = clock.monotonic();
  }

  /** Takes a token, if there is one. */
  allows(): boolean {
    const now = this.#clock.monotonic();
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) / this.#intervalMs);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
