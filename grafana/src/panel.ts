/** What a panel of a board says: data, from which build.ts makes Grafana's JSON. */

export interface Query {
  readonly expr: string;
  /** Legend, or the column of a table. */
  readonly legend: string;
  /** Drawn as a dashed line: what the other queries' values are compared with. */
  readonly dashed?: true;
}

/** A value in words; orange and red only where it is a problem, the others tell states apart. */
export type Word = string | { readonly text: string; readonly color: Problem | Neutral };
export type Problem = "orange" | "red";
export type Neutral = "dark-blue" | "blue" | "light-blue" | "super-light-blue" | "dark-purple";

export interface Threshold {
  /** From this value on. */
  readonly value: number;
  /** "text" ends a problem that lies below it. */
  readonly color: Problem | "text";
}

export interface PanelSpec {
  readonly kind: "timeseries" | "stat" | "table" | "statetimeline" | "bargauge";
  readonly title: string;
  readonly description: string;
  /** A unit id of Grafana: bytes, percentunit, watt, watth, joule, celsius, hertz, s, reqps, suffix:X, none. */
  readonly unit: string;
  readonly queries: readonly Query[];
  /** Columns of 24; default 12. */
  readonly width?: number;
  /** Default 8, of a stat 4. */
  readonly height?: number;
  /** Real problems only: without thresholds nothing is coloured. */
  readonly thresholds?: readonly Threshold[];
  /** Colour of what is below all thresholds, where low values are the problem. */
  readonly lowest?: Problem;
  /** Words in place of values. */
  readonly words?: Readonly<Record<string, Word>>;
  readonly stacked?: true;
  readonly max?: number;
  /** What is said when there is no series; default n/a. */
  readonly noValue?: string;
  /** For a table: columns to show with their names and units, in order. */
  readonly columns?: readonly Column[];
  /** For a table: the name of the column by which it is sorted. */
  readonly sortBy?: string;
}

/** A column of a table: a label, or the value of the query with that letter. */
export interface Column {
  /** Label name, or `Value #A`. */
  readonly field: string;
  readonly name: string;
  readonly unit?: string;
  /** Words in place of values. */
  readonly words?: Readonly<Record<string, Word>>;
}

export interface BoardSpec {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** Beside datasource, job and instance. */
  readonly variables: readonly ("gpu" | "server" | "model" | "price")[];
  readonly panels: readonly PanelSpec[];
}
