import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { SnapshotCache } from "../../src/collect/cache.ts";
import type { Collection } from "../../src/collect/collector.ts";
import type { Snapshot } from "../../src/snapshot.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

const snapshot = (takenAtMs: number): Snapshot => ({
  startedAtMs: 0,
  takenAtMs,
  gpus: [],
  owners: [],
  energy: [],
  processes: [],
  servers: [],
  models: [],
  transitions: [],
  collectors: [],
  nvmlRestarts: 0,
  nvmlCallErrors: [],
  dropped: { models: 0, processes: 0 },
});

/** A collector whose readings end when the test says so. */
class ManualCollector {
  readonly finishers: (() => void)[] = [];
  signal: AbortSignal | undefined;

  collect = (signal: AbortSignal): Collection => {
    this.signal = signal;
    const number = this.finishers.length + 1;
    const done = new Promise<Snapshot>((resolve) => {
      this.finishers.push(() => {
        resolve(snapshot(number));
      });
    });
    return { done, partial: () => Promise.resolve(snapshot(-number)) };
  };

  finish(): void {
    this.finishers.at(-1)?.();
  }
}

describe("SnapshotCache", () => {
  let clock: FakeClock;
  let collector: ManualCollector;
  let cache: SnapshotCache;

  beforeEach(() => {
    clock = new FakeClock();
    collector = new ManualCollector();
    cache = new SnapshotCache({ collect: collector.collect, maxAgeMs: 5_000, clock });
  });
  afterEach(() => {
    cache.close();
  });

  async function read(): Promise<number> {
    const reading = cache.get();
    collector.finish();
    return (await reading).takenAtMs;
  }

  it("serves a snapshot again while it is younger than the cache duration", async () => {
    expect(await read()).toBe(1);
    await clock.advance(4_999);
    expect((await cache.get()).takenAtMs).toBe(1);
    await clock.advance(1);
    expect(await read()).toBe(2);
  });

  it("shares one reading in flight among all who ask meanwhile", async () => {
    const all = Promise.all([cache.get(), cache.get({ deadlineMs: 1_000 }), cache.get({ maxAgeMs: 0 })]);
    collector.finish();
    expect((await all).map(({ takenAtMs }) => takenAtMs)).toEqual([1, 1, 1]);
    expect(collector.finishers).toHaveLength(1);
  });

  it("reads on every request when the duration is zero", async () => {
    cache = new SnapshotCache({ collect: collector.collect, maxAgeMs: 0, clock });
    expect(await read()).toBe(1);
    expect(await read()).toBe(2);
  });

  it("answers at the deadline with what is there, while the reading goes on for the cache", async () => {
    const scrape = cache.get({ deadlineMs: 1_500 });
    await clock.advance(1_500);
    expect((await scrape).takenAtMs).toBe(-1);
    expect(cache.latest).toBeUndefined();
    collector.finish();
    await settle();
    expect(cache.latest?.takenAtMs).toBe(1);
    expect(clock.sleeping).toBe(0);
  });

  it("is not confused by a wall clock that steps back", async () => {
    expect(await read()).toBe(1);
    clock.stepWall(-3_600_000);
    await clock.advance(6_000);
    expect(await read()).toBe(2);
  });

  it("refreshes in the background and serves the newest snapshot at once, however old", async () => {
    cache.startRefresh(10_000);
    collector.finish();
    await settle();
    await clock.advance(9_000);
    expect((await cache.get()).takenAtMs).toBe(1);
    await clock.advance(1_000);
    expect(collector.finishers).toHaveLength(2);
    expect((await cache.get()).takenAtMs).toBe(1);
    collector.finish();
    await settle();
    expect((await cache.get()).takenAtMs).toBe(2);
    cache.stopRefresh();
    await clock.advance(60_000);
    expect(collector.finishers).toHaveLength(2);
  });

  it("asks the reading in flight to end when it is closed", () => {
    void cache.get();
    cache.close();
    expect(collector.signal?.aborted).toBe(true);
  });

  it("never starts a reading beside another, whatever the order of requests", async () => {
    const steps = fc.array(fc.oneof(fc.constant("get"), fc.constant("finish"), fc.integer({ min: 0, max: 8_000 })));
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        const time = new FakeClock();
        let running = 0;
        let most = 0;
        let finish: () => void = () => undefined;
        const own = new SnapshotCache({
          maxAgeMs: 5_000,
          clock: time,
          collect: () => {
            most = Math.max(most, ++running);
            const done = new Promise<Snapshot>((resolve) => {
              finish = () => {
                resolve(snapshot(0));
              };
            }).finally(() => running--);
            return { done, partial: () => Promise.resolve(snapshot(-1)) };
          },
        });
        for (const step of sequence) {
          if (step === "get") void own.get();
          else if (step === "finish") finish();
          else await time.advance(step);
        }
        expect(most).toBeLessThanOrEqual(1);
      }),
      { numRuns: 50 },
    );
  });
});
