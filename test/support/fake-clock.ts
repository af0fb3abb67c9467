import type { Clock } from "../../src/lib/clock.ts";

interface Sleeper {
  readonly until: number;
  readonly wake: () => void;
}

/** A clock that stands still until the test turns it. */
export class FakeClock implements Clock {
  #monotonic = 0;
  #wall: number;
  readonly #sleepers = new Set<Sleeper>();

  constructor(wall = Date.UTC(2026, 10, 24)) {
    this.#wall = wall;
  }

  now = (): number => this.#wall;
  monotonic = (): number => this.#monotonic;

  sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const sleeper: Sleeper = { until: this.#monotonic + ms, wake: resolve };
      this.#sleepers.add(sleeper);
      const cancel = () => {
        this.#sleepers.delete(sleeper);
        reject(new Error("The wait was cancelled"));
      };
      if (signal?.aborted) cancel();
      else signal?.addEventListener("abort", cancel, { once: true });
    });

  /** How many waits are pending. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** Moves both times on, wakes whoever is due, and lets everything that follows run. */
  async advance(ms: number): Promise<void> {
    this.#monotonic += ms;
    this.#wall += ms;
    for (const sleeper of [...this.#sleepers].sort((a, b) => a.until - b.until)) {
      if (sleeper.until > this.#monotonic) continue;
      this.#sleepers.delete(sleeper);
      sleeper.wake();
    }
    await settle();
  }

  /** Steps the wall clock only, as an administrator or NTP does. */
  stepWall(ms: number): void {
    this.#wall += ms;
  }
}

/** Lets pending promise callbacks run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
