/** A hint for a name that nobody knows. */

/** Nothing known is as long; more of a name would only cost time. */
const LONGEST_NAME = 64;

/** `; the nearest known one is x`. */
export function nearest(name: string, known: readonly string[], decorate = (text: string) => text): string {
  const [best] = known
    .map((candidate) => ({ candidate, distance: editDistance(name.slice(0, LONGEST_NAME), candidate) }))
    .sort((a, b) => a.distance - b.distance);
  return best === undefined ? "" : `; the nearest known one is ${decorate(best.candidate)}`;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [row, letter] of Array.from(a).entries()) {
    const current = [row + 1];
    for (const [column, other] of Array.from(b).entries()) {
      const [left = 0, above = 0, diagonal = 0] = [current[column], previous[column + 1], previous[column]];
      current.push(Math.min(left + 1, above + 1, diagonal + (letter === other ? 0 : 1)));
    }
    previous = current;
  }
  return previous.at(-1) ?? 0;
}
