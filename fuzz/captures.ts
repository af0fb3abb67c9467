/** Recordings of the test suites as inputs to begin with. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const CAPTURES = join(import.meta.dirname, "../test/captures");

/** Files below test/captures whose path matches, by path. */
export function captures(pattern: RegExp): readonly Buffer[] {
  return readdirSync(CAPTURES, { recursive: true, encoding: "utf8" })
    .filter((file) => pattern.test(file))
    .sort()
    .map((file) => readFileSync(join(CAPTURES, file)));
}

export const texts = (...values: readonly string[]): readonly Buffer[] => values.map((value) => Buffer.from(value));
