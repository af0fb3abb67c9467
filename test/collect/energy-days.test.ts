import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { EnergySimulation } from "../support/energy-simulation.ts";

const DAY = 86_400;

/**
 * Through the real worker session, collector, attribution and ledger. On the way the worker hangs and is replaced, the
 * process table and the server fail, models come and go, and counters are reset.
 */
describe("energy over simulated days of random load", () => {
  it("sums to the growth of every board's counter, whoever used it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(8, 10), async (seed, step) => {
        const simulation = new EnergySimulation({
          seed,
          seconds: 2 * DAY,
          energyIntervalSeconds: step,
          readingIntervalSeconds: 300,
        });
        const { boards, models } = await simulation.run();
        expect(boards).toHaveLength(4);
        for (const { uuid, growthJoules, ollamaJoules, otherJoules, idleJoules } of boards) {
          const parts = ollamaJoules + otherJoules + idleJoules;
          // Without a counter the whole is the true energy, of which a hang hides the steps.
          const most = uuid === "GPU-2" ? 0.02 : 0.001;
          expect([uuid, Math.abs(parts / growthJoules - 1) <= most]).toEqual([uuid, true]);
          expect(Math.min(ollamaJoules, otherJoules, idleJoules)).toBeGreaterThanOrEqual(0);
          const own = models.filter((model) => model.uuid === uuid).reduce((sum, { joules }) => sum + joules, 0);
          expect(own).toBeLessThanOrEqual(ollamaJoules * (1 + 1e-9));
        }
        // MIG mode is never shared out; elsewhere Ollama's work is nearly all some model's.
        const ollama = new Map(boards.map(({ uuid, ollamaJoules }) => [uuid, ollamaJoules]));
        expect(ollama.get("GPU-3")).toBe(0);
        expect(ollama.get("GPU-0")).toBeGreaterThan(0);
      }),
      { numRuns: 2 },
    );
  }, 60_000);
});
