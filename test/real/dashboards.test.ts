/** Dashboards, rules and Alertmanager against the real programs, on the demo's metrics. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BOARDS } from "../../grafana/generate.ts";
import { alertGroups } from "../../grafana/src/rules/files.ts";
import { ExporterProcess } from "../support/exporter-process.ts";
import { type ApiResult, query as queryAt } from "../support/prometheus-series.ts";
import { eventually, freePort, Programs, ready, tool } from "../support/real-tools.ts";

const ROOT = join(import.meta.dirname, "../..");
const RULES = join(ROOT, "deploy/prometheus/rules");
const ALERTMANAGER = join(ROOT, "deploy/alertmanager/alertmanager.yml");

/** Panels without data on the demo, and why that is right. */
const EMPTY: Readonly<Record<string, string>> = {
  "OTLP pushes": "nothing is pushed here",
  "Alerts firing": "checked by name below",
};

function run(program: string, ...args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(tool(program), args, { cwd: ROOT, encoding: "utf8" });
  return { status, output: `${stdout}${stderr}` };
}

describe("static checks", () => {
  it("promtool accepts the rules", () => {
    const files = readdirSync(RULES).map((name) => join(RULES, name));
    const { status, output } = run("promtool", "check", "rules", "--lint=all", ...files);
    expect([status, output.match(/SUCCESS/g)?.length, output]).toEqual([0, 4, output]);
  });

  it("promtool sees every alert fire when it should, and not when it should not", () => {
    const { status, output } = run("promtool", "test", "rules", "deploy/prometheus/tests/alerts.test.yml");
    expect([status, output]).toEqual([0, expect.stringContaining("SUCCESS")]);
    const text = readFileSync(join(ROOT, "deploy/prometheus/tests/alerts.test.yml"), "utf8");
    const alerts = alertGroups().flatMap((group) => group.alerts);
    for (const { name } of alerts) {
      expect(text).toContain(`name: ${name} fires`);
      expect(text).toContain(`name: ${name} stays quiet`);
    }
  });

  it.each(BOARDS.map(({ uid }) => uid))("dashboard-linter finds nothing in %s", (uid) => {
    const { status, output } = run("dashboard-linter", "lint", "--strict", `grafana/dashboards/${uid}.json`);
    expect([status, output.split("\n").filter((line) => line.includes("❌"))]).toEqual([0, []]);
  });

  it("amtool accepts the configuration and routes by severity", () => {
    expect(run("amtool", "check-config", ALERTMANAGER).status).toBe(0);
    const route = (severity: string) =>
      run("amtool", "config", "routes", "test", `--config.file=${ALERTMANAGER}`, `severity=${severity}`).output.trim();
    expect([route("critical"), route("warning"), route("info")]).toEqual(["pager", "mail", "quiet"]);
  });
});

describe("a real Prometheus with the rules, scraping the demo", () => {
  const folder = mkdtempSync(join(tmpdir(), "real-dashboards-"));
  const programs = new Programs();
  const received: { readonly status: string; readonly name: string }[] = [];
  const webhook = createServer((request, response) => {
    let body = "";
    request.on("data", (data: Buffer) => (body += data.toString()));
    request.on("end", () => {
      const { alerts } = JSON.parse(body) as { alerts: { status: string; labels: Record<string, string> }[] };
      for (const { status, labels } of alerts) received.push({ status, name: labels.alertname ?? "" });
      response.end();
    });
  });
  let exporter: ExporterProcess;
  let api = "";
  let base = "";
  const query = (expression: string): Promise<readonly ApiResult[]> => queryAt(api, expression);

  beforeAll(async () => {
    webhook.listen(0, "127.0.0.1");
    await once(webhook, "listening");
    const hook = (webhook.address() as { port: number }).port;
    exporter = await ExporterProcess.start(["--demo", "--cache.duration=1s", "--processes=all"], {
      cli: join(ROOT, "dist/cli.js"),
    });
    const [port, alertPort, gonePort] = [await freePort(), await freePort(), await freePort()];
    base = `http://127.0.0.1:${port}`;
    api = `${base}/api/v1/`;
    // The project's own routes, with the example's address and patience replaced.
    const config = readFileSync(ALERTMANAGER, "utf8")
      .replace("http://127.0.0.1:9095/alerts", `http://127.0.0.1:${hook}/`)
      .replaceAll(/group_wait: \d+s/g, "group_wait: 1s")
      .replace("group_interval: 5m", "group_interval: 2s");
    writeFileSync(join(folder, "alertmanager.yml"), config);
    // The rules as shipped but for the waiting.
    for (const name of readdirSync(RULES))
      writeFileSync(
        join(folder, name),
        readFileSync(join(RULES, name), "utf8").replaceAll(/(for|interval): \d+[smh]/g, "$1: 1s"),
      );
    writeFileSync(
      join(folder, "prometheus.yml"),
      `global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [${readdirSync(RULES).join(", ")}]
alerting: {alertmanagers: [{static_configs: [{targets: ['127.0.0.1:${alertPort}']}]}]}
scrape_configs:
  - job_name: ollama-gpu
    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]
`,
    );
    targets(exporter.address, `127.0.0.1:${gonePort}`);
    programs.start("alertmanager", [
      `--config.file=${folder}/alertmanager.yml`,
      `--storage.path=${folder}/alertmanager`,
      `--web.listen-address=127.0.0.1:${alertPort}`,
      "--cluster.listen-address=",
    ]);
    programs.start("prometheus", [
      `--config.file=${folder}/prometheus.yml`,
      `--storage.tsdb.path=${folder}/prometheus`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    await ready(`${base}/-/ready`);
    await eventually(
      async () => {
        const [scrapes] = await query("max(count_over_time(gpu_up[5m]))");
        if (Number(scrapes?.value[1] ?? 0) < 25) throw new Error("not yet");
      },
      { withinMs: 60_000, what: "25 scrapes" },
    );
  }, 120_000);

  afterAll(async () => {
    await programs.close();
    await exporter.stop("SIGKILL");
    webhook.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function targets(...addresses: readonly string[]): void {
    writeFileSync(join(folder, "targets.json"), JSON.stringify([{ targets: addresses }]));
  }

  it("answers every query of every panel with data, or the reason is known", async () => {
    const unanswered: string[] = [];
    const answeredAlthoughListed: string[] = [];
    for (const { title: board, panels } of BOARDS) {
      for (const { title, queries } of panels) {
        const results = await Promise.all(
          queries.map(({ expr }) =>
            query(
              expr
                .replaceAll(/\$(job|instance|gpu|server|model)\b/g, ".+")
                .replaceAll("$__rate_interval", "20s")
                .replaceAll("$__range", "30s")
                .replaceAll("$price", "0.3"),
            ),
          ),
        );
        const isEmpty = results.every((result) => result.length === 0);
        if (isEmpty && !(title in EMPTY)) unanswered.push(`${board}: ${title}`);
        if (!isEmpty && title in EMPTY && title !== "Alerts firing") answeredAlthoughListed.push(title);
      }
    }
    expect(unanswered).toEqual([]);
    expect(answeredAlthoughListed).toEqual([]);
  });

  it("evaluates every rule without an error", async () => {
    const { data } = (await (await fetch(`${api}rules`)).json()) as {
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
      expect([name, (await query(name)).length > 0]).toEqual([name, true]);
  });

  it("fires for the target that is gone and for the demo's spilled model; the message arrives and is resolved", async () => {
    const firing = await eventually(async () => {
      const names = new Set((await query('ALERTS{alertstate="firing"}')).map(({ metric }) => metric.alertname));
      if (!names.has("OllamaGpuExporterDown") || !names.has("OllamaModelSpilled")) throw new Error([...names].join());
      return names;
    });
    expect(firing).not.toContain("OllamaDown");
    const arrived = (status: string) =>
      eventually(
        () =>
          received.some((alert) => alert.status === status && alert.name === "OllamaGpuExporterDown")
            ? Promise.resolve()
            : Promise.reject(new Error(JSON.stringify(received))),
        { withinMs: 60_000, what: status },
      );
    await arrived("firing");
    targets(exporter.address); // somebody takes the dead host out
    await arrived("resolved");
  }, 100_000);

  it("pint finds no rule that asks for what is not there", () => {
    const config = join(folder, "pint.hcl");
    writeFileSync(
      config,
      `parser {\n  include = [".*"]\n}\nprometheus "real" {\n  uri = "${base}"\n}\nchecks {\n  enabled = ["promql/syntax", "promql/vector_matching", "promql/impossible", "promql/rate", "promql/regexp", "promql/fragile", "alerts/template", "alerts/comparison", "rule/duplicate"]\n}\n`,
    );
    const { status, output } = run("pint", "--no-color", "--config", config, "lint", "--min-severity=warning", RULES);
    expect([status, output]).toEqual([0, output]);
  });
});
