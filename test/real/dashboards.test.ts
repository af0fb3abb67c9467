/** Dashboards and rules on the demo's metrics, its past week and an ailing host, asked of a real Prometheus. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { parser } from "@prometheus-io/lezer-promql";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BOARDS } from "../../grafana/generate.ts";
import { alertGroups } from "../../grafana/src/rules/files.ts";
import { RECORDING_RULES } from "../../grafana/src/rules/recording.ts";
import { AilingHost } from "../support/ailing-host.ts";
import { recordHistory, writeDemoHistory } from "../support/demo-history.ts";
import { ExporterProcess } from "../support/exporter-process.ts";
import { LivePrometheus, RULES } from "../support/live-prometheus.ts";
import { eventually, Programs, tool } from "../support/real-tools.ts";
import { ROOT, run, text } from "../support/tool-run.ts";

/** Queries without data, by board, panel and query, and why that is right. */
const EMPTY: Readonly<Record<string, string>> = {
  "Ollama GPU / Models: Busy slots: B": "nobody waits for a slot in the demo",
};
/** `instance` of the week that was written, not scraped. */
const PAST = "past:9434";

it.each(BOARDS.map(({ uid }) => uid))("dashboard-linter finds nothing in %s", (uid) => {
  const { status, output } = run(tool("dashboard-linter"), ["lint", "--strict", `grafana/dashboards/${uid}.json`]);
  expect([status, output.split("\n").filter((line) => line.includes("❌"))]).toEqual([0, []]);
});

describe("the Foundation SDK's schema", () => {
  /** Shipped empty on purpose: a value would be one of somebody's own data sources or hosts. */
  const UNSET = /^templating\.list\[\d+\]\.current\.(text|value): required field is missing from input$/;
  const complaints = (path: string): readonly string[] =>
    run(tool("dashboard-schema"), [path])
      .output.split("\n")
      .filter((line) => line !== "" && !UNSET.test(line));

  it.each(BOARDS.map(({ uid }) => uid))("has nothing against %s", (uid) => {
    expect(complaints(`grafana/dashboards/${uid}.json`)).toEqual([]);
  });

  it("would refuse a field that it does not know, and a value of the wrong type", () => {
    const board = text("grafana/dashboards/ollama-gpu-fleet.json");
    const folder = mkdtempSync(join(tmpdir(), "board-"));
    const wrong = join(folder, "wrong.json");
    writeFileSync(wrong, board.replace('"graphMode"', '"grahpMode"').replace('"h": 4', '"h": "4"'));
    const found = complaints(wrong).join("\n");
    rmSync(folder, { recursive: true });
    expect(found).toMatch(/grahpMode/);
    expect(found).toMatch(/gridPos\.h/);
  });
});

/** Every selector of an expression with what belongs to it: its range and its offset. */
function selectorsOf(expr: string): readonly string[] {
  const found: string[] = [];
  parser.parse(expr).iterate({
    enter: ({ type, node, from, to }) => {
      if (type.name !== "VectorSelector") return;
      let end = to;
      let range = "";
      for (let outer = node.parent; outer; outer = outer.parent) {
        if (outer.from !== from || !["MatrixSelector", "OffsetExpr"].includes(outer.type.name)) break;
        if (outer.type.name === "MatrixSelector") range = "count_over_time";
        end = outer.to;
      }
      found.push(`${range}(${expr.slice(from, end)})`);
    },
  });
  return found;
}

/** Families that a rule looks back at for more than the minutes of a test. */
function familiesWithPast(): ReadonlySet<string> {
  const past = alertGroups()
    .flatMap(({ alerts }) => alerts)
    .filter(({ expr }) => /\d[hd]/.test(expr))
    .flatMap(({ expr }) => selectorsOf(expr));
  const recorded = RECORDING_RULES.filter(({ record }) => past.some((selector) => selector.includes(record)));
  const names = [...past, ...recorded.flatMap(({ expr }) => selectorsOf(expr))];
  return new Set(names.map((selector) => /\(([a-z_:0-9]+)/.exec(selector)?.[1] ?? ""));
}

describe("a real Prometheus with the rules, scraping the demo and an ailing host, with a week behind it", () => {
  const folder = mkdtempSync(join(tmpdir(), "real-dashboards-"));
  const programs = new Programs();
  const ailing = new AilingHost();
  let demo: ExporterProcess;
  let prometheus: LivePrometheus;

  beforeAll(async () => {
    const data = join(folder, "prometheus");
    const untilMs = Math.floor(Date.now() / 1000) * 1000;
    await writeDemoHistory({ data, instance: PAST, families: familiesWithPast(), untilMs });
    const recording = new Programs();
    const { url } = await LivePrometheus.start({ programs: recording, folder });
    recordHistory({ url, data, rules: join(RULES, "recording.yml"), untilMs });
    await recording.close();
    await ailing.start();
    await ailing.crowd();
    demo = await ExporterProcess.start(["--demo", "--cache.duration=1s", "--processes=all"], {
      cli: join(ROOT, "dist/cli.js"),
    });
    prometheus = await LivePrometheus.start({ programs, folder });
    prometheus.scrape(demo.address, ailing.address);
    await eventually(
      async () => {
        const [scrapes] = await prometheus.query("min(count_over_time(gpu_up[5m]))");
        if (Number(scrapes?.value[1] ?? 0) < 15) throw new Error("not yet");
      },
      { withinMs: 90_000, what: "15 scrapes" },
    );
    ailing.driver.addXid(0, 31); // one more than at the first scrape
    await eventually(
      async () => {
        const events = await prometheus.query('increase(gpu_xid_errors_total{xid="31"}[20s]) > 0');
        if (events.length === 0) throw new Error("not yet");
      },
      { withinMs: 30_000, what: "an XID event" },
    );
  }, 300_000);

  afterAll(async () => {
    await programs.close();
    await demo.stop("SIGKILL");
    await ailing.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("answers every query of every panel with data, or the reason is known", async () => {
    const unanswered: string[] = [];
    for (const { title: board, panels } of BOARDS)
      for (const { title, queries } of panels)
        for (const [index, { expr }] of queries.entries()) {
          const filled = expr
            .replaceAll(/\$(job|instance|gpu|server|model)\b/g, ".+")
            .replaceAll("$__rate_interval", "20s")
            .replaceAll("$__range", "30s")
            .replaceAll("$price", "0.3");
          const results = await prometheus.query(filled);
          if (results.length === 0) unanswered.push(`${board}: ${title}: ${String.fromCharCode(65 + index)}`);
        }
    expect(unanswered).toEqual(Object.keys(EMPTY));
  });

  it("evaluates every rule without an error, and has recorded every recorded series", async () => {
    const { data } = (await (await fetch(`${prometheus.api}rules`)).json()) as {
      data: { groups: { name: string; rules: { name: string; health: string; lastError?: string }[] }[] };
    };
    expect(data.groups.map(({ name }) => name).sort()).toEqual([
      "ollama-gpu-exporter.gpu",
      "ollama-gpu-exporter.ollama",
      "ollama-gpu-exporter.rules",
      "ollama-gpu-exporter.self",
    ]);
    const rules = data.groups.flatMap((group) => group.rules);
    expect(rules.filter(({ health }) => health !== "ok")).toEqual([]);
    for (const { name } of rules.filter((rule) => rule.name.includes(":")))
      expect([name, (await prometheus.query(name)).length > 0]).toEqual([name, true]);
  });

  it("has data for every selector of every rule, as far back as it looks", async () => {
    const rows = [
      ...RECORDING_RULES.map(({ record: name, expr }) => ({ name, expr })),
      ...alertGroups().flatMap(({ alerts }) => alerts),
    ];
    const unanswered: string[] = [];
    for (const { name, expr } of rows)
      for (const selector of selectorsOf(expr))
        if ((await prometheus.query(selector)).length === 0) unanswered.push(`${name}: ${selector}`);
    expect(unanswered).toEqual([]);
    const [week] = await prometheus.query(
      `count_over_time(job_instance_server_model:ollama_model_joules_per_token:rate15m{instance="${PAST}"}[7d])`,
    );
    expect(Number(week?.value[1])).toBeGreaterThan(5000);
  });

  it("fires for what is wrong on these hosts, and not for what is well", async () => {
    const firing = await prometheus.firing();
    expect(firing).toEqual(
      expect.arrayContaining([
        "GpuEccUncorrected",
        "GpuXidApplication",
        "GpuXidCritical",
        "OllamaGpuPushFailing",
        "OllamaModelNotAttributed",
        "OllamaModelSpilled",
        "OllamaRunnerGone",
      ]),
    );
    for (const well of ["GpuLost", "GpuVanished", "OllamaDown", "OllamaGpuExporterDown", "OllamaGpuSnapshotStale"])
      expect(firing).not.toContain(well);
  });

  it("pint finds no rule that asks for what is not there, and would", async () => {
    const config = join(folder, "pint.hcl");
    writeFileSync(config, pintConfig(prometheus.url));
    const wrong = join(folder, "wrong");
    mkdirSync(wrong);
    const alert = "groups: [{name: g, rules: [{alert: A, expr: 'gpu_mood == 1'}]}]\n";
    writeFileSync(join(wrong, "rules.yml"), alert);
    const pint = (rules: string) => {
      const options = ["--no-color", "--config", config, "lint", "--min-severity=warning", "--fail-on=warning"];
      return run(tool("pint"), [...options, rules]);
    };
    expect(pint(wrong)).toMatchObject({ status: 1, output: expect.stringContaining("promql/series") as unknown });
    // A scrape that is late on a busy machine leaves a gap of its target's series for a moment.
    await eventually(
      () => {
        const { status, output } = pint(RULES);
        return status === 0 ? Promise.resolve() : Promise.reject(new Error(output));
      },
      { withinMs: 30_000, what: "pint" },
    );
  });
});

/**
 * Everything that a rule can be asked against a server. Its taste in regular expressions is not ours: `gpu!~".+:.+"`
 * leaves MIG instances out, and the jobs' pattern is a setting.
 */
function pintConfig(uri: string): string {
  const checks = [
    "alerts/comparison",
    "alerts/template",
    "promql/fragile",
    "promql/impossible",
    "promql/rate",
    "promql/regexp",
    "promql/series",
    "promql/syntax",
    "promql/vector_matching",
    "rule/duplicate",
  ];
  return `parser {
  include = [".*"]
}
prometheus "real" {
  uri = "${uri}"
}
check "promql/regexp" {
  smelly = false
}
checks {
  enabled = ${JSON.stringify(checks)}
}
`;
}
