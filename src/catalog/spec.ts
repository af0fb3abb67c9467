/** The shape of a catalogue row: one row = one metric family, in Prometheus' and OpenTelemetry's words. */

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** What a row reads from its entity: one number, or one per extra label set. Undefined = unknown = no series. */
export type Reading = number | boolean | undefined | readonly Sample[];

/**
 * Unit of a family. It decides the suffix of the Prometheus name and the UCUM unit of the OpenTelemetry name.
 * `none` is for 0/1 and info gauges and plain counts.
 */
export const UNITS = {
  bytes: { ucum: "By", suffix: "_bytes" },
  seconds: { ucum: "s", suffix: "_seconds" },
  joules: { ucum: "J", suffix: "_joules" },
  watts: { ucum: "W", suffix: "_watts" },
  hertz: { ucum: "Hz", suffix: "_hertz" },
  celsius: { ucum: "Cel", suffix: "_celsius" },
  ratio: { ucum: "1", suffix: "_ratio" },
  tokens: { ucum: "{token}", suffix: "" },
  none: { ucum: "", suffix: "" },
} as const;
export type Unit = keyof typeof UNITS;

/** One row of the catalogue. `T` is what it is read from: a Gpu, a Model, ... */
export interface MetricSpec<T> {
  /** Prometheus name with unit suffix, and `_total` on a counter. Frozen once shipped. */
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly unit: Unit;
  readonly help: string;
  /** Labels beside those of the scope. */
  readonly labels?: readonly string[];
  /** Where the fact comes from, for docs/metrics.md. */
  readonly source: string;
  readonly read: (entity: T) => Reading;
}

/** A family with its samples, ready for any output. */
export interface MetricFamily {
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly unit: Unit;
  readonly help: string;
  readonly samples: readonly Sample[];
}

/**
 * OpenTelemetry's native name: the Prometheus name without `_total` and unit, dotted, so that Prometheus' standard
 * translation of an OTLP push gives the Prometheus name back.
 */
export function otelName(spec: { readonly name: string; readonly unit: Unit; readonly type: string }): string {
  const base = spec.type === "counter" ? spec.name.replace(/_total$/, "") : spec.name;
  const { suffix } = UNITS[spec.unit];
  return (suffix !== "" && base.endsWith(suffix) ? base.slice(0, -suffix.length) : base).replaceAll("_", ".");
}

/** Samples from a record: one per key, the key being the value of `label`. */
export function byLabel(label: string, values: Readonly<Record<string, number>> | undefined): Reading {
  return values && Object.entries(values).map(([key, value]) => ({ labels: { [label]: key }, value }));
}
