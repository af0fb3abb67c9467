/** Panels of single values: stat and bar gauge. */
import type { Series } from "./ask.ts";
import type { Panel } from "./board.ts";
import { show } from "./field.ts";
import { cut, escaped, widthOf } from "./html.ts";
import type { Size } from "./time-series.ts";
import { valueScale } from "./scale.ts";

const PLAIN = "#ccccdc";
const FONT = 13;
const LARGEST = 44;

const lastOf = ({ points }: Series): number => points.at(-1)?.[1] ?? NaN;

/** One big number per series. */
export function stat(panel: Panel, series: readonly Series[], size: Size): string {
  const width = size.width / series.length;
  const values = series.map((one) => {
    const { text, color } = show(lastOf(one), panel.fieldConfig.defaults);
    const font = Math.min(LARGEST, size.height * 0.7, (width * 0.9) / Math.max(1, widthOf(text, 1)));
    const name = series.length > 1 ? `<small>${escaped(one.name)}</small>` : "";
    const css = panel.options.colorMode === "none" ? PLAIN : (color ?? PLAIN);
    return `<div style="font-size:${font.toFixed(0)}px;color:${css}">${name}${escaped(text)}</div>`;
  });
  return `<div class="stat" style="height:${size.height}px">${values.join("")}</div>`;
}

/** Horizontal bars from zero to the panel's maximum, or to the largest value. */
export function barGauge(panel: Panel, series: readonly Series[], size: Size): string {
  const field = panel.fieldConfig.defaults;
  const rows = series.map((one) => ({ name: one.name, value: lastOf(one), ...show(lastOf(one), field) }));
  const largest = Math.max(...rows.map(({ value }) => value).filter((value) => Number.isFinite(value)), 0);
  const { min, max } = valueScale([], { min: field.min ?? 0, max: field.max ?? largest });
  const nameWidth = Math.min(size.width * 0.4, Math.max(...rows.map(({ name }) => widthOf(name, FONT))) + 12);
  const textWidth = Math.max(...rows.map(({ text }) => widthOf(text, FONT))) + 16;
  const [step, barWidth] = [size.height / rows.length, size.width - nameWidth - textWidth];
  const bars = rows.map(({ name, value, text, color = PLAIN }, index) => {
    const y = (index + 0.5) * step;
    const height = Math.min(step * 0.7, 36);
    const box = `x="${nameWidth}" y="${(y - height / 2).toFixed(1)}" height="${height.toFixed(1)}" rx="2"`;
    const filled = Math.min(1, Math.max(0, (value - min) / (max - min))) * barWidth;
    return `<text class="name" x="${nameWidth - 8}" y="${(y + 4).toFixed(1)}" text-anchor="end">${escaped(cut(name, FONT, nameWidth - 8))}</text><rect ${box} width="${barWidth}" class="unfilled"/><rect ${box} width="${filled.toFixed(1)}" fill="${color}" fill-opacity="0.75"/><text class="name" x="${size.width - 4}" y="${(y + 4).toFixed(1)}" text-anchor="end" fill="${color}">${escaped(text)}</text>`;
  });
  return `<svg width="${size.width}" height="${size.height}">${bars.join("")}</svg>`;
}
