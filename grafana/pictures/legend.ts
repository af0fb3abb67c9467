/** A legend below a chart, as a list that breaks into lines; it takes at most a third of the panel. */
import { cut, escaped, widthOf } from "./html.ts";

export interface Item {
  readonly text: string;
  readonly color: string;
}

const FONT = 12;
const LINE = 18;
const MARK = 34;

const longest = (width: number): number => width - MARK;

/** Pixels that the legend takes. */
export function legendHeight(items: readonly Item[], { width, height }: { width: number; height: number }): number {
  let lines = 1;
  let x = 0;
  for (const { text } of items) {
    const wide = Math.min(widthOf(text, FONT), longest(width)) + MARK;
    if (x > 0 && x + wide > width) [lines, x] = [lines + 1, 0];
    x += wide;
  }
  return Math.min(lines * LINE, Math.floor(height / 3 / LINE) * LINE) + 4;
}

export function legend(items: readonly Item[], size: { width: number; height: number }): string {
  const marks = items.map(
    ({ text, color }) =>
      `<span class="item"><i style="background:${color}"></i>${escaped(cut(text, FONT, longest(size.width)))}</span>`,
  );
  return `<div class="legend" style="height:${legendHeight(items, size)}px">${marks.join("")}</div>`;
}
