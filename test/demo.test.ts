import { describe, expect, it } from "@jest/globals";
import { DEMO } from "../src/sources/demo/inventory.ts";
import { gpusAt, runnersAt } from "../src/sources/demo/machine.ts";

const STARTED_AT = 1_800_000_000;
const SECONDS = 400;
const demoAt = (seconds: number) => gpusAt(DEMO, { seconds, unixSeconds: STARTED_AT + seconds });

describe("the demo's machine", () => {
  it("counts as much energy as its boards draw", () => {
    const at = (seconds: number) => demoAt(seconds).filter(({ parentUuid }) => !parentUuid);
    const drawn = new Map<string, number>();
    for (let second = 0; second < SECONDS; second += 1)
      for (const { uuid, powerDrawWatts = NaN } of at(second + 0.5))
        drawn.set(uuid, (drawn.get(uuid) ?? 0) + powerDrawWatts);
    const start = new Map(at(0).map(({ uuid, energyJoules = NaN }) => [uuid, energyJoules]));
    for (const { uuid, gpu, energyJoules = NaN } of at(SECONDS)) {
      const counted = energyJoules - (start.get(uuid) ?? NaN);
      expect([gpu, Math.abs(counted / (drawn.get(uuid) ?? NaN) - 1) < 0.01]).toEqual([gpu, true]);
    }
  });

  it("never draws more than a board's limit", () => {
    for (let second = 0; second < SECONDS; second += 1)
      for (const { gpu, powerDrawWatts = 0, powerLimitWatts = Infinity } of demoAt(second))
        expect([gpu, powerDrawWatts <= powerLimitWatts]).toEqual([gpu, true]);
  });

  it("generates at each model's own pace, and nothing with an embedding model", () => {
    const paces = runnersAt(DEMO, SECONDS, STARTED_AT).map(({ endpoints }) =>
      Math.round((endpoints?.generatedTokens ?? NaN) / (endpoints?.generationSeconds ?? NaN)),
    );
    expect(paces).toEqual([24, 88, NaN, 9]);
  });
});
