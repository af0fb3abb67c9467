import { expect, it } from "@jest/globals";
import { collectInTurns } from "../../src/lib/turns.ts";

function* slowly(count: number): Generator<number> {
  for (let item = 0; item < count; item++) {
    const until = performance.now() + 11;
    while (performance.now() < until);
    yield item;
  }
}

it("gives everything in its order, and lets others run in between", async () => {
  let others = 0;
  const other = (): void => {
    others += 1;
    next = setImmediate(other);
  };
  let next = setImmediate(other);
  expect(await collectInTurns(slowly(5))).toEqual([0, 1, 2, 3, 4]);
  clearImmediate(next);
  expect(others).toBeGreaterThanOrEqual(5);
});
