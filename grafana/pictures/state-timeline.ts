/** A state timeline panel: a row per series, a bar for as long as a value lasts. */
import type { Series } from "./ask.ts";
import type { Field, Panel } from "./board.ts";
import { type Shown, show } from "./field.ts";
import { cut, escaped, widthOf } from "./html.ts";
import { legend, legendHeight } from "./legend.ts";
import { type Place, timeAxis } from "./time-series.ts";

interface Span {
  readonly from: number;
  readonly to: number;
  readonly shown: Shown;
}

const FONT = 11;
const TOP = 6;
const NONE = "transparent";

export function stateTimeline(panel: Panel, series: readonly Series[], { size, window }: Place): string {
  const field = panel.fieldConfig.defaults;
  const rows = series.map(({ name, points }) => ({ name, spans: spansOf(points, field, window.stepSeconds) }));
  const states = new Map(
    rows.flatMap(({ spans }) => spans.map(({ shown }) => [shown.text, shown.color ?? NONE] as const)),
  );
  const items = [...states].map(([text, color]) => ({ text, color }));
  const height = size.height - legendHeight(items, size);
  const left = Math.min(size.width * 0.4, Math.max(...rows.map(({ name }) => widthOf(name, FONT))) + 12);
  const [right, bottom] = [size.width - 8, height - 20];
  const x = (seconds: number) =>
    left + ((seconds - window.fromSeconds) / (window.toSeconds - window.fromSeconds)) * (right - left);
  const step = (bottom - TOP) / rows.length;
  const bars = rows.map(({ name, spans }, index) => {
    const middle = TOP + (index + 0.5) * step;
    const label = `<text class="axis" x="${left - 6}" y="${(middle + 4).toFixed(1)}" text-anchor="end">${escaped(cut(name, FONT, left - 8))}</text>`;
    return label + spans.map((span) => bar(span, { x, middle, height: Math.min(step * 0.9, 60) })).join("");
  });
  const svg = timeAxis(window, { left, right, bottom, x }) + bars.join("");
  return `<svg width="${size.width}" height="${height}">${svg}</svg>${legend(items, size)}`;
}

function bar(
  { from, to, shown }: Span,
  { x, middle, height }: { readonly x: (seconds: number) => number; readonly middle: number; readonly height: number },
): string {
  const width = Math.max(1, x(to) - x(from));
  return `<rect x="${x(from).toFixed(1)}" y="${(middle - height / 2).toFixed(1)}" width="${width.toFixed(1)}" height="${height.toFixed(1)}" fill="${shown.color ?? NONE}" fill-opacity="0.7"/>`;
}

/** Equal neighbours as one; a missing reading ends a bar. */
function spansOf(points: Series["points"], field: Field, stepSeconds: number): readonly Span[] {
  const spans: Span[] = [];
  for (const [seconds, value] of points) {
    const shown = show(value, field);
    const last = spans.at(-1);
    const joins = last !== undefined && seconds - last.to <= stepSeconds * 0.5;
    if (joins && last.shown.text === shown.text) spans[spans.length - 1] = { ...last, to: seconds + stepSeconds };
    else spans.push({ from: seconds, to: seconds + stepSeconds, shown });
  }
  return spans;
}
