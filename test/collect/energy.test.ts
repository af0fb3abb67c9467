import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { EnergyLedger, type ProcessOwners } from "../../src/collect/energy.ts";
import type { EnergySample } from "../../src/snapshot.ts";

const A = "server\na";
const B = "server\nb";
/** PIDs 1 and 2 run model a, 3 runs b, 4 is Ollama's server; everybody else is a stranger. */
const OWNERS: ProcessOwners = {
  ollamaPids: new Set([1, 2, 3, 4]),
  models: new Map([
    [1, A],
    [2, A],
    [3, B],
  ]),
  starts: new Map([
    [1, 100],
    [2, 100],
    [3, 100],
  ]),
  others: new Set(),
};
const NOBODY: ProcessOwners = { ollamaPids: new Set(), models: new Map(), starts: new Map(), others: new Set() };

const at = (atSeconds: number, energyJoules: number, busy?: EnergySample["busy"], uuid = "G"): EnergySample => ({
  uuid,
  atSeconds,
  energyJoules,
  ...(busy && { busy }),
});

function ledger(samples: readonly EnergySample[], owners = OWNERS): EnergyLedger {
  const made = new EnergyLedger();
  made.add(samples, owners);
  return made;
}

/** 10 s at 50 W without work: the floor. */
const IDLE = [at(0, 1000, []), at(10, 1500, [])];

describe("the energy of a board", () => {
  it("begins with the second sample", () => {
    expect(ledger([at(0, 1000, [])]).ofBoard("G")).toEqual({
      ollamaJoules: 0,
      otherJoules: 0,
      idleJoules: 0,
      source: "counter",
    });
    expect(ledger([]).ofBoard("G")).toBeUndefined();
  });

  it("is idle while nobody works, and teaches the floor", () => {
    expect(ledger(IDLE).ofBoard("G")).toEqual({
      ollamaJoules: 0,
      otherJoules: 0,
      idleJoules: 500,
      idleFloorWatts: 50,
      source: "counter",
    });
  });

  it("is shared above the floor by SM utilisation", () => {
    // 10 s at 250 W: 500 J idle, 2000 J of work; 60 : 30 : 10
    const made = ledger([
      ...IDLE,
      at(20, 4000, [
        [1, 60],
        [3, 30],
        [99, 10],
      ]),
    ]);
    expect(made.ofBoard("G")).toMatchObject({ idleJoules: 1000, ollamaJoules: 1800, otherJoules: 200 });
    expect(made.ofModel(A, "G", true)).toEqual({ joules: 1200, watts: 60 });
    expect(made.ofModel(B, "G", true)).toEqual({ joules: 600, watts: 30 });
  });

  it("sums the runners of a model, and gives the server's own work to no model", () => {
    const made = ledger([
      ...IDLE,
      at(20, 4000, [
        [1, 25],
        [2, 25],
        [4, 50],
      ]),
    ]);
    expect(made.ofModel(A, "G", true)?.joules).toBe(1000);
    expect(made.ofBoard("G")?.ollamaJoules).toBe(2000);
  });

  it("of a model on two boards is kept apart", () => {
    const made = ledger([...IDLE, at(20, 4000, [[1, 1]]), at(0, 0, [], "H"), at(10, 700, [[1, 1]], "H")]);
    expect(made.ofModel(A, "G", true)).toEqual({ joules: 2000, watts: 100 });
    expect(made.ofModel(A, "H", true)).toEqual({ joules: 700, watts: 70 });
  });

  it("is all work before there was an idle moment, and never less than the floor after", () => {
    expect(ledger([at(0, 0, []), at(1, 80, [[1, 5]])]).ofBoard("G")).toMatchObject({ idleJoules: 0, ollamaJoules: 80 });
    // 1 s at 30 W with work, below the floor of 50 W: nothing is left for the work
    const below = ledger([...IDLE, at(11, 1530, [[1, 5]])]);
    expect(below.ofBoard("G")).toMatchObject({ idleJoules: 530, ollamaJoules: 0 });
  });

  it("belongs to others where process utilisation is not supported (MIG, WSL): never a guess", () => {
    const made = ledger([at(0, 0), at(10, 900)]);
    expect(made.ofBoard("G")).toEqual({ ollamaJoules: 0, otherJoules: 900, idleJoules: 0, source: "counter" });
    expect(made.ofModel(A, "G", true)).toBeUndefined();
  });

  it("is integrated from the power where there is no counter, by trapezoids", () => {
    const power = (atSeconds: number, powerWatts: number, busy: EnergySample["busy"] = []): EnergySample => ({
      uuid: "G",
      atSeconds,
      powerWatts,
      busy,
    });
    // (50 + 50) / 2 * 10 = 500 idle; (50 + 150) / 2 * 4 = 400, of which 4 * 50 idle
    const made = ledger([power(0, 50), power(10, 50), power(14, 150, [[1, 9]])]);
    expect(made.ofBoard("G")).toEqual({
      idleJoules: 700,
      ollamaJoules: 200,
      otherJoules: 0,
      idleFloorWatts: 50,
      source: "power",
    });
  });

  it("goes on after the counter was reset: what it shows has been used since", () => {
    const made = ledger([...IDLE, at(12, 40, [])]);
    expect(made.ofBoard("G")).toMatchObject({ idleJoules: 540 });
  });

  it("loses nothing when samples were missed: a long interval is one interval", () => {
    // 300 s hung, 300 W: 15,000 J idle of 90,000 J
    const made = ledger([
      ...IDLE,
      at(310, 91_500, [
        [1, 3],
        [99, 1],
      ]),
    ]);
    expect(made.ofBoard("G")).toMatchObject({ idleJoules: 15_500, ollamaJoules: 56_250, otherJoules: 18_750 });
  });

  it("gives the last work of a model that was unloaded to it: its process is known from the reading before", () => {
    const made = ledger(IDLE);
    made.add([at(20, 4000, [[1, 1]])], NOBODY);
    expect(made.ofModel(A, "G", false)).toEqual({ joules: 2000 });
    expect(made.ofBoard("G")).toMatchObject({ ollamaJoules: 2000, otherJoules: 0 });
    made.add([at(30, 6500, [[1, 1]])], NOBODY);
    expect(made.ofModel(A, "G", false)).toEqual({ joules: 2000 });
    expect(made.ofBoard("G")).toMatchObject({ ollamaJoules: 2000, otherJoules: 2000 });
  });

  it("goes on to its owners while the process table cannot be read", () => {
    const made = ledger(IDLE);
    for (const [seconds, joules] of [
      [20, 4000],
      [30, 6500],
      [40, 9000],
    ] as const)
      made.add([at(seconds, joules, [[1, 1]])], undefined);
    expect(made.ofModel(A, "G", false)?.joules).toBe(6000);
    expect(made.ofBoard("G")).toMatchObject({ ollamaJoules: 6000, otherJoules: 0 });
  });

  it("goes on to the model of a runner whose server does not answer, but not of another process with its PID", () => {
    const silent = { ...OWNERS, models: new Map<number, string>() };
    const made = ledger(IDLE);
    made.add([at(20, 4000, [[1, 1]])], silent);
    made.add([at(30, 6500, [[1, 1]])], silent);
    expect(made.ofModel(A, "G", false)?.joules).toBe(4000);
    const another = { ...silent, starts: new Map([[1, 900]]) };
    made.add([], another);
    made.add([at(40, 9000, [[1, 1]])], another);
    expect(made.ofModel(A, "G", false)?.joules).toBe(4000);
    expect(made.ofBoard("G")).toMatchObject({ ollamaJoules: 6000, otherJoules: 0 });
  });

  it("gives nothing to a model whose runner's PID was given to somebody else's process meanwhile", () => {
    const made = ledger(IDLE);
    made.add([at(20, 4000, [[1, 1]])], { ...NOBODY, others: new Set([1]) });
    expect(made.ofModel(A, "G", false)).toBeUndefined();
    expect(made.ofBoard("G")).toMatchObject({ ollamaJoules: 0, otherJoules: 2000 });
  });

  it("is zero, not absent, for a model that is loaded and does nothing", () => {
    expect(ledger(IDLE).ofModel(A, "G", true)).toEqual({ joules: 0, watts: 0 });
    expect(ledger(IDLE).ofModel(A, "G", false)).toBeUndefined();
  });

  it("does not believe the power of a moment shorter than the counter's own step", () => {
    expect(ledger([at(0, 0, []), at(0.01, 0, [])]).ofBoard("G")).not.toHaveProperty("idleFloorWatts");
  });

  it("learns the floor anew: a warmer hour counts after two windows", () => {
    const made = ledger(IDLE);
    made.add([at(3700, 1500 + 3690 * 60, [])], OWNERS);
    expect(made.ofBoard("G")?.idleFloorWatts).toBe(50);
    made.add([at(7400, 1500 + 3690 * 60 + 3700 * 60, [])], OWNERS);
    expect(made.ofBoard("G")?.idleFloorWatts).toBe(60);
  });

  it("takes time only forward", () => {
    expect(ledger([...IDLE, at(10, 1600, [[1, 1]]), at(9, 1700, [[1, 1]])]).ofBoard("G")).toMatchObject({
      idleJoules: 500,
      ollamaJoules: 0,
    });
  });
});

describe("over simulated days of random load", () => {
  it("the parts sum to the counter, and the models' to Ollama's part but for its servers", () => {
    const interval = fc.record({
      seconds: fc.double({ min: 0.2, max: 600, noNaN: true }),
      watts: fc.double({ min: 20, max: 700, noNaN: true }),
      busy: fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 100 })), { maxLength: 6 }),
      supported: fc.boolean(),
      known: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(interval, { minLength: 1, maxLength: 300 }), (intervals) => {
        const made = new EnergyLedger();
        let [now, energy] = [0, 5_000];
        made.add([at(now, energy, [])], OWNERS);
        for (const { seconds, watts, busy, supported, known } of intervals) {
          now += seconds;
          energy += seconds * watts;
          made.add([at(now, energy, supported ? busy : undefined)], known ? OWNERS : NOBODY);
        }
        const { ollamaJoules = 0, otherJoules = 0, idleJoules = 0 } = made.ofBoard("G") ?? {};
        const whole = energy - 5_000;
        expect(Math.abs(ollamaJoules + otherJoules + idleJoules - whole)).toBeLessThanOrEqual(whole * 1e-9);
        expect(Math.min(ollamaJoules, otherJoules, idleJoules)).toBeGreaterThanOrEqual(0);
        const models = [A, B].map((key) => made.ofModel(key, "G", false)?.joules ?? 0);
        expect(models.reduce((a, b) => a + b)).toBeLessThanOrEqual(ollamaJoules * (1 + 1e-9));
      }),
      { numRuns: 60 },
    );
  });
});
