/** How hard the synthetic machine works: a smooth function of time, and its integral, so that counters agree with gauges. */

/** Between 0 and 1, smooth, with its own period. */
export const wave = (seconds: number, period: number, phase = 0): number =>
  (1 + Math.sin((2 * Math.PI * (seconds + phase)) / period)) / 2;

/** The integral of wave from 0 on. */
const area = (seconds: number, period: number, phase = 0): number => {
  const angle = (at: number) => (2 * Math.PI * (at + phase)) / period;
  return (seconds + (period / (2 * Math.PI)) * (Math.cos(angle(0)) - Math.cos(angle(seconds)))) / 2;
};

/** Full work of a model, as a share of what it could do. */
export const PEAK = 0.7;
const rhythm = (pid: number) => [97 + (pid % 7) * 31, pid % 100] as const;

/** Busy share of a model's runner at a time. */
export const load = (pid: number, seconds: number): number =>
  Math.round(wave(seconds, ...rhythm(pid)) * PEAK * 100) / 100;

/** Seconds of full work that it has done since the demo started. */
export const work = (pid: number, seconds: number): number => area(seconds, ...rhythm(pid)) * PEAK;
