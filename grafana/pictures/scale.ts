/** Axes: round ticks for values and times. */

export interface Scale {
  readonly min: number;
  readonly max: number;
  readonly ticks: readonly number[];
}

/** What round means: of numbers, of bytes, of seconds. */
export type Base = 10 | 1024 | "clock";

const ROUND = [1, 2, 2.5, 5, 10];
const TIME_STEPS_SECONDS = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];

/** Covers the values from `min` (default: the lowest) to `max` (default: the highest, rounded up to a tick). */
export function valueScale(
  values: readonly number[],
  { min, max, base = 10, ticks: wanted = 5 }: { min?: number; max?: number; base?: Base; ticks?: number },
): Scale {
  const finite = values.filter((value) => Number.isFinite(value));
  const low = min ?? Math.min(...finite, 0);
  const top = max ?? Math.max(...finite, low);
  const flat = top <= low;
  const high = flat ? low + 1 : top;
  const step = flat ? 1 : roundStep((high - low) / wanted, base);
  const end = max ?? Math.ceil(high / step - 1e-9) * step;
  const start = min ?? Math.floor(low / step + 1e-9) * step;
  const count = Math.floor((end - start) / step + 1e-9) + 1;
  return {
    min: start,
    max: end,
    ticks: Array.from({ length: count }, (_, index) => Number((start + index * step).toPrecision(12))),
  };
}

/** The smallest round number not below `least`: a step of the clock, or 1, 2, 2.5 or 5 times powers of ten and 1024. */
function roundStep(least: number, base: Base): number {
  const onClock = base === "clock" && least > 10 ? TIME_STEPS_SECONDS.find((step) => step >= least) : undefined;
  if (onClock !== undefined) return onClock;
  const unit = base === 1024 ? base ** Math.max(0, Math.floor(Math.log(least) / Math.log(base))) : 1;
  const power = 10 ** Math.floor(Math.log10(least / unit));
  return unit * power * (ROUND.find((factor) => factor * power * unit >= least * (1 - 1e-9)) ?? 10);
}

/** Whole steps of the clock, at most `most` of them. */
export function timeTicks(fromSeconds: number, toSeconds: number, most: number): readonly number[] {
  const step = TIME_STEPS_SECONDS.find((seconds) => (toSeconds - fromSeconds) / seconds <= most) ?? 86_400;
  const first = Math.ceil(fromSeconds / step) * step;
  return Array.from({ length: Math.floor((toSeconds - first) / step) + 1 }, (_, index) => first + index * step);
}

export const clockText = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(11, 16);
