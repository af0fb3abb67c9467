/** What is fuzzed: a reader of outside data, inputs to begin with, and what must hold for every input. */

export interface Target {
  /** Inputs to begin with, beside the corpus. */
  readonly seeds: () => readonly Buffer[];
  /** Words that are not in the sources. */
  readonly words?: readonly string[];
  /** Longest input; default 4 KiB. As large as whoever sends it may be where time is of interest. */
  readonly maxBytes?: number;
  /** One input may take this long; default 150 ms. */
  readonly slowMs?: number;
  /** Inputs are JSON: half of the mutations keep them so. */
  readonly json?: true;
  /** Throws, whatever kind of error, when something does not hold. */
  readonly check: (input: Buffer) => void | Promise<void>;
}

/** Something that must hold does not. */
export class Broken extends Error {
  override readonly name = "Broken";
}

/** Throws Broken with the text unless it holds. */
export function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Broken(what);
}

/** A number that can be a size, a count or a time. */
export function mustCount(value: number | undefined, what: string): void {
  must(value === undefined || (Number.isFinite(value) && value >= 0), `${what} is ${value}`);
}

/** A text that has a form in UTF-8. */
export function mustBeText(value: string | undefined, what: string): void {
  must(value === undefined || (typeof value === "string" && value.isWellFormed()), `${what} is no text in UTF-8`);
}
