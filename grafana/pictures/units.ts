/** Numbers in Grafana's units, written as it writes them: scaled, at most three digits beside zeros, none after a point in vain. */

const SI = ["", "k", "M", "G", "T", "P"];
const IEC = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const COUNTS = ["", "K", "M", "B", "T"];
/** From which number of seconds on which unit is used. */
const DURATIONS = [
  [31_536_000, "year"],
  [604_800, "week"],
  [86_400, "day"],
  [3600, "hour"],
  [60, "min"],
  [1, "s"],
  [1e-3, "ms"],
  [1e-6, "µs"],
  [0, "ns"],
] as const;
const SMALLEST_SECONDS = 1e-9;

type Format = (value: number) => string;

const plain =
  (unit: string): Format =>
  (value) =>
    unit === "" ? digits(value) : `${digits(value)} ${unit}`;

const scaled =
  (base: number, steps: readonly string[], suffix: string): Format =>
  (value) => {
    const power = value === 0 ? 0 : Math.floor(Math.log(Math.abs(value)) / Math.log(base) + 1e-9);
    const index = Math.min(Math.max(power, 0), steps.length - 1);
    return `${digits(value / base ** index)} ${steps[index] ?? ""}${suffix}`.trim();
  };

const FORMATS: Readonly<Record<string, Format>> = {
  none: plain(""),
  bytes: scaled(1024, IEC, ""),
  Bps: scaled(1000, SI, "B/s"),
  percentunit: (value) => `${digits(value * 100)}%`,
  watt: scaled(1000, SI, "W"),
  watth: scaled(1000, SI, "Wh"),
  joule: scaled(1000, SI, "J"),
  hertz: scaled(1000, SI, "Hz"),
  celsius: plain("°C"),
  reqps: (value) => scaled(1000, COUNTS, " req/s")(value).replaceAll(/\s+/g, " "),
  s: duration,
  bool_yes_no: (value) => (value === 0 ? "No" : "Yes"),
};

/** Throws on a unit that it does not know, so that a board cannot get a picture with a wrong one. */
export function format(value: number, unit: string): string {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "-∞" : "NaN";
  const suffix = /^suffix:\s*(.+)$/.exec(unit)?.[1];
  const write = suffix === undefined ? FORMATS[unit] : plain(suffix);
  if (!write) throw new Error(`no format for the unit ${unit}`);
  return write(value);
}

function digits(value: number): string {
  const exact = Number(value.toPrecision(12));
  if (Number.isInteger(exact)) return String(exact);
  const decimals = Math.min(20, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(exact)))));
  return String(Number(exact.toFixed(decimals)));
}

function duration(value: number): string {
  if (value === 0) return "0 s";
  const [from, unit] = DURATIONS.find(([seconds]) => Math.abs(value) >= seconds) ?? [0, "ns"];
  const scale = from === 0 ? SMALLEST_SECONDS : from;
  return `${digits(value / scale)} ${unit}${from >= 3600 && Math.abs(value) !== from ? "s" : ""}`;
}
