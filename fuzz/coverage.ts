/** Which branches an input reached, and whether that is news. */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import { BRANCHES, COUNTERS, instrument } from "./instrument.ts";

/** Counts of a branch that are told apart: once, twice, a few times, many times. */
const BUCKETS = Uint8Array.from({ length: 256 }, (_, hits) =>
  hits === 0
    ? 0
    : hits === 1
      ? 1
      : hits === 2
        ? 2
        : hits === 3
          ? 4
          : hits < 8
            ? 8
            : hits < 32
              ? 16
              : hits < 128
                ? 32
                : 64,
);

export class Coverage {
  /** What instrumented code counts in. */
  readonly counters = new Uint8Array(BRANCHES);
  readonly #seen = new Uint8Array(BRANCHES);
  #branches = 0;
  #used = 0;

  /** Branches that any input has reached. */
  get branches(): number {
    return this.#branches;
  }

  /** Branches that there are in what was instrumented. */
  get total(): number {
    return this.#used;
  }

  /** Says how many there are; the rest of the counters is not looked at. */
  limit(used: number): void {
    this.#used = Math.min(used, BRANCHES);
  }

  /** Takes over what the last input reached, and says whether a branch, or only a number of times, was news. */
  take(): "branch" | "count" | undefined {
    let news: "branch" | "count" | undefined;
    for (let branch = 0; branch < this.#used; branch++) {
      const hits = this.counters[branch] ?? 0;
      if (hits === 0) continue;
      this.counters[branch] = 0;
      const bucket = BUCKETS[hits] ?? 0;
      const seen = this.#seen[branch] ?? 0;
      if ((seen & bucket) !== 0) continue;
      this.#seen[branch] = seen | bucket;
      if (seen === 0) this.#branches += 1;
      news = seen === 0 ? "branch" : (news ?? "count");
    }
    return news;
  }

  /** Forgets what the code did outside an input. */
  clear(): void {
    this.counters.fill(0);
  }

  /** Forgets everything that was reached. */
  forget(): void {
    this.clear();
    this.#seen.fill(0);
    this.#branches = 0;
  }
}

/** Everything imported from here on below `folder` counts its branches. Returns the words of those sources, as they come. */
export function instrumentFolder(folder: URL, coverage: Coverage): Set<string> {
  const words = new Set<string>();
  let branch = 0;
  Object.assign(globalThis, { [COUNTERS]: coverage.counters });
  registerHooks({
    load: (url, context, nextLoad) => {
      if (!url.startsWith(folder.href) || !url.endsWith(".ts")) return nextLoad(url, context);
      const instrumented = instrument(readFileSync(fileURLToPath(url), "utf8"), branch);
      branch = instrumented.nextBranch;
      coverage.limit(branch);
      for (const word of instrumented.words) words.add(word);
      return { format: "module", source: instrumented.code, shortCircuit: true };
    },
  });
  return words;
}
