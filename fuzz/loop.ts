/** The loop: takes a known input, changes it, runs it, keeps it when it reached something new, reports it when something broke. */
import type { Coverage } from "./coverage.ts";
import { mutate } from "./mutate.ts";
import { mutateJson } from "./mutate-json.ts";
import { Random } from "./random.ts";
import type { Target } from "./target.ts";

export interface LoopOptions {
  readonly target: Target;
  readonly coverage: Coverage;
  /** What is known already. */
  readonly corpus: readonly Buffer[];
  /** Texts of the instrumented sources. */
  readonly words: ReadonlySet<string>;
  readonly seed: number;
  /** Asked now and then with what has been done so far; the loop ends on false. */
  readonly goOn: (progress: Progress) => boolean;
}

export interface Progress {
  readonly executions: number;
  readonly corpus: number;
  readonly branches: number;
  readonly findings: number;
}

/** An input on which something did not hold. */
export interface Finding {
  readonly input: Buffer;
  readonly error: string;
}

export interface Outcome extends Progress {
  /** Inputs worth keeping beside the seeds. */
  readonly kept: readonly Buffer[];
  readonly findings: number;
  readonly found: readonly Finding[];
}

const DEFAULT_SLOW_MS = 150;
/** A machine under load may be slow once or twice. */
const CHANCES = 3;
const BETWEEN_QUESTIONS = 256;
const MINIMISE_MS = 5_000;
/** A longer input is kept for a branch of its own, not for a new number of times: its children are slow. */
const MOST_FOR_COUNT_BYTES = 2_048;
const DEFAULT_MAX_BYTES = 4096;

/** Runs until `goOn` says no. The same seed, corpus and number of executions give the same inputs. */
export async function fuzz(options: LoopOptions): Promise<Outcome> {
  const { target, coverage, corpus, words, seed, goOn } = options;
  const random = new Random(seed);
  const maxBytes = target.maxBytes ?? DEFAULT_MAX_BYTES;
  const kept: Buffer[] = [];
  const found = new Map<string, Finding>();
  let executions = 0;

  const run = async (input: Buffer): Promise<void> => {
    executions += 1;
    const error = await failureOf(target, input);
    const news = coverage.take();
    if (error === undefined) {
      if (news === "branch" || (news === "count" && input.length <= MOST_FOR_COUNT_BYTES)) kept.push(input);
      return;
    }
    if (found.has(kindOf(error))) return;
    found.set(kindOf(error), { input: await minimise(target, input, kindOf(error)), error });
    coverage.clear();
  };
  const progress = (): Progress => ({
    executions,
    corpus: kept.length,
    branches: coverage.branches,
    findings: found.size,
  });

  coverage.clear();
  for (const input of [...target.seeds(), ...corpus]) await run(input.subarray(0, maxBytes));
  if (kept.length === 0) kept.push(Buffer.alloc(0));
  while (goOn(progress())) {
    const material = {
      random,
      words: [...words, ...(target.words ?? [])].map((word) => Buffer.from(word)),
      others: kept,
      maxBytes,
    };
    for (let left = BETWEEN_QUESTIONS; left > 0; left--) {
      const parent = parentOf(kept, random);
      const asJson = target.json && random.oneIn(2) ? mutateJson(parent, random, material.words) : undefined;
      await run((asJson ?? mutate(parent, material)).subarray(0, maxBytes));
    }
  }
  const end = progress();
  return { ...end, kept: await distil(options, kept), found: [...found.values()] };
}

/** Those that reach something which neither a seed nor a shorter one does. */
async function distil({ target, coverage }: LoopOptions, inputs: readonly Buffer[]): Promise<readonly Buffer[]> {
  coverage.forget();
  for (const seed of target.seeds()) await target.check(seed);
  coverage.take();
  const needed: Buffer[] = [];
  for (const input of inputs.toSorted((a, b) => a.length - b.length)) {
    await failureOf(target, input);
    if (coverage.take() !== undefined) needed.push(input);
  }
  return needed;
}

/** The newest are the likeliest to lead on; none is forgotten. */
function parentOf(kept: readonly Buffer[], random: Random): Buffer {
  const recent = random.oneIn(3) ? kept.slice(-16) : kept;
  return random.pick(recent);
}

async function failureOf(target: Target, input: Buffer): Promise<string | undefined> {
  const slowMs = target.slowMs ?? DEFAULT_SLOW_MS;
  try {
    for (let chance = 1; ; chance++) {
      const startedAt = performance.now();
      const pending = target.check(input);
      if (pending) await pending;
      const tookMs = performance.now() - startedAt;
      if (tookMs <= slowMs) return undefined;
      if (chance === CHANCES) return `Slow: more than ${slowMs} ms for one input`;
    }
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}${placeOf(error)}` : `threw ${String(error)}`;
  }
}

/** Where it was thrown; a finding is told from another by that and by its text without numbers. */
const placeOf = ({ stack = "" }: Error): string =>
  /\n\s+at .*?\/((?:src|fuzz\/targets)\/[\w./-]+)/.exec(stack)?.[1]?.replace(/^/, " at ") ?? "";
const kindOf = (error: string): string => error.replace(/"[^"]*"|\d+/g, "_").slice(0, 200);

/** A shorter input of the same kind of failure: pieces are left out while it lasts. */
async function minimise(target: Target, input: Buffer, kind: string): Promise<Buffer> {
  let smallest = input;
  const until = performance.now() + MINIMISE_MS;
  for (let size = Math.ceil(smallest.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < smallest.length && performance.now() < until;) {
      const shorter = Buffer.concat([smallest.subarray(0, at), smallest.subarray(at + size)]);
      const error = await failureOf(target, shorter);
      if (error !== undefined && kindOf(error) === kind) smallest = shorter;
      else at += size;
    }
  }
  return smallest;
}
