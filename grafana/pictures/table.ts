/** A table panel: the answers of its queries merged row by row, columns chosen, ordered and named as the board says. */
import type { Series } from "./ask.ts";
import type { Organize, Panel } from "./board.ts";
import { type Shown, fieldOf, show } from "./field.ts";
import { escaped } from "./html.ts";
import type { Size } from "./time-series.ts";

type Cell = string | number;
type Row = ReadonlyMap<string, Cell>;

const PLAIN = "#ccccdc";
const ROW = 30;

/** Grafana's merge: rows that agree in the columns which all answers have become one. */
export function merged(series: readonly Series[], refIds: readonly string[]): readonly Row[] {
  const answers = refIds.map((refId) => series.filter((one) => one.refId === refId)).filter(({ length }) => length > 0);
  const names = answers.map((rows) => new Set(rows.flatMap(({ labels }) => Object.keys(labels))));
  const common = [...(names[0] ?? [])].filter((name) => names.every((own) => own.has(name)));
  const rows = new Map<string, Map<string, Cell>>();
  for (const { refId, labels, points } of answers.flat()) {
    const key = JSON.stringify(common.map((name) => labels[name] ?? ""));
    const row = rows.get(key) ?? new Map<string, Cell>();
    rows.set(key, row);
    for (const [name, text] of Object.entries(labels)) row.set(name, text);
    const value = points.at(-1)?.[1];
    if (value !== undefined) row.set(refIds.length === 1 ? "Value" : `Value #${refId}`, value);
  }
  return [...rows.values()];
}

/** Names of the chosen columns, and as what each is shown. */
export function columnsOf({ includeByName = {}, indexByName = {}, renameByName = {} }: Organize) {
  return Object.keys(includeByName)
    .filter((field) => includeByName[field])
    .sort((a, b) => (indexByName[a] ?? 0) - (indexByName[b] ?? 0))
    .map((field) => ({ field, name: renameByName[field] ?? field }));
}

export function table(panel: Panel, series: readonly Series[], size: Size): string {
  const organize = panel.transformations?.find(({ id }) => id === "organize")?.options ?? {};
  const refIds = panel.targets.map(({ refId }) => refId);
  const columns = columnsOf(organize).map(({ field, name }) => ({ field, name, as: fieldOf(panel, { column: name }) }));
  const by = columns.find(({ name }) => name === panel.options.sortBy?.[0]?.displayName)?.field ?? "";
  const rows = merged(series, refIds).toSorted((a, b) => compare(a.get(by), b.get(by)));
  const head = columns.map(({ field, name }) => `<th${align(field)}>${escaped(name)}</th>`).join("");
  const body = rows.slice(0, Math.floor(size.height / ROW) - 1).map((row) => {
    const cells = columns.map(({ field, as }) => {
      const { text, color } = shownCell(row.get(field), as);
      const css = as.custom?.cellOptions?.type === "color-text" && color !== undefined ? color : PLAIN;
      return `<td${align(field)} style="color:${css}">${escaped(text)}</td>`;
    });
    return `<tr style="height:${ROW}px">${cells.join("")}</tr>`;
  });
  return `<div class="table" style="height:${size.height}px"><table><tr style="height:${ROW}px">${head}</tr>${body.join("")}</table></div>`;
}

function shownCell(cell: Cell | undefined, field: ReturnType<typeof fieldOf>): Shown {
  return cell === undefined ? { text: field.noValue, color: undefined } : show(cell, field);
}

const compare = (a: Cell | undefined, b: Cell | undefined): number =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a ?? "").localeCompare(String(b ?? ""), "en");

const align = (field: string): string => (field.startsWith("Value") ? ' class="number"' : "");
