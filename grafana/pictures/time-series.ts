/** A time series panel: lines or stacked areas over an axis in the panel's unit, dashed thresholds, a legend. */
import type { Series, Window } from "./ask.ts";
import type { Field, Panel } from "./board.ts";
import { cssColor, fieldOf, seriesColor } from "./field.ts";
import { escaped, widthOf } from "./html.ts";
import { legend, legendHeight } from "./legend.ts";
import { type Base, clockText, type Scale, timeTicks, valueScale } from "./scale.ts";
import { format } from "./units.ts";

export interface Size {
  readonly width: number;
  readonly height: number;
}

interface Plot {
  readonly left: number;
  readonly right: number;
  readonly bottom: number;
  readonly x: (seconds: number) => number;
  readonly y: (value: number) => number;
}

/** A point of a line with what lies below it in a stack. */
type Drawn = readonly [seconds: number, from: number, to: number];

const FONT = 11;
/** Units whose round numbers are not decimal. */
const BASES: Readonly<Record<string, Base>> = { bytes: 1024, s: "clock" };
const TOP = 6;

export function timeSeries(panel: Panel, series: readonly Series[], { size, window }: Place): string {
  const field = panel.fieldConfig.defaults;
  const stacked = field.custom?.stacking?.mode === "normal";
  const lines = stacked ? stack(series) : series.map(({ points }) => points.filter(isFinitePoint).map(above));
  const scale = valueScale(
    lines.flatMap((line) => line.map(([, , to]) => to)),
    {
      ...(field.min !== undefined && { min: field.min }),
      ...(field.max !== undefined && { max: field.max }),
      base: BASES[field.unit] ?? 10,
      ticks: Math.max(2, Math.round(size.height / 55)),
    },
  );
  const items = series.map(({ name }, index) => ({ text: name, color: seriesColor(index) }));
  const height = size.height - legendHeight(items, size);
  const labels = scale.ticks.map((tick) => format(tick, field.unit));
  const left = Math.max(...labels.map((text) => widthOf(text, FONT))) + 14;
  const [right, bottom] = [size.width - 8, height - 20];
  const plot: Plot = {
    left,
    right,
    bottom,
    x: (seconds) => left + ((seconds - window.fromSeconds) / (window.toSeconds - window.fromSeconds)) * (right - left),
    y: (value) => bottom - ((value - scale.min) / (scale.max - scale.min)) * (bottom - TOP),
  };
  const areas = lines.map((line, index) => {
    const own = fieldOf(panel, { refId: series[index]?.refId ?? "" });
    return curve(line, plot, { color: seriesColor(index), field: own, window });
  });
  const svg = [grid(scale, labels, plot), timeAxis(window, plot), ...areas, thresholds(field, scale, plot)].join("");
  return `<svg width="${size.width}" height="${height}">${svg}</svg>${legend(items, size)}`;
}

export interface Place {
  readonly size: Size;
  readonly window: Window;
}

const isFinitePoint = ([, value]: readonly [number, number]): boolean => Number.isFinite(value);
const above = ([seconds, value]: readonly [number, number]): Drawn => [seconds, 0, value];

/** Each series on top of those before it, at every time for itself. */
function stack(series: readonly Series[]): readonly (readonly Drawn[])[] {
  const heights = new Map<number, number>();
  return series.map(({ points }) =>
    points.filter(isFinitePoint).map(([seconds, value]) => {
      const from = heights.get(seconds) ?? 0;
      heights.set(seconds, from + value);
      return [seconds, from, from + value] as const;
    }),
  );
}

function grid(scale: Scale, labels: readonly string[], { left, right, y }: Plot): string {
  return scale.ticks
    .map((tick, index) => {
      const at = y(tick).toFixed(1);
      return `<line class="grid" x1="${left}" x2="${right}" y1="${at}" y2="${at}"/><text class="axis" x="${left - 6}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${escaped(labels[index] ?? "")}</text>`;
    })
    .join("");
}

/** Also below a state timeline. */
export function timeAxis(window: Window, { left, right, bottom, x }: Omit<Plot, "y">): string {
  return timeTicks(window.fromSeconds, window.toSeconds, Math.max(2, Math.floor((right - left) / 70)))
    .map((seconds) => {
      const at = x(seconds).toFixed(1);
      return `<line class="grid" x1="${at}" x2="${at}" y1="${TOP}" y2="${bottom}"/><text class="axis" x="${at}" y="${bottom + 15}" text-anchor="middle">${clockText(seconds)}</text>`;
    })
    .join("");
}

/** A line that breaks where a reading is missing, over an area down to what lies below. */
function curve(
  points: readonly Drawn[],
  { x, y }: Plot,
  { color, field, window }: { readonly color: string; readonly field: Field; readonly window: Window },
): string {
  const opacity = (field.custom?.fillOpacity ?? 0) / 100;
  const dash = field.custom?.lineStyle?.fill === "dash" ? ' stroke-dasharray="6 6"' : "";
  return unbroken(points, window.stepSeconds)
    .map((part) => {
      const upper = part.map(([seconds, , to]) => `${x(seconds).toFixed(1)},${y(to).toFixed(1)}`);
      const lower = part.map(([seconds, from]) => `${x(seconds).toFixed(1)},${y(from).toFixed(1)}`).reverse();
      return `<polygon points="${[...upper, ...lower].join(" ")}" fill="${color}" fill-opacity="${opacity}"/><polyline points="${upper.join(" ")}" stroke="${color}"${dash}/>`;
    })
    .join("");
}

function unbroken(points: readonly Drawn[], stepSeconds: number): readonly (readonly Drawn[])[] {
  const parts: Drawn[][] = [];
  let last = -Infinity;
  for (const point of points) {
    if (point[0] - last > stepSeconds * 1.5) parts.push([]);
    parts.at(-1)?.push(point);
    last = point[0];
  }
  return parts;
}

/** Only those that the axis shows, and only where the board asks for lines. */
function thresholds({ thresholds: { steps }, custom }: Field, { min, max }: Scale, { left, right, y }: Plot): string {
  if (!custom?.thresholdsStyle || custom.thresholdsStyle.mode === "off") return "";
  return steps
    .flatMap(({ value, color }) => (value === null || value < min || value > max ? [] : [{ value, color }]))
    .map(
      ({ value, color }) =>
        `<line class="threshold" x1="${left}" x2="${right}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}" stroke="${cssColor(color)}"/>`,
    )
    .join("");
}
