import { describe, expect, it } from "@jest/globals";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import { readCorpus, writeGrown } from "../../fuzz/corpus.ts";
import { Coverage } from "../../fuzz/coverage.ts";
import { readExposition } from "../../fuzz/exposition.ts";
import { BRANCHES, COUNTERS, instrument } from "../../fuzz/instrument.ts";
import { fuzz, type LoopOptions, type Outcome } from "../../fuzz/loop.ts";
import type { Target } from "../../fuzz/target.ts";

/** Breaks behind three comparisons, of which blind changes guess all at once in no useful time. */
const MAZE = `(input: Buffer): void => {
  if (input[0] === 0x66) {
    if (input[1] === 0x75) {
      if (input[2] === 0x7a) throw new Error("found the end of the maze");
    }
  }
}`;

/** The maze, counting its branches in a coverage of its own. */
function maze(coverage: Coverage): Target {
  const { code, nextBranch } = instrument(MAZE, 0);
  coverage.limit(nextBranch);
  return { seeds: () => [Buffer.from("aaa")], check: evaluate(code, coverage.counters) as Target["check"] };
}

/** The value of instrumented code, which counts in these. */
function evaluate(code: string, counters: Uint8Array): unknown {
  return runInNewContext(code, { [COUNTERS]: counters, Error });
}

async function run(target: Target, coverage: Coverage, options: Partial<LoopOptions> = {}): Promise<Outcome> {
  return fuzz({
    target,
    coverage,
    corpus: [],
    words: new Set(),
    seed: 7,
    goOn: ({ executions, findings }) => executions < 30_000 && findings === 0,
    ...options,
  });
}

describe("the fuzzing loop", () => {
  it("finds its way by the branches that it reaches, and cuts the finding down", async () => {
    const coverage = new Coverage();
    const { found } = await run(maze(coverage), coverage);
    expect(found.map(({ input, error }) => [input.toString(), error.split(" at ")[0]])).toEqual([
      ["fuz", "Error: found the end of the maze"],
    ]);
  });

  it("does not find it without looking at branches", async () => {
    const { found, executions } = await run(maze(new Coverage()), new Coverage());
    expect([found, executions >= 30_000]).toEqual([[], true]);
  });

  it("does the same again from the same seed", async () => {
    const once = async (): Promise<readonly unknown[]> => {
      const coverage = new Coverage();
      const { executions, kept } = await run(maze(coverage), coverage);
      return [executions, kept.map((input) => input.toString("hex"))];
    };
    expect(await once()).toEqual(await once());
  });

  it("reports what takes too long for its input", async () => {
    const target: Target = {
      seeds: () => [Buffer.from("slow")],
      slowMs: 1,
      check: () => {
        for (const until = performance.now() + 2; performance.now() < until;);
      },
    };
    const { found } = await run(target, new Coverage(), { goOn: () => false });
    expect(found.map(({ error }) => error)).toEqual(["Slow: more than 1 ms for one input"]);
  });
});

describe("instrumented code", () => {
  const SOURCE = `function f(a, b?: number) {
    for (const x of a) if (x) b = x ?? 2;
    switch (b) { case 1: return "one"; default: }
    while (b > 2) b--;
    return a.length > 1 && (() => a.join("-"))() || (b ? "x" : { y: a });
  }`;

  it("does what it did, and has a counter for every branch", () => {
    const { code, nextBranch, words } = instrument(SOURCE, 10);
    const counters = new Uint8Array(BRANCHES);
    const f = evaluate(`${code}\nf;`, counters) as (a: readonly unknown[], b?: number) => unknown;
    expect(JSON.stringify([f([1, 2]), f([0, 1]), f([], 9), f([])])).toBe('["1-2","one","x",{"y":[]}]');
    const reached = [...counters.entries()].filter(([, hits]) => hits > 0).map(([branch]) => branch);
    expect(Math.min(...reached)).toBeGreaterThanOrEqual(10);
    expect(Math.max(...reached)).toBeLessThan(nextBranch);
    expect(reached.length).toBeGreaterThan(8);
    expect(words.toSorted()).toEqual(["-", "one", "x"]);
  });
});

describe("the kept inputs", () => {
  it("come back as they were, bytes that are no text too", () => {
    const folder = mkdtempSync(join(tmpdir(), "corpus-"));
    const inputs = ["a\nb\u2028\ufeff", "\u0000\u001b", ""]
      .map((text) => Buffer.from(text))
      .concat(Buffer.from([0xff]));
    writeGrown("t", inputs, folder);
    const back = readCorpus("t", folder).map(({ input }) => input.toString("hex"));
    expect(back.toSorted()).toEqual(inputs.map((input) => input.toString("hex")).toSorted());
    rmSync(folder, { recursive: true });
  });
});

describe("reading an exposition", () => {
  it("takes escapes and infinity as they are meant", () => {
    expect(readExposition('# HELP a b\n# TYPE a gauge\na{m="x\\"\\\\\\n",n="{,}"} +Inf\nb 1e-3\n')).toEqual([
      { name: "a", labels: { m: 'x"\\\n', n: "{,}" }, value: Infinity },
      { name: "b", labels: {}, value: 0.001 },
    ]);
  });

  it.each([
    ['a{m="x} 1\n', "labels"],
    ["a NaN\n", "no number"],
    ["a 1\na 2\n", "a series twice"],
    ['a{m="x"y="z"} 1\n', "labels"],
    ["a 1", "newline"],
    ["a\n", "no sample"],
  ])("refuses %j", (text, reason) => {
    expect(() => readExposition(text)).toThrow(reason);
  });
});
