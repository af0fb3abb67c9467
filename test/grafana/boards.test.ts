import { describe, expect, it } from "@jest/globals";
import { parser } from "@prometheus-io/lezer-promql";
import { CATALOGUE } from "../../src/catalog/catalogue.ts";
import { BOARDS } from "../../grafana/generate.ts";
import type { Board } from "../../grafana/pictures/board.ts";
import { buildBoard } from "../../grafana/src/build.ts";
import { alertGroups, ruleFiles, runbookFiles } from "../../grafana/src/rules/files.ts";
import { RECORDING_RULES } from "../../grafana/src/rules/recording.ts";

/** Families that Prometheus or the Node runtime makes. */
const OTHERS = [
  "up",
  "ALERTS",
  "scrape_duration_seconds",
  "scrape_samples_scraped",
  "process_resident_memory_bytes",
  "process_cpu_seconds_total",
];
const KNOWN = new Set([...CATALOGUE, ...RECORDING_RULES.map(({ record: name }) => ({ name }))].map(({ name }) => name));
for (const name of OTHERS) KNOWN.add(name);
/** Ids of Grafana's units that are used here (packages/grafana-data/src/valueFormats/categories.ts). */
const UNITS = [
  "none",
  "bytes",
  "Bps",
  "percentunit",
  "watt",
  "watth",
  "joule",
  "celsius",
  "hertz",
  "s",
  "reqps",
  "suffix:tok/s",
];

/** What each board must answer, as the issue lists it: a title of a panel for each. */
const CONTENT: Readonly<Record<string, readonly string[]>> = {
  "ollama-gpu-fleet": [
    "Exporters up",
    "GPUs",
    "VRAM by owner",
    "Models loaded",
    "Power",
    "Alerts firing",
    "Alerts",
    "Hosts",
  ],
  "ollama-gpu-detail": [
    ...[
      "Memory by owner",
      "Memory by model",
      "Utilisation",
      "Power and limit",
      "Mean power by energy counter",
      "Clocks",
    ],
    ...["What holds the clocks down", "Temperatures", "PCIe", "NVLink", "ECC errors", "XID by code", "Memory repair"],
  ],
  "ollama-gpu-models": [
    ...[
      "VRAM per model and GPU, measured",
      "Measured beside reported",
      "Share on the GPU",
      "Models",
      "Time until unloaded",
    ],
    ...["Loads and unloads", "Runner CPU", "Runner memory", "Tokens per second", "Speed while generating"],
    ...["Prompt tokens per second", "Busy slots", "Power per model", "Energy per token"],
  ],
  "ollama-gpu-capacity": [
    ...["Free VRAM per GPU", "Would it fit?", "Loaded but idle", "VRAM of others", "Cost in the shown time"],
    ...["Energy per model and day", "Cost per model in the shown time", "Cold share of each model"],
  ],
  "ollama-gpu-exporter": ["Collectors", "Time per reading", "Driver call errors", "Memory of the exporter"],
};
const VARIABLES = /\$(job|instance|gpu|server|model|price)\b/g;

/** Names and problems of an expression, Grafana's variables filled in. */
function inspect(expr: string): { readonly metrics: readonly string[]; readonly errors: number } {
  const text = expr.replace(/\$__(rate_interval|range|interval)/g, "5m").replaceAll("$price", "0.3");
  const metrics: string[] = [];
  let errors = 0;
  parser.parse(text).iterate({
    enter: ({ type, from, to }) => {
      if (type.isError) errors += 1;
      if (type.name === "Identifier") metrics.push(text.slice(from, to));
    },
  });
  return { metrics, errors };
}

describe.each(BOARDS)("the board $title", (spec) => {
  const built = buildBoard(spec);
  const plain = JSON.parse(JSON.stringify(built)) as Board;

  it("has at most 24 panels, each with an id of its own, a place, a description and a known unit", () => {
    const panels = built.panels ?? [];
    expect(panels.length).toBeLessThanOrEqual(24);
    expect(new Set(panels.map((panel) => panel.id)).size).toBe(panels.length);
    for (const { title, description, unit, queries } of spec.panels) {
      expect([title, UNITS.includes(unit), description.endsWith("."), queries.length > 0]).toEqual([
        title,
        true,
        true,
        true,
      ]);
    }
  });

  it("asks only for families that exist, bound to job and instance, in PromQL that parses", () => {
    for (const { title, queries } of spec.panels) {
      for (const { expr } of queries) {
        const { metrics, errors } = inspect(expr);
        expect([title, errors, metrics.filter((name) => !KNOWN.has(name))]).toEqual([title, 0, []]);
        expect(expr.match(/\{/g)?.length).toBe(expr.match(/\{job=~"\$job", instance=~"\$instance"/g)?.length);
      }
    }
  });

  it("never shows a missing value as a number", () => {
    for (const panel of built.panels ?? []) {
      expect(JSON.stringify(panel)).toMatch(/"noValue":"[a-zA-Z/ ]+"/);
    }
  });

  it("is classic JSON that Grafana 11 to 13 loads, under an address of its own, linked to the other boards", () => {
    expect(built.uid).toBe(spec.uid);
    expect(built.schemaVersion).toBeGreaterThanOrEqual(39);
    expect(built.schemaVersion).toBeLessThanOrEqual(42);
    expect(built.links).toMatchObject([{ type: "dashboards", tags: ["ollama-gpu-exporter"], includeVars: true }]);
    expect(built.tags).toContain("ollama-gpu-exporter");
  });

  it("has a panel for everything that it is there to say", () => {
    const titles = spec.panels.map(({ title }) => title);
    expect((CONTENT[spec.uid] ?? ["no content listed"]).filter((title) => !titles.includes(title))).toEqual([]);
    expect(new Set(titles).size).toBe(titles.length);
  });

  it("has exactly the variables that its queries use, several values at a time and All as a pattern", () => {
    const list = built.templating.list ?? [];
    const used = spec.panels.flatMap(({ queries }) => queries.flatMap(({ expr }) => expr.match(VARIABLES) ?? []));
    expect(new Set(list.map(({ name }) => name))).toEqual(
      new Set(["datasource", ...used.map((variable) => variable.slice(1))]),
    );
    for (const { name, multi, includeAll, allValue, ...rest } of list) {
      if (!["datasource", "price"].includes(name))
        expect([name, multi, includeAll, allValue]).toEqual([name, true, true, ".+"]);
      if (name !== "price") expect(rest.current).toEqual({}); // a chosen one would be the author's
    }
  });

  it("leaves no colour to Grafana's own choice: a state timeline would go from green to red", () => {
    for (const { type, title, fieldConfig } of plain.panels)
      expect([title, fieldConfig.defaults.color.mode]).toEqual([
        title,
        type === "timeseries" ? "palette-classic" : "thresholds",
      ]);
  });

  it("is not coloured before a threshold", () => {
    for (const { title, fieldConfig } of plain.panels)
      if (title !== "Degrees to the slowdown")
        expect(["text", "semi-dark-blue"]).toContain(fieldConfig.defaults.thresholds.steps[0]?.color);
  });

  it("overlaps no panel with another", () => {
    const cells = (built.panels ?? []).flatMap((panel) => {
      const { x = 0, y = 0, w = 0, h = 0 } = ("gridPos" in panel ? panel.gridPos : undefined) ?? {};
      return Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`);
    });
    expect(new Set(cells).size).toBe(cells.length);
  });
});

describe("states in words", () => {
  it("are orange and red only where something is wrong", () => {
    const words = BOARDS.flatMap(({ panels }) => panels)
      .flatMap(({ words, columns = [] }) => [words, ...columns.map((column) => column.words)])
      .flatMap((own) => Object.values(own ?? {}));
    const alarming = words.flatMap((word) =>
      typeof word !== "string" && /^(orange|red)$/.test(word.color) ? [word.text] : [],
    );
    expect([...new Set(alarming)].sort()).toEqual([
      ...["critical", "down", "failed", "heat, by the driver", "heat, by the hardware", "lost", "power brake"],
      ...["slowed by the hardware", "warning", "yes"],
    ]);
  });
});

describe("selections of GPUs", () => {
  it("take a board in MIG mode by its instances, where a model would be put", () => {
    const { panels } = BOARDS.find(({ uid }) => uid === "ollama-gpu-capacity") ?? { panels: [] };
    const asking = panels.flatMap(({ queries }) =>
      queries.filter(({ expr }) => expr.includes("gpu_memory_free_bytes")),
    );
    expect(asking.length).toBeGreaterThan(3);
    for (const { expr } of asking)
      expect(expr).toMatch(/unless on \(job, instance, gpu\) gpu_mig_mode_enabled\{[^}]*\} == 1/);
  });

  it("take a model that did nothing as idle, one that worked as 0, one without utilisation not at all", () => {
    const idle = BOARDS.flatMap(({ panels }) => panels).find(({ title }) => title === "Loaded but idle");
    expect(idle?.queries[0]?.expr).toMatch(
      /\* on \(job, instance, server, model, gpu\) \(max_over_time\(.*\) < bool 0\.01\)/,
    );
  });
});

describe("the rules", () => {
  const alerts = alertGroups().flatMap((group) => group.alerts);

  it("are at least thirty alerts in three groups, each name once", () => {
    expect(alertGroups().map(({ name }) => name)).toEqual(["self", "gpu", "ollama"]);
    expect(alerts.length).toBeGreaterThanOrEqual(30);
    expect(new Set(alerts.map(({ name }) => name)).size).toBe(alerts.length);
  });

  it("ask only for families that exist", () => {
    for (const { expr, name } of [...alerts, ...RECORDING_RULES.map(({ record, expr }) => ({ name: record, expr }))]) {
      const { metrics, errors } = inspect(expr);
      expect([name, errors, metrics.filter((metric) => !KNOWN.has(metric))]).toEqual([name, 0, []]);
    }
  });

  it("join on job and instance", () => {
    for (const { expr, name } of alerts)
      for (const [, labels] of expr.matchAll(/\b(?:on|by) \(([^)]*)\)/g))
        if (name !== "OllamaVersionsMixed") expect([name, labels?.startsWith("job, instance")]).toEqual([name, true]);
  });

  it("have a runbook each, which the alert points to", () => {
    const pages = runbookFiles();
    const rules = Object.values(ruleFiles()).join("");
    for (const { name } of alerts) {
      expect(pages[`${name}.md`]).toContain("## Fix");
      expect(rules).toContain(`/docs/runbooks/${name}.md`);
    }
  });
});
