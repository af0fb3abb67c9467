/** Sizes, shares and times in the words of `ollama ps` (Ollama's cmd and format packages). */

const DECIMAL_UNITS = ["B", "KB", "MB", "GB", "TB"];
const FOREVER_MS = 100 * 365 * 86_400_000;

/** `3.3 GB`: 1000 based, one decimal below 10 unless it is zero. */
export function humanBytes(bytes: number): string {
  const power = Math.min(bytes < 1000 ? 0 : Math.floor(Math.log10(bytes) / 3), DECIMAL_UNITS.length - 1);
  const value = bytes / 1000 ** power;
  const whole = power === 0 || value >= 10 || Number.isInteger(value);
  return `${whole ? Math.trunc(value) : value.toFixed(1)} ${DECIMAL_UNITS[power] ?? ""}`;
}

/** `100% GPU`, `45%/55% CPU/GPU`, `100% CPU`; `Unknown` where Ollama's numbers say nothing. */
export function processorShare(size: number | undefined, vram: number | undefined): string {
  if (size === undefined || vram === undefined) return "Unknown";
  if (vram === 0) return "100% CPU";
  if (vram === size) return "100% GPU";
  if (vram > size || size === 0) return "Unknown";
  const cpu = Math.round(((size - vram) / size) * 100);
  return `${cpu}%/${100 - cpu}% CPU/GPU`;
}

/** `4 minutes from now`, `Forever`, or `Stopping...` once the time has passed. */
export function untilWords(expiresAtMs: number | undefined, nowMs: number): string {
  if (expiresAtMs === undefined) return "Unknown";
  const left = expiresAtMs - nowMs;
  if (left > FOREVER_MS) return "Forever";
  return left < 0 ? "Stopping..." : `${humanDuration(left)} from now`;
}

type Step = readonly [below: number, words: (value: number) => string];

const HOURS: readonly Step[] = [
  [48, (hours) => `${hours} hours`],
  [24 * 7 * 2, (hours) => `${Math.floor(hours / 24)} days`],
  [24 * 30 * 2, (hours) => `${Math.floor(hours / 24 / 7)} weeks`],
  [24 * 365 * 2, (hours) => `${Math.floor(hours / 24 / 30)} months`],
];

function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 1) return "Less than a second";
  if (seconds < 60) return seconds === 1 ? "1 second" : `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes === 1 ? "About a minute" : `${minutes} minutes`;
  const hours = Math.round(ms / 3_600_000);
  if (hours === 1) return "About an hour";
  const words = HOURS.find(([below]) => hours < below)?.[1];
  return words ? words(hours) : `${Math.floor(ms / 3_600_000 / 24 / 365)} years`;
}
