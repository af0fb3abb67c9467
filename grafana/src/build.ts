/** A board's data -> Grafana's classic dashboard JSON, by the Foundation SDK. */
import type { Builder, Dataquery } from "@grafana/grafana-foundation-sdk/cog";
import * as common from "@grafana/grafana-foundation-sdk/common";
import * as dashboard from "@grafana/grafana-foundation-sdk/dashboard";
import * as bargauge from "@grafana/grafana-foundation-sdk/bargauge";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import * as stat from "@grafana/grafana-foundation-sdk/stat";
import * as statetimeline from "@grafana/grafana-foundation-sdk/statetimeline";
import * as table from "@grafana/grafana-foundation-sdk/table";
import * as timeseries from "@grafana/grafana-foundation-sdk/timeseries";
import type { BoardSpec, Column, PanelSpec, Query, Word } from "./panel.ts";

const DATASOURCE = { type: "prometheus", uid: "${datasource}" };
const TAG = "ollama-gpu-exporter";
/** Grafana 11 reads 39; newer ones migrate it. */
const SCHEMA_VERSION = 39;
const COLUMNS = 24;
/** Where a cell of that column leads, with its value chosen there. */
const CELL_LINKS: Readonly<Record<string, readonly [title: string, uid: string]>> = {
  instance: ["GPU detail", "ollama-gpu-detail"],
  model: ["Models", "ollama-gpu-models"],
};

/** The whole dashboard as plain data. Everything in it is fixed, so that the same source gives the same bytes. */
export function buildBoard(spec: BoardSpec): dashboard.Dashboard {
  const builder = new dashboard.DashboardBuilder(spec.title)
    .uid(spec.uid)
    .description(spec.description)
    .tags([TAG, "ollama", "gpu"])
    .readonly()
    .timezone("browser")
    .time({ from: "now-6h", to: "now" })
    .refresh("30s")
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .links([boardLinks()])
    .variables([
      datasourceVariable(),
      labelVariable("job", "Job", "label_values(ollama_gpu_exporter_build_info, job)"),
      labelVariable("instance", "Instance", 'label_values(ollama_gpu_exporter_build_info{job=~"$job"}, instance)'),
      ...spec.variables.map((name) => VARIABLES[name]()),
    ]);
  const built = builder.build();
  return { ...built, schemaVersion: SCHEMA_VERSION, panels: placed(spec.panels) };
}

function boardLinks(): dashboard.DashboardLinkBuilder {
  return new dashboard.DashboardLinkBuilder("Ollama GPU")
    .type(dashboard.DashboardLinkType.Dashboards)
    .tags([TAG])
    .asDropdown(false)
    .includeVars(true)
    .keepTime(true);
}

function datasourceVariable(): dashboard.DatasourceVariableBuilder {
  return new dashboard.DatasourceVariableBuilder("datasource")
    .label("Data source")
    .type("prometheus")
    .current({} as never);
}

const TARGETED = '{job=~"$job", instance=~"$instance"}';
const VARIABLES = {
  gpu: () => labelVariable("gpu", "GPU", `label_values(gpu_info${TARGETED}, gpu)`),
  server: () => labelVariable("server", "Server", `label_values(ollama_up${TARGETED}, server)`),
  model: () =>
    labelVariable(
      "model",
      "Model",
      'label_values(ollama_model_info{job=~"$job", instance=~"$instance", server=~"$server"}, model)',
    ),
  price: () =>
    new dashboard.TextBoxVariableBuilder("price")
      .label("Price of a kWh")
      .defaultValue("0.30")
      .current({ text: "0.30", value: "0.30" })
      .description("In your currency."),
} as const;

function labelVariable(name: string, label: string, query: string): dashboard.QueryVariableBuilder {
  return new dashboard.QueryVariableBuilder(name)
    .label(label)
    .datasource(DATASOURCE)
    .query({ query, refId: `variable-${name}` })
    .definition(query)
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboard.VariableSort.NaturalAsc)
    .multi(true)
    .includeAll(true)
    .allValue(".+")
    .current({} as never);
}

/** Panels in reading order, row by row. */
function placed(specs: readonly PanelSpec[]): dashboard.Panel[] {
  let x = 0;
  let y = 0;
  let rowHeight = 0;
  return specs.map((spec, index) => {
    const w = spec.width ?? 12;
    const h = spec.height ?? (spec.kind === "stat" ? 4 : 8);
    if (x + w > COLUMNS) {
      x = 0;
      y += rowHeight;
      rowHeight = 0;
    }
    const gridPos = { x, y, w, h };
    x += w;
    rowHeight = Math.max(rowHeight, h);
    return { ...PANELS[spec.kind](spec), id: index + 1, gridPos };
  });
}

const PANELS: Readonly<Record<PanelSpec["kind"], (spec: PanelSpec) => dashboard.Panel>> = {
  timeseries: (spec) => {
    const builder = shared(new timeseries.PanelBuilder(), spec)
      .fillOpacity(spec.stacked ? 40 : 8)
      .lineWidth(1)
      .showPoints(common.VisibilityMode.Auto)
      .min(0)
      .legend(legend())
      .tooltip(
        new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi).sort(common.SortOrder.Descending),
      );
    if (spec.stacked) builder.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group("A"));
    if (spec.max !== undefined) builder.max(spec.max);
    if (spec.thresholds)
      builder.thresholdsStyle(
        new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Dashed),
      );
    for (const [index, { dashed }] of spec.queries.entries())
      if (dashed)
        builder.overrideByQuery(letter(index), [
          { id: "custom.lineStyle", value: { fill: "dash", dash: [6, 6] } },
          { id: "custom.fillOpacity", value: 0 },
        ]);
    return builder.build();
  },
  stat: (spec) =>
    shared(new stat.PanelBuilder(), spec)
      .reduceOptions(lastValue())
      .colorMode(spec.thresholds || spec.words ? common.BigValueColorMode.Value : common.BigValueColorMode.None)
      .graphMode(common.BigValueGraphMode.None)
      .build(),
  bargauge: (spec) => {
    const builder = shared(new bargauge.PanelBuilder(), spec)
      .reduceOptions(lastValue())
      .orientation(common.VizOrientation.Horizontal)
      .displayMode(common.BarGaugeDisplayMode.Basic)
      .min(0);
    if (spec.max !== undefined) builder.max(spec.max);
    return builder.build();
  },
  statetimeline: (spec) =>
    shared(new statetimeline.PanelBuilder(), spec)
      .showValue(common.VisibilityMode.Never)
      .mergeValues(true)
      .fillOpacity(70)
      .legend(legend())
      .build(),
  table: (spec) => {
    const builder = shared(new table.PanelBuilder(), spec).showHeader(true);
    const columns = spec.columns ?? [];
    if (spec.sortBy !== undefined)
      builder.sortBy([new common.TableSortByFieldStateBuilder().displayName(spec.sortBy).desc(false)]);
    builder.withTransformation({ id: "merge", options: {} });
    builder.withTransformation({
      id: "organize",
      options: {
        indexByName: Object.fromEntries(columns.map(({ field }, index) => [field, index])),
        renameByName: Object.fromEntries(columns.map(({ field, name }) => [field, name])),
        includeByName: Object.fromEntries(columns.map(({ field }) => [field, true])),
      },
    });
    for (const column of columns) {
      const properties = propertiesOf(column);
      if (properties.length > 0) builder.overrideByName(column.name, properties);
    }
    return builder.build();
  },
};

/** What a column has of its own. */
function propertiesOf({ field, unit, words }: Column): dashboard.DynamicConfigValue[] {
  const [title, uid] = CELL_LINKS[field] ?? [];
  const colored = Object.values(words ?? {}).some((word) => typeof word !== "string");
  return [
    ...(unit === undefined ? [] : [{ id: "unit", value: unit }]),
    ...(words ? [{ id: "mappings", value: mappingsOf(words) }] : []),
    ...(colored ? [{ id: "custom.cellOptions", value: { type: "color-text" } }] : []),
    ...(title === undefined || uid === undefined
      ? []
      : [
          {
            id: "links",
            value: [
              {
                title,
                url: `/d/${uid}?\${datasource:queryparam}&var-${field}=\${__value.raw:percentencode}&\${__url_time_range}`,
              },
            ],
          },
        ]),
  ];
}

function mappingsOf(words: Readonly<Record<string, Word>> = {}): dashboard.ValueMapping[] {
  const options = Object.entries(words).map(([value, word], index) => [
    value,
    typeof word === "string" ? { text: word, index } : { ...word, index },
  ]);
  return options.length > 0
    ? [{ type: dashboard.MappingType.ValueToText, options: Object.fromEntries(options) as never }]
    : [];
}

/** What the builders of all kinds have in common. */
interface PanelBuilder {
  title(title: string): this;
  description(description: string): this;
  datasource(datasource: typeof DATASOURCE): this;
  unit(unit: string): this;
  noValue(text: string): this;
  targets(targets: Builder<Dataquery>[]): this;
  mappings(mappings: dashboard.ValueMapping[]): this;
  thresholds(thresholds: Builder<dashboard.ThresholdsConfig>): this;
  colorScheme(color: Builder<dashboard.FieldColor>): this;
}

/** Said outright: left to itself Grafana colours a state timeline from green to red, whatever the states mean. */
function colorsOf(kind: PanelSpec["kind"]): { readonly mode: dashboard.FieldColorModeId; readonly plain: string } {
  if (kind === "timeseries") return { mode: dashboard.FieldColorModeId.PaletteClassic, plain: "text" };
  const bars = kind === "bargauge" || kind === "statetimeline";
  return { mode: dashboard.FieldColorModeId.Thresholds, plain: bars ? "semi-dark-blue" : "text" };
}

function shared<T extends PanelBuilder>(builder: T, spec: PanelSpec): T {
  const { mode, plain } = colorsOf(spec.kind);
  const steps = [{ value: null, color: spec.lowest ?? plain }, ...(spec.thresholds ?? [])];
  builder
    .title(spec.title)
    .description(spec.description)
    .datasource(DATASOURCE)
    .unit(spec.unit)
    .noValue(spec.noValue ?? "n/a")
    .targets(spec.queries.map((query, index) => target(query, index, spec.kind)))
    .mappings(mappingsOf(spec.words))
    .colorScheme(new dashboard.FieldColorBuilder().mode(mode))
    .thresholds(new dashboard.ThresholdsConfigBuilder().mode(dashboard.ThresholdsMode.Absolute).steps(steps));
  return builder;
}

const letter = (index: number): string => String.fromCharCode(65 + index);

function target({ expr, legend: text }: Query, index: number, kind: PanelSpec["kind"]): DataqueryBuilder {
  const query = new DataqueryBuilder().expr(expr).legendFormat(text).refId(letter(index)).datasource(DATASOURCE);
  if (kind === "table") return query.instant().format(PromQueryFormat.Table);
  return kind === "stat" || kind === "bargauge" ? query.instant() : query.range();
}

function legend(): common.VizLegendOptionsBuilder {
  return new common.VizLegendOptionsBuilder()
    .showLegend(true)
    .displayMode(common.LegendDisplayMode.List)
    .placement(common.LegendPlacement.Bottom)
    .calcs([]);
}

function lastValue(): common.ReduceDataOptionsBuilder {
  return new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]).fields("").values(false);
}
