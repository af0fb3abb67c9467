/** The shape of a catalogue row: one row = one metric family, in Prometheus' and OpenTelemetry's words. */

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Unix time from which a counter counts, where it is known of this series alone. */
  readonly startTimeSeconds?: number;
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

/** The family in OpenTelemetry's semantic conventions for hardware (--otlp.naming=semconv). */
export interface SemconvName {
  readonly name: string;
  /** UCUM. */
  readonly unit: string;
  /** The conventions' instrument; an up-down counter is a sum that is not monotonic. */
  readonly instrument: "gauge" | "counter" | "updowncounter";
  /** From the row's own labels to attributes, beside those that say which GPU it is. */
  readonly attributes?: (labels: Labels) => Labels;
}

/** What a row says about its family, whatever it is read from. */
export interface MetricRow {
  /** Prometheus name with unit suffix, and `_total` on a counter. Frozen once shipped. */
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly unit: Unit;
  readonly help: string;
  /** Of a counter: it counts from the start of the exporter. Absent = since a moment that is unknown, or known per series. */
  readonly since?: "exporter";
  /** Absent = the conventions have no name for it. */
  readonly semconv?: SemconvName;
}

/** One row of the catalogue. `T` is what it is read from: a Gpu, a Model, ... */
export interface MetricSpec<T> extends MetricRow {
  /** Labels beside those of the scope. */
  readonly labels?: readonly string[];
  /** Where the fact comes from, for docs/metrics.md. */
  readonly source: string;
  readonly read: (entity: T) => Reading;
}

/** A family with its samples, ready for any output. */
export interface MetricFamily extends MetricRow {
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
