/** A value as a panel shows it: in words, in its unit, in a colour. */
import type { Field, Mapping, Override, Panel, Words } from "./board.ts";
import { format } from "./units.ts";

/** Grafana's dark theme. */
const COLORS: Readonly<Record<string, string>> = {
  text: "#ccccdc",
  green: "#73bf69",
  yellow: "#fade2a",
  blue: "#5794f2",
  orange: "#ff9830",
  red: "#f2495c",
  purple: "#b877d9",
  "super-light-blue": "#c0d8ff",
  "light-blue": "#8ab8ff",
  "semi-dark-blue": "#3274d9",
  "dark-blue": "#1f60c4",
  "dark-purple": "#8f3bb8",
};
/** Its classic palette: what the series of a chart get in turn. */
const PALETTE = [
  ["#73bf69", "#fade2a", "#5794f2", "#ff9830", "#f2495c", "#b877d9"],
  ["#37872d", "#e0b400", "#1f60c4", "#fa6400", "#c4162a", "#8f3bb8"],
  ["#c8f2c2", "#fff899", "#c0d8ff", "#ffcb7d", "#ffa6b0", "#deb6f2"],
].flat();

export interface Shown {
  readonly text: string;
  /** CSS; undefined where neither a mapping nor a threshold says one. */
  readonly color: string | undefined;
}

export const seriesColor = (index: number): string => PALETTE[index % PALETTE.length] ?? "";

/** Throws on a name that it does not know. */
export function cssColor(name: string): string {
  const color = name.startsWith("#") ? name : COLORS[name];
  if (color === undefined) throw new Error(`no colour named ${name}`);
  return color;
}

/** A mapping wins over the unit, and its colour over the thresholds'; texts have no unit and no threshold. */
export function show(value: number | string, field: Field): Shown {
  const words = field.mappings.map((mapping) => wordsOf(value, mapping)).find((found) => found !== undefined);
  const color = words?.color ?? stepOf(value, field)?.color;
  return {
    text: words?.text ?? (typeof value === "number" ? format(value, field.unit) : value),
    color: color === undefined ? undefined : cssColor(color),
  };
}

/** Throws on a mapping that is not by value. */
function wordsOf(value: number | string, { type, options }: Mapping): Words | undefined {
  if (type !== "value") throw new Error(`no mapping of the type ${type}`);
  return options[String(value)];
}

function stepOf(value: number | string, { color, thresholds }: Field) {
  if (typeof value === "string" || color.mode !== "thresholds") return undefined;
  return thresholds.steps.findLast((step) => step.value === null || value >= step.value);
}

/** The field of a column by its name, or of a query's series by its letter, with the overrides that name it. */
export function fieldOf(
  { fieldConfig: { defaults, overrides } }: Panel,
  by: { readonly column: string } | { readonly refId: string },
): Field {
  const [id, name] = "column" in by ? ["byName", by.column] : ["byFrameRefID", by.refId];
  return overrides
    .filter(({ matcher }) => matcher.id === id && matcher.options === name)
    .flatMap(({ properties }) => properties)
    .reduce(overridden, defaults);
}

/** `custom.x` properties go into custom, the others are the field's own. */
function overridden(field: Field, { id, value }: Override["properties"][number]): Field {
  const custom = /^custom\.(.+)$/.exec(id)?.[1];
  return custom === undefined ? { ...field, [id]: value } : { ...field, custom: { ...field.custom, [custom]: value } };
}
