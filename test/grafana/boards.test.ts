import { describe, expect, it } from "@jest/globals";
import { parser } from "@prometheus-io/lezer-promql";
import { CATALOGUE } from "../../src/catalog/catalogue.ts";
import { BOARDS } from "../../grafana/generate.ts";
import { buildBoard } from "../../grafana/src/build.ts";
import { alertGroups, ruleFiles, runbookFiles } from "../../grafana/src/rules/files.ts";
import { RECORDING_RULES } from "../../grafana/src/rules/recording.ts";

/** Families that Prometheus or the Node runtime makes. */
const OTHERS = [
  "up",
  "ALERTS",
  "scrape_duration_seconds",
  "process_resident_memory_bytes",
  "process_cpu_seconds_total",
];
const KNOWN = new Set([...CATALOGUE, ...RECORDING_RULES.map(({ record: name }) => ({ name }))].map(({ name }) => name));
for (const name of OTHERS) KNOWN.add(name);
/** Ids of Grafana's units that are used here (packages/grafana-data/src/valueFormats/categories.ts). */
const UNITS = ["none", "bytes", "Bps", "percentunit", "watt", "joule", "celsius", "hertz", "s", "reqps"];

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

  it("overlaps no panel with another", () => {
    const cells = (built.panels ?? []).flatMap((panel) => {
      const { x = 0, y = 0, w = 0, h = 0 } = ("gridPos" in panel ? panel.gridPos : undefined) ?? {};
      return Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`);
    });
    expect(new Set(cells).size).toBe(cells.length);
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
