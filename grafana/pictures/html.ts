/** Text in HTML and SVG, and how wide it will be. */

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
/** Mean width of a letter of Inter, as a share of its size: near enough to break lines. */
const LETTER = 0.54;

export const escaped = (text: string): string => text.replaceAll(/[&<>"]/g, (letter) => ESCAPES[letter] ?? letter);

export const widthOf = (text: string, sizePx: number): number => text.length * LETTER * sizePx;

/** Cut to a width, with an ellipsis. */
export function cut(text: string, sizePx: number, widthPx: number): string {
  const letters = Math.floor(widthPx / (LETTER * sizePx));
  return text.length <= letters ? text : `${text.slice(0, Math.max(1, letters - 1))}…`;
}
