import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { DummyProcesses } from "../support/dummy-runner.ts";
import { ExporterProcess } from "../support/exporter-process.ts";
import { FakeOllama } from "../support/fake-ollama.ts";
import { a100Mig, FakeDriver, h100, rtx4090 } from "../support/nvml/fake-nvml.ts";

const TOOLS = join(process.env.TOOLS_DIR ?? join(homedir(), ".cache/ollama-gpu-exporter-tools"), "bin");
const HEX = "ab".repeat(32);
/** These move between two scrapes of their own accord. */
const MOVING =
  /^(process_|nodejs_|ollama_gpu_exporter_(snapshot_timestamp|collector_(duration|last_success)|collections_total|http_requests)|ollama_model_runner_(cpu|resident))/;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (typeof address !== "object" || !address) throw new Error("no port");
  return address.port;
}

interface ApiResult {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

describe("a real Prometheus scraping the built exporter", () => {
  const folder = mkdtempSync(join(tmpdir(), "real-prometheus-"));
  const processes = new DummyProcesses();
  const ollama = new FakeOllama();
  let driver: FakeDriver;
  let exporter: ExporterProcess;
  let prometheus: ChildProcess;
  let api = "";
  let expected = new Map<string, number>();

  beforeAll(async () => {
    const server = await processes.startServer();
    const { pid } = await processes.startRunner({
      argv: [
        "/usr/local/lib/ollama/llama-server",
        "--model",
        `/m/blobs/sha256-${HEX}`,
        "--port",
        "1",
        "--host",
        "127.0.0.1",
        "--no-webui",
        "--offline",
      ],
      parent: server,
    });
    ollama.models = [
      { name: "m:latest", blob: HEX, loaded: { size: 9_000_000_000, sizeVram: 8_000_000_000 } },
      { name: 'odd "name"\\with\nlines', blob: "ef".repeat(32) },
    ];
    driver = new FakeDriver({
      driverVersion: "570.86.15",
      cudaVersion: 13000,
      gpus: [
        h100({ processes: [{ pid, kind: "compute", memory: 5_000_000_001 }] }),
        a100Mig(),
        rtx4090({ processes: [{ pid, kind: "compute", memory: 4_000_000_003 }] }),
      ],
    });
    exporter = await ExporterProcess.start(
      [`--gpu.nvml-library=${driver.library}`, `--ollama.host=${await ollama.listen()}`, "--cache.duration=500ms"],
      { env: { ...driver.env }, cli: join(import.meta.dirname, "../../dist/cli.js") },
    );
    const config = join(folder, "prometheus.yml");
    writeFileSync(
      config,
      `global: {scrape_interval: 2s}\nscrape_configs: [{job_name: exporter, static_configs: [{targets: ['${exporter.address}']}]}]\n`,
    );
    const port = await freePort();
    api = `http://127.0.0.1:${port}/api/v1/`;
    prometheus = spawn(
      join(TOOLS, "prometheus"),
      [`--config.file=${config}`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`],
      { stdio: "ignore" },
    );
    // A minute of scrapes: 30 at 2 s, after Prometheus' own start-up delay.
    const until = Date.now() + 110_000;
    for (let scrapes = 0; scrapes < 30;) {
      if (Date.now() > until) throw new Error("Prometheus did not scrape for a minute");
      await delay(500);
      scrapes = Number((await query("count_over_time(up[5m])").catch(() => []))[0]?.value[1] ?? 0);
    }
    expected = parse(await exporter.scrape());
  }, 150_000);

  afterAll(async () => {
    prometheus.kill("SIGTERM");
    await once(prometheus, "exit");
    await exporter.stop();
    await processes.close();
    await ollama.close();
    driver[Symbol.dispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  async function query(expression: string): Promise<readonly ApiResult[]> {
    const answer = await fetch(`${api}query?query=${encodeURIComponent(expression)}`);
    const { data } = (await answer.json()) as { data: { result: ApiResult[] } };
    return data.result;
  }

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
    const { status, stdout, stderr } = spawnSync(join(TOOLS, "promtool"), ["check", "metrics"], {
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
    const count = execFileSync(join(TOOLS, "python-tools"), ["-c", script], { input: body, encoding: "utf8" });
    expect(Number(count)).toBe(body.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length);
  });
});

/** promtool findings that stay, with the reason. */
const ACCEPTED: readonly string[] = [];

function keyOf(metric: Readonly<Record<string, string>>): string {
  const labels = Object.entries(metric)
    .filter(([name]) => !["__name__", "job", "instance"].includes(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `${metric.__name__ ?? ""}{${labels.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(",")}}`;
}

/** Series of a text exposition by the key above. */
function parse(text: string): Map<string, number> {
  const series = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = /^([a-zA-Z_0-9]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) continue;
    // An empty label is no label to Prometheus.
    const pairs = [...labels.matchAll(/([a-z_0-9]+)="((?:[^"\\]|\\.)*)"/g)].map(
      ([, key = "", raw = ""]) => [key, unescape(raw)] as const,
    );
    // Prometheus writes the bounds of a histogram that it scraped as OpenMetrics as floats.
    const metric = Object.fromEntries(
      pairs
        .filter(([, own]) => own !== "")
        .map(([key, own]) => [key, key === "le" && /^\d+$/.test(own) ? `${own}.0` : own]),
    );
    series.set(keyOf({ __name__: name, ...metric }), value === "+Inf" ? Infinity : Number(value));
  }
  return series;
}

const unescape = (raw: string): string =>
  raw.replace(/\\(.)/g, (_, letter: string) => (letter === "n" ? "\n" : letter));
