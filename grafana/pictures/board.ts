/** The part of Grafana's classic dashboard JSON that the pictures draw; the files are this project's own (grafana/dashboards). */
import { readFileSync } from "node:fs";

export interface Target {
  readonly expr: string;
  readonly legendFormat: string;
  readonly refId: string;
  readonly instant: boolean;
}

/** A value in words, and in a colour where it is a problem. */
export interface Words {
  readonly text?: string;
  readonly color?: string;
}

/** By value; the boards use no other kind. */
export interface Mapping {
  readonly type: string;
  readonly options: Readonly<Record<string, Words>>;
}

/** How values are written and coloured: of a panel, or with an override's properties of one column. */
export interface Field {
  readonly unit: string;
  readonly noValue: string;
  readonly min?: number;
  readonly max?: number;
  readonly color: { readonly mode: string };
  readonly mappings: readonly Mapping[];
  readonly thresholds: { readonly steps: readonly { readonly value: number | null; readonly color: string }[] };
  readonly custom?: {
    readonly fillOpacity?: number;
    readonly stacking?: { readonly mode: string };
    readonly thresholdsStyle?: { readonly mode: string };
    readonly lineStyle?: { readonly fill: string };
    readonly cellOptions?: { readonly type: string };
  };
}

export interface Override {
  readonly matcher: { readonly id: string; readonly options: string };
  readonly properties: readonly { readonly id: string; readonly value: unknown }[];
}

export interface Panel {
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly Target[];
  readonly fieldConfig: { readonly defaults: Field; readonly overrides: readonly Override[] };
  readonly options: { readonly colorMode?: string; readonly sortBy?: readonly { readonly displayName: string }[] };
  readonly transformations?: readonly { readonly id: string; readonly options: Organize }[];
}

export interface Organize {
  readonly indexByName?: Readonly<Record<string, number>>;
  readonly renameByName?: Readonly<Record<string, string>>;
  readonly includeByName?: Readonly<Record<string, boolean>>;
}

export interface Variable {
  readonly name: string;
  readonly type: string;
  readonly label: string;
  readonly query: unknown;
  readonly allValue?: string;
}

export interface Board {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly Variable[] };
}

/** Throws when the file is missing or no JSON; npm run grafana writes it. */
export function readBoard(path: string): Board {
  return JSON.parse(readFileSync(path, "utf8")) as Board;
}
