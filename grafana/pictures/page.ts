/** A whole board as one HTML page without scripts: panels where gridPos puts them, in Grafana's measures. */
import type { Series, Window } from "./ask.ts";
import type { Board, Panel } from "./board.ts";
import { escaped } from "./html.ts";
import { barGauge, stat } from "./single-values.ts";
import { stateTimeline } from "./state-timeline.ts";
import { table } from "./table.ts";
import { type Place, type Size, timeSeries } from "./time-series.ts";

export interface Page extends Size {
  readonly html: string;
}

export interface Answered {
  readonly panel: Panel;
  readonly series: readonly Series[];
}

const WIDTH = 1600;
const GAP = 8;
const CELL = 30;
const COLUMNS = 24;
const HEADER = 56;
const TITLE = 32;
const PADDING = 8;

const DRAW: Readonly<Record<string, (panel: Panel, series: readonly Series[], place: Place) => string>> = {
  timeseries: timeSeries,
  "state-timeline": stateTimeline,
  stat: (panel, series, { size }) => stat(panel, series, size),
  bargauge: (panel, series, { size }) => barGauge(panel, series, size),
  table: (panel, series, { size }) => table(panel, series, size),
};

const STYLE = `*{box-sizing:border-box}body{margin:0;background:#111217;color:#ccccdc;font:13px Inter,"DejaVu Sans",sans-serif}
header{position:absolute;left:${GAP}px;top:10px;display:flex;gap:10px;align-items:center}h1{font-size:18px;font-weight:500;margin:0 14px 0 4px}
header span{background:#181b1f;border:1px solid #2f3136;border-radius:2px;padding:6px 10px}header b{font-weight:500;color:#8e8e99;margin-right:6px}
section{position:absolute;background:#181b1f;border:1px solid #25272c;border-radius:2px;overflow:hidden}
h2{font-size:14px;font-weight:500;margin:0;height:${TITLE}px;padding:8px ${PADDING}px 0}.body{padding:0 ${PADDING}px}
svg{display:block}text{font-size:11px;fill:#ccccdc}.axis{fill:#9d9da8}.name{font-size:13px}.grid{stroke:#ccccdc;stroke-opacity:.09}
polyline{fill:none;stroke-width:1.3;stroke-linejoin:round}.threshold{stroke-dasharray:8 6;stroke-width:1.5}.unfilled{fill:#22252b}
.legend{overflow:hidden;font-size:12px;line-height:18px;padding-left:4px}.item{display:inline-block;margin-right:16px;white-space:nowrap}
.item i{display:inline-block;width:12px;height:4px;border-radius:2px;margin-right:6px;vertical-align:middle}
.stat{display:flex;justify-content:space-around;align-items:center;font-weight:500}.stat small{display:block;font-size:13px}
.none{display:flex;align-items:center;justify-content:center;color:#8e8e99;font-size:18px}
.table{overflow:hidden}table{width:100%;border-collapse:collapse}td,th{text-align:left;padding:0 8px;border-bottom:1px solid #25272c;white-space:nowrap}
th{color:#6e9fff;font-weight:500}.number{text-align:right}`;

/** Throws on a panel type that it cannot draw. */
export function pageOf(board: Board, answers: readonly Answered[], { window, chosen }: Context): Page {
  const sections = answers.map(({ panel, series }) => {
    const { x, y, w, h } = panel.gridPos;
    const cell = (WIDTH - GAP) / COLUMNS;
    const [width, height] = [w * cell - GAP, h * (CELL + GAP) - GAP];
    const size = { width: Math.floor(width - 2 * PADDING - 2), height: Math.floor(height - TITLE - PADDING - 2) };
    const style = `left:${(GAP + x * cell).toFixed(1)}px;top:${HEADER + y * (CELL + GAP)}px;width:${width.toFixed(1)}px;height:${height}px`;
    return `<section style="${style}"><h2>${escaped(panel.title)}</h2><div class="body">${drawn(panel, series, { size, window })}</div></section>`;
  });
  const bottom = Math.max(...answers.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h));
  const variables = board.templating.list
    .filter(({ type }) => type !== "datasource")
    .map(({ name, label }) => `<span><b>${escaped(label)}</b>${escaped(chosen.get(name) ?? "All")}</span>`);
  const head = `<header><h1>${escaped(board.title)}</h1>${variables.join("")}<span><b>UTC</b>${rangeText(window)}</span></header>`;
  const html = `<!doctype html><meta charset="utf-8"><title>${escaped(board.title)}</title><style>${STYLE}</style>${head}${sections.join("")}`;
  return { html, width: WIDTH, height: HEADER + bottom * (CELL + GAP) };
}

export interface Context {
  readonly window: Window;
  /** What the bar of variables says, by name. */
  readonly chosen: ReadonlyMap<string, string>;
}

/** Without any series the panel says so in its own words, as Grafana does. */
function drawn(panel: Panel, series: readonly Series[], place: Place): string {
  const draw = DRAW[panel.type];
  if (!draw) throw new Error(`${panel.title}: no drawing for a panel of the type ${panel.type}`);
  if (series.length > 0) return draw(panel, series, place);
  return `<div class="none" style="height:${place.size.height}px">${escaped(panel.fieldConfig.defaults.noValue)}</div>`;
}

const rangeText = ({ fromSeconds, toSeconds }: Window): string =>
  `${new Date(fromSeconds * 1000).toISOString().slice(0, 16).replace("T", " ")} to ${new Date(toSeconds * 1000).toISOString().slice(11, 16)}`;
