import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExporterProcess } from "../support/exporter-process.ts";
import { FakeMachine } from "../support/fake-machine.ts";
import { type ApiResult, keyOf, parseExposition, query as queryAt } from "../support/prometheus-series.ts";
import { eventually, freePort, Programs, tool } from "../support/real-tools.ts";

/** These move between two scrapes of their own accord. */
const MOVING =
  /^(process_|nodejs_|ollama_gpu_exporter_(snapshot_timestamp|collector_(duration|last_success)|collections_total|http_requests)|ollama_model_runner_(cpu|resident))/;

describe("a real Prometheus scraping the built exporter", () => {
  const folder = mkdtempSync(join(tmpdir(), "real-prometheus-"));
  const machine = new FakeMachine();
  const programs = new Programs();
  let exporter: ExporterProcess;
  let api = "";
  let expected = new Map<string, number>();
  const query = (expression: string): Promise<readonly ApiResult[]> => queryAt(api, expression);

  beforeAll(async () => {
    await machine.start();
    exporter = await machine.exporter(["--cache.duration=500ms"]);
    const config = join(folder, "prometheus.yml");
    writeFileSync(
      config,
      `global: {scrape_interval: 2s}\nscrape_configs: [{job_name: exporter, static_configs: [{targets: ['${exporter.address}']}]}]\n`,
    );
    const port = await freePort();
    api = `http://127.0.0.1:${port}/api/v1/`;
    programs.start("prometheus", [
      `--config.file=${config}`,
      `--storage.tsdb.path=${folder}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    // A minute of scrapes: 30 at 2 s, after Prometheus' own start-up delay.
    await eventually(
      async () => {
        const [scrapes] = await query("count_over_time(up[5m])");
        if (Number(scrapes?.value[1] ?? 0) < 30) throw new Error("not yet");
      },
      { withinMs: 110_000, what: "30 scrapes" },
    );
    expected = parseExposition(await exporter.scrape());
  }, 150_000);

  afterAll(async () => {
    await programs.close();
    await machine.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it("was up at every scrape", async () => {
    expect((await query("min_over_time(up[5m])")).map(({ value }) => value[1])).toEqual(["1"]);
  });

  it("holds every series of every family with the value that the exporter shows", async () => {
    const missing: string[] = [];
    const families = new Set([...expected.keys()].map((series) => /^[a-zA-Z0-9_]+/.exec(series)?.[0] ?? ""));
    expect(families.size).toBeGreaterThan(90);
    for (const family of families) {
      const stored = new Map((await query(family)).map(({ metric, value }) => [keyOf(metric), Number(value[1])]));
      for (const [series, value] of expected) {
        if (!series.startsWith(`${family}{`)) continue;
        const found = stored.get(series);
        if (found === undefined || (!MOVING.test(family) && found !== value))
          missing.push(`${series}: ${value}, stored ${found}`);
      }
    }
    expect(missing).toEqual([]);
  });

  it("shows the measured bytes of the split model, exact to the byte", async () => {
    const result = await query('ollama_model_vram_bytes{model="m:latest"}');
    expect(Object.fromEntries(result.map(({ metric, value }) => [metric.gpu, value[1]]))).toEqual({
      "0": "5000000001",
      "2": "4000000003",
    });
  });

  it("gives promtool nothing to find", async () => {
    const { status, stdout, stderr } = spawnSync(tool("promtool"), ["check", "metrics"], {
      input: await exporter.scrape(),
      encoding: "utf8",
    });
    const findings = `${stdout}${stderr}`
      .split("\n")
      .filter((line) => line !== "" && !ACCEPTED.some((known) => line.startsWith(known)));
    expect(findings).toEqual([]);
    expect([0, 3]).toContain(status);
  });

  it.each([
    ["text/plain", "prometheus_client.parser"],
    ["application/openmetrics-text; version=1.0.0", "prometheus_client.openmetrics.parser"],
  ])("is parsed as %s by the Python client", async (accept, parser) => {
    const body = await exporter.scrape({ Accept: accept });
    const script = `import sys\nfrom ${parser} import text_string_to_metric_families as parse\nprint(sum(len(f.samples) for f in parse(sys.stdin.read())))`;
    const count = execFileSync(tool("python-tools"), ["-c", script], { input: body, encoding: "utf8" });
    expect(Number(count)).toBe(body.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length);
  });
});

/** promtool findings that stay, with the reason. */
const ACCEPTED: readonly string[] = [];
