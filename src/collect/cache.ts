/** One snapshot for all readers: fresh enough is served again, and one reading in flight is shared by everybody. */
import type { Clock } from "../lib/clock.ts";
import type { Snapshot } from "../snapshot.ts";
import type { Collection } from "./collector.ts";

export interface SnapshotCacheOptions {
  readonly collect: (signal: AbortSignal) => Collection;
  /** A snapshot younger than this is served again; 0 = read every time. */
  readonly maxAgeMs: number;
  readonly clock: Clock;
}

export interface SnapshotRequest {
  /** Overrides the cache's own duration for this request. */
  readonly maxAgeMs?: number;
  /** Answer after this time with what has been read by then; the reading goes on for the cache. */
  readonly deadlineMs?: number;
}

export class SnapshotCache {
  readonly #options: SnapshotCacheOptions;
  readonly #closing = new AbortController();
  #latest: { readonly snapshot: Snapshot; readonly at: number } | undefined;
  #inFlight: Collection | undefined;
  #refreshing: AbortController | undefined;

  constructor(options: SnapshotCacheOptions) {
    this.#options = options;
  }

  /** The last finished snapshot, however old. */
  get latest(): Snapshot | undefined {
    return this.#latest?.snapshot;
  }

  /** A snapshot young enough, from the cache or a reading. With background refresh on, the newest one at once. */
  async get(request: SnapshotRequest = {}): Promise<Snapshot> {
    const maxAge = request.maxAgeMs ?? (this.#refreshing ? Infinity : this.#options.maxAgeMs);
    if (this.#latest && this.#options.clock.monotonic() - this.#latest.at < maxAge) return this.#latest.snapshot;
    const collection = this.#join();
    return request.deadlineMs === undefined ? collection.done : this.#within(collection, request.deadlineMs);
  }

  /** Reads at once and then every `intervalMs`, until stopped. */
  startRefresh(intervalMs: number): void {
    if (this.#refreshing || this.#closing.signal.aborted) return;
    const refreshing = new AbortController();
    this.#refreshing = refreshing;
    void this.#refresh(intervalMs, refreshing.signal);
  }

  stopRefresh(): void {
    this.#refreshing?.abort();
    this.#refreshing = undefined;
  }

  /** Ends the refresh and asks the reading in flight to end. */
  close(): void {
    this.stopRefresh();
    this.#closing.abort();
  }

  #join(): Collection {
    if (this.#inFlight) return this.#inFlight;
    const started = this.#options.collect(this.#closing.signal);
    const done = started.done.then(
      (snapshot) => {
        this.#latest = { snapshot, at: this.#options.clock.monotonic() };
        this.#inFlight = undefined;
        return snapshot;
      },
      (error: unknown) => {
        this.#inFlight = undefined;
        throw error;
      },
    );
    const collection: Collection = { done, partial: () => started.partial() };
    this.#inFlight = collection;
    return collection;
  }

  async #within(collection: Collection, deadlineMs: number): Promise<Snapshot> {
    const timer = new AbortController();
    const late = this.#options.clock.sleep(deadlineMs, timer.signal).then(() => collection.partial());
    late.catch(() => undefined); // cancelled because the reading came first
    try {
      return await Promise.race([collection.done, late]);
    } finally {
      timer.abort();
    }
  }

  async #refresh(intervalMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.get({ maxAgeMs: 0 }).catch(() => undefined); // a bug in one collection must not end the refresh
      await this.#options.clock.sleep(intervalMs, signal, { keepAlive: false }).catch(() => undefined);
    }
  }
}
