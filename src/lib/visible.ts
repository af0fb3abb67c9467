/**
 * Characters that are not seen but do something: end a line, move a cursor, turn the direction of writing. Texts from outside
 * reach terminals and log files only without them.
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** The text on one line, each such character as an escape of JSON: `\n`, `\u001b`. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (character) => {
    const escape = JSON.stringify(character).slice(1, -1);
    return escape === character ? codeUnits(character) : escape;
  });
}

/** The text with a `?` for each, where columns have to stay in line. */
export function plain(text: string): string {
  return text.replace(HIDDEN, "?");
}

function codeUnits(character: string): string {
  return Array.from({ length: character.length }, (_, index) => character.charCodeAt(index))
    .map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`)
    .join("");
}
