import { describe, expect, it } from "@jest/globals";
import { EnergyLedger } from "../../src/collect/energy.ts";
import type { EnergySample } from "../../src/snapshot.ts";
import { NvmlSession } from "../../src/sources/nvml/session.ts";
import { EnergyModel, type ModelledBoard } from "../support/energy-model.ts";

const COUNTER = "nvmlDeviceGetTotalEnergyConsumption";

/** A session on one board that idles at 50 W, once read. */
function watching(change: Partial<ModelledBoard> = {}): { model: EnergyModel; session: NvmlSession } {
  const model = new EnergyModel([{ uuid: "G", idleWatts: 50, ...change }]);
  const session = sessionOn(model);
  session.read();
  return { model, session };
}

const sessionOn = (model: EnergyModel, energySinceSeconds?: number): NvmlSession =>
  new NvmlSession(model, {
    samplesEnergy: true,
    clock: model.clock,
    ...(energySinceSeconds !== undefined && { energySinceSeconds }),
  });

/** Without the time, which the model sets. */
const samplesOf = (session: NvmlSession) =>
  session.read().energySamples.map(({ energyJoules, powerWatts, busy }) => ({
    ...(energyJoules !== undefined && { energyJoules }),
    ...(powerWatts !== undefined && { powerWatts }),
    ...(busy && { busy }),
  }));

describe("sampling energy between readings", () => {
  it("takes a sample at each call and one at the reading, with the work since the one before", () => {
    const { model, session } = watching();
    model.work(1, "G", 60, 120);
    model.advance(1);
    session.sampleEnergy();
    model.work(1, "G", 0, 0);
    model.work(2, "G", 40, 80);
    model.advance(1);
    session.sampleEnergy();
    model.advance(1);
    expect(samplesOf(session)).toEqual([
      { energyJoules: 5170, busy: [[1, 60]] },
      { energyJoules: 5300, busy: [[2, 40]] },
      { energyJoules: 5430, busy: [[2, 40]] },
    ]);
    expect(samplesOf(session)).toEqual([{ energyJoules: 5430, busy: [] }]);
  });

  it("takes none without an interval", () => {
    const model = new EnergyModel([{ uuid: "G", idleWatts: 50 }]);
    const session = new NvmlSession(model, { samplesEnergy: false, clock: model.clock });
    session.read();
    session.sampleEnergy();
    expect(session.read().energySamples).toEqual([]);
  });

  it("reads the power of a board that has no counter", () => {
    const { model, session } = watching({ counter: false });
    model.advance(1);
    session.sampleEnergy();
    expect(samplesOf(session)).toEqual([
      { powerWatts: 50, busy: [] },
      { powerWatts: 50, busy: [] },
    ]);
  });

  it("does not share by utilisation in MIG mode, nor where the driver does not tell it", () => {
    for (const change of [{ mig: true }, { mig: true, utilization: true }, { utilization: false }]) {
      const { model, session } = watching(change);
      model.work(1, "G", 60, 120);
      model.advance(10);
      expect(samplesOf(session)).toEqual([{ energyJoules: 6700 }]);
    }
  });

  it("waits for a counter that fails for once: power in its place would drop the growth", () => {
    const { model, session } = watching();
    model.failing.set(COUNTER, 999);
    model.work(1, "G", 60, 120);
    model.advance(1);
    session.sampleEnergy();
    model.failing.delete(COUNTER);
    model.advance(1);
    session.sampleEnergy();
    expect(samplesOf(session)[0]).toEqual({ energyJoules: 5340, busy: [[1, 120]] });
  });

  it("takes no row from the future, which would hide the present ones", () => {
    const { model, session } = watching();
    model.madeUpRow("G", { pid: 9, atUs: (model.clock.now() + 3_600_000) * 1000, sm: 30 });
    model.work(1, "G", 60, 120);
    for (const joules of [5170, 5340]) {
      model.advance(1);
      expect(samplesOf(session)).toEqual([{ energyJoules: joules, busy: [[1, 60]] }]);
    }
  });

  it("weighs no work twice after the driver was initialised anew, nor in the worker after this one", () => {
    const { model, session } = watching();
    model.work(1, "G", 60, 120);
    model.advance(1);
    const [sample] = session.read().energySamples;
    model.failing.set("nvmlDeviceGetCount_v2", 1);
    expect(() => session.read()).toThrow("UNINITIALIZED");
    model.failing.clear();
    model.work(1, "G", 0, 0);
    model.work(2, "G", 20, 40);
    model.advance(1);
    expect(samplesOf(session)).toEqual([{ energyJoules: 5260, busy: [[2, 20]] }]);
    expect(samplesOf(sessionOn(model, sample?.atSeconds))).toEqual([{ energyJoules: 5260, busy: [[2, 20]] }]);
  });

  it("joins neighbours when nobody reads for long, and sums to the same", () => {
    const { model, session } = watching();
    const owners = {
      ollamaPids: new Set([1]),
      models: new Map([[1, "m"]]),
      starts: new Map([[1, 1]]),
      others: new Set<number>(),
    };
    const ledger = new EnergyLedger();
    const add = (samples: readonly EnergySample[]): void => {
      ledger.add(samples, owners);
    };
    model.advance(10);
    add(session.read().energySamples);
    model.work(1, "G", 60, 120);
    for (let second = 0; second < 2_000; second++) {
      model.advance(1);
      session.sampleEnergy();
    }
    const { energySamples } = session.read();
    expect(energySamples.length).toBeLessThanOrEqual(601);
    add(energySamples);
    const { ollamaJoules = 0, idleJoules = 0, otherJoules = 0 } = ledger.ofBoard("G") ?? {};
    expect(ollamaJoules + idleJoules).toBeCloseTo(2_000 * 170, 6);
    expect(otherJoules).toBe(0);
  });
});
