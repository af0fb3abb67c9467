/** What a panel of a board says: data, from which build.ts makes Grafana's JSON. */

export interface Query {
  readonly expr: string;
  /** Legend, or the column of a table. */
  readonly legend: string;
}

export interface Threshold {
  /** From this value on; the lowest has none. */
  readonly value: number;
  readonly color: "orange" | "red";
}

export interface PanelSpec {
  readonly kind: "timeseries" | "stat" | "table" | "statetimeline" | "bargauge";
  readonly title: string;
  readonly description: string;
  /** A unit id of Grafana: bytes, percentunit, watt, joule, celsius, hertz, s, dateTimeFromNow, short, none. */
  readonly unit: string;
  readonly queries: readonly Query[];
  /** Columns of 24; default 12. */
  readonly width?: number;
  /** Default 8, of a stat 4. */
  readonly height?: number;
  /** Real problems only: without thresholds nothing is coloured. */
  readonly thresholds?: readonly Threshold[];
  /** Words in place of numbers. */
  readonly words?: Readonly<Record<number, string>>;
  readonly stacked?: true;
  readonly max?: number;
  /** What is said when there is no series; default n/a. */
  readonly noValue?: string;
  /** For a table: columns to show with their names and units, in order. */
  readonly columns?: readonly Column[];
}

/** A column of a table: a label, or the value of the query with that letter. */
export interface Column {
  /** Label name, or `Value #A`. */
  readonly field: string;
  readonly name: string;
  readonly unit?: string;
}

export interface BoardSpec {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** Beside datasource, job and instance. */
  readonly variables: readonly ("gpu" | "server" | "model" | "price")[];
  readonly panels: readonly PanelSpec[];
}
