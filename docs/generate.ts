/** Writes docs/metrics.md, docs/dependencies.md and the README's configuration table from the sources; with --check says what is stale. */
import { readFileSync, writeFileSync } from "node:fs";
import { COLLECTOR_METRICS, SNAPSHOT_METRICS, STATE_METRICS } from "../src/catalog/exporter.ts";
import { ENERGY_METRICS, GPU_HEALTH_METRICS, OWNER_METRICS } from "../src/catalog/gpu-health.ts";
import { GPU_METRICS } from "../src/catalog/gpu.ts";
import {
  MODEL_METRICS,
  ORPHAN_METRICS,
  RUNNER_METRICS,
  SERVER_METRICS,
  TRANSITION_METRICS,
} from "../src/catalog/ollama.ts";
import { PROCESS_METRICS } from "../src/catalog/process.ts";
import { MODEL_ENERGY_METRICS, RUNNER_ENDPOINT_METRICS } from "../src/catalog/runner.ts";
import { SEMCONV_METRICS } from "../src/catalog/semconv.ts";
import { type MetricSpec, otelName, UNITS } from "../src/catalog/spec.ts";
import { optionTable } from "../src/config/help.ts";
import { dependenciesPage } from "./dependency-list.ts";

type Row = Omit<MetricSpec<never>, "read">;
interface Group {
  readonly labels: readonly string[];
  readonly specs: readonly Row[];
}
interface Section {
  readonly title: string;
  readonly groups: readonly Group[];
}

const SECTIONS: readonly Section[] = [
  {
    title: "GPU devices",
    groups: [
      { labels: ["gpu", "uuid"], specs: [...GPU_METRICS, ...OWNER_METRICS, ...GPU_HEALTH_METRICS, ...ENERGY_METRICS] },
    ],
  },
  { title: "GPU processes", groups: [{ labels: ["gpu", "pid", "process"], specs: PROCESS_METRICS }] },
  {
    title: "Ollama",
    groups: [
      { labels: ["server"], specs: SERVER_METRICS },
      {
        labels: ["server", "model"],
        specs: [...MODEL_METRICS, ...RUNNER_ENDPOINT_METRICS, ...MODEL_ENERGY_METRICS, ...TRANSITION_METRICS],
      },
      { labels: [], specs: RUNNER_METRICS },
      { labels: ["gpu"], specs: ORPHAN_METRICS },
    ],
  },
  {
    title: "Only with the hardware conventions",
    groups: [{ labels: ["gpu", "uuid"], specs: SEMCONV_METRICS }],
  },
  {
    title: "The exporter itself",
    groups: [
      { labels: [], specs: [...STATE_METRICS, ...SNAPSHOT_METRICS] },
      { labels: ["collector", "target"], specs: COLLECTOR_METRICS },
    ],
  },
];

const INTRODUCTION = `# Metrics

Generated from \`src/catalog/\` by \`npm run docs\`; names, labels and units are frozen.

- Base units only. \`_total\` is a counter, \`_info\` is always 1. **Absent means unknown**: never 0, never NaN; a real 0 is kept.
- \`gpu\` is the NVML index (\`"0"\`), of a MIG instance \`"<gpu>:<instance>"\` (\`"0:1"\`). \`uuid\` is NVML's UUID.
- \`server\` is \`host:port\` of the Ollama server, or the name given with \`--ollama.host=NAME=URL\`. \`model\` is the name that
  \`/api/ps\` or \`/api/tags\` gives.
- Join on \`(job, instance, gpu)\` or \`(job, instance, server, model)\`.
- The OpenTelemetry name is the one under which the family is pushed (\`--otlp.naming=native\`); Prometheus' own translation of
  it gives the name in the first column. With \`--otlp.naming=semconv\` the last column holds instead where it says
  something: those have the attributes \`hw.id\` (the UUID), \`hw.type\`, \`hw.name\`, \`hw.vendor\`, \`hw.model\`,
  \`hw.driver_version\` and, on a MIG instance, \`hw.parent\` in place of \`gpu\` and \`uuid\`, and those named beside them.
- Beside these there are the runtime's usual \`process_*\` and \`nodejs_*\` families (\`--no-web.exporter-metrics\` leaves them out;
  prom-client's three gauges whose names end in \`_total\` are always left out, since OpenMetrics keeps that ending for counters).
`;

const metricsPage = (): string =>
  [
    INTRODUCTION,
    ...SECTIONS.map(
      ({ title, groups }) =>
        `## ${title}\n| family | type | labels | meaning | source | OpenTelemetry | hardware conventions |\n|---|---|---|---|---|---|---|\n${groups
          .flatMap(({ labels, specs }) => specs.map((spec) => tableRow(spec, labels)))
          .join("\n")}\n`,
    ),
  ].join("\n");

function tableRow(spec: Row, scope: readonly string[]): string {
  const labels = [...scope, ...(spec.labels ?? [])].map((label) => `\`${label}\``).join(", ");
  return `| \`${spec.name}\` | ${spec.type} | ${labels} | ${spec.help} | ${spec.source} | ${nameAndUnit(otelName(spec), UNITS[spec.unit].ucum)} | ${semconvCell(spec)} |`;
}

const nameAndUnit = (name: string, unit: string): string => `\`${name}\`${unit === "" ? "" : ` \`${unit}\``}`;

/** Name, unit and the attributes as they follow from the labels. */
function semconvCell({ semconv, labels = [] }: Row): string {
  if (!semconv) return "";
  const placeholders = Object.fromEntries(labels.map((label) => [label, `{${label}}`]));
  const attributes = Object.entries(semconv.attributes?.(placeholders) ?? {}).map(
    ([key, value]) => `\`${key}=${value}\``,
  );
  return [nameAndUnit(semconv.name, semconv.unit), ...attributes].join(" ");
}

function readme(): string {
  const current = readFileSync("README.md", "utf8");
  const [before, rest = ""] = current.split("<!-- options:begin -->");
  const [, after = ""] = rest.split("<!-- options:end -->");
  return `${before ?? ""}<!-- options:begin -->\n${optionTable()}\n<!-- options:end -->${after}`;
}

const PAGES: readonly (readonly [file: string, content: () => string])[] = [
  ["docs/metrics.md", metricsPage],
  ["docs/dependencies.md", dependenciesPage],
  ["README.md", readme],
];

const check = process.argv.includes("--check");
for (const [file, content] of PAGES) {
  const wanted = content();
  if (!check) writeFileSync(file, wanted);
  else if (readFileSync(file, "utf8") !== wanted) {
    console.error(`${file} is stale: run npm run docs`);
    process.exitCode = 1;
  }
}
