/** The built exporter pushing to real receivers: what they hold is what /metrics shows. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CATALOGUE } from "../../src/catalog/catalogue.ts";
import { otelName, UNITS } from "../../src/catalog/spec.ts";
import { makeCertificate } from "../support/certificates.ts";
import { type ExporterProcess, samplesOf } from "../support/exporter-process.ts";
import { FakeMachine } from "../support/fake-machine.ts";
import type { JsonMetric } from "../support/fake-otlp.ts";
import { keyOf, parseExposition, query } from "../support/prometheus-series.ts";
import { eventually, freePort, Programs, ready } from "../support/real-tools.ts";

const COLLECTOR_CONFIG = join(import.meta.dirname, "../../deploy/otel/collector.yaml");
/** Of the exporter's own process, or first known after the first push; then what is counted between a scrape and a push; everything else stands still with the snapshot. */
const NOT_PUSHED = /^(process_|nodejs_|ollama_gpu_exporter_otlp_last_success)/;
const MOVING = /^ollama_gpu_exporter_(http_requests|otlp_)/;
const TOKEN = "a-secret-token";
/** How long the collector is gone. */
const OUTAGE_MS = 120_000;

describe("pushing to real receivers", () => {
  const folder = mkdtempSync(join(tmpdir(), "real-otlp-"));
  const machine = new FakeMachine();
  const programs = new Programs();

  beforeAll(() => machine.start());
  afterAll(async () => {
    await programs.close();
    await machine.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Every push shows one snapshot, so that all values but the exporter's own counters can be compared exactly. */
  const pushing = (
    endpoint: string,
    env: NodeJS.ProcessEnv = {},
    more: readonly string[] = [],
  ): Promise<ExporterProcess> =>
    machine.exporter(["--cache.duration=1h", "--otlp.interval=1s", `--otlp.endpoint=${endpoint}`, ...more], env);

  async function differences(
    text: string,
    api: string,
    added: readonly string[],
  ): Promise<{ readonly families: number; readonly wrong: readonly string[] }> {
    const expected = parseExposition(text);
    const families = new Set(
      [...expected.keys()]
        .map((series) => series.slice(0, series.indexOf("{")))
        .filter((name) => !NOT_PUSHED.test(name)),
    );
    const wrong: string[] = [];
    for (const family of families) {
      const stored = new Map(
        (await query(api, family)).map(({ metric, value }) => [keyOf(metric, added), Number(value[1])]),
      );
      for (const [series, value] of expected) {
        if (!series.startsWith(`${family}{`)) continue;
        const found = stored.get(series);
        if (found === undefined || (!MOVING.test(family) && !isSame(found, value)))
          wrong.push(`${series}: ${value}, stored ${found}`);
        stored.delete(series);
      }
      if (!MOVING.test(family)) for (const series of stored.keys()) wrong.push(`${series} is not on /metrics`);
    }
    return { families: families.size, wrong };
  }

  it("fills Prometheus' OTLP receiver with every family under its pull name, labels and value", async () => {
    const port = await freePort();
    const config = join(folder, "prometheus.yml");
    writeFileSync(config, "global: {scrape_interval: 1h}\n");
    programs.start("prometheus", [
      `--config.file=${config}`,
      `--storage.tsdb.path=${folder}/prometheus`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--web.enable-otlp-receiver",
    ]);
    await ready(`http://127.0.0.1:${port}/-/ready`);
    const exporter = await pushing(`http://127.0.0.1:${port}/api/v1/otlp/v1/metrics`);
    const api = `http://127.0.0.1:${port}/api/v1/`;
    const text = await eventually(async () => {
      if ((await query(api, "gpu_up")).length === 0) throw new Error("nothing has arrived");
      return exporter.scrape();
    });
    const { families, wrong } = await differences(text, api, ["job", "instance"]);
    expect(wrong).toEqual([]);
    expect(families).toBeGreaterThan(80);
    const bytes = await query(api, 'ollama_model_vram_bytes{model="m:latest",job="ollama-gpu-exporter"}');
    expect(Object.fromEntries(bytes.map(({ metric, value }) => [metric.gpu, Number(value[1])]))).toEqual(
      FakeMachine.splitBytes,
    );
    await exporter.stop();
  });

  it("fills VictoriaMetrics likewise", async () => {
    const port = await freePort();
    programs.start("victoria-metrics", [
      `-storageDataPath=${folder}/victoria`,
      `-httpListenAddr=127.0.0.1:${port}`,
      "-opentelemetry.usePrometheusNaming",
      "-search.latencyOffset=0s",
    ]);
    await ready(`http://127.0.0.1:${port}/health`);
    const exporter = await pushing(`http://127.0.0.1:${port}/opentelemetry/v1/metrics`);
    const api = `http://127.0.0.1:${port}/api/v1/`;
    const added = ["service_name", "service_version", "service_instance_id", "host_name", "os_type"];
    const families = await eventually(async () => {
      // A flush in the middle of a push shows a part of it.
      await fetch(`http://127.0.0.1:${port}/internal/force_flush`);
      const found = await differences(await exporter.scrape(), api, [...added, "scope_name", "scope_version"]);
      if (found.wrong.length > 0) throw new Error(found.wrong.join("\n"));
      return found.families;
    });
    expect(families).toBeGreaterThan(80);
    await exporter.stop();
  });

  interface Collector {
    readonly http: string;
    readonly grpc: string;
    readonly output: string;
    /** Starts it; a killed one leaves a broken line, so its follower may write elsewhere. */
    readonly start: (output?: string) => ReturnType<Programs["start"]>;
  }

  /** A collector with the recipe of deploy/otel, whose ports and output are variables. */
  async function collector(name: string, config = COLLECTOR_CONFIG): Promise<Collector> {
    const [http, grpc, own] = [await freePort(), await freePort(), await freePort()];
    const output = join(folder, `${name}.jsonl`);
    const settings = (file: string): Readonly<Record<string, string>> => ({
      "receivers::otlp::protocols::http::endpoint": `127.0.0.1:${http}`,
      "receivers::otlp::protocols::grpc::endpoint": `127.0.0.1:${grpc}`,
      "exporters::prometheus::endpoint": `127.0.0.1:${own}`,
      "exporters::file": `{path: ${file}, flush_interval: 100ms}`,
      "service::pipelines::metrics::exporters": "[prometheus, file]",
      "service::telemetry::metrics::level": "none",
    });
    const sets = (file: string) =>
      Object.entries(settings(file)).map(([key, value]) => `--set=${key.replaceAll("::", ".")}=${value}`);
    return {
      http: `127.0.0.1:${http}`,
      grpc: `127.0.0.1:${grpc}`,
      output,
      start: (file = output) => programs.start("otelcol", [`--config=${config}`, ...sets(file)]),
    };
  }

  /** Metrics of every push that the collector has written down. */
  function received(output: string): readonly (readonly JsonMetric[])[] {
    if (!existsSync(output)) return [];
    const lines = readFileSync(output, "utf8")
      .split("\n")
      .filter((line) => line !== "");
    return lines.map((line) => {
      const { resourceMetrics } = JSON.parse(line) as {
        resourceMetrics: { scopeMetrics: { metrics: JsonMetric[] }[] }[];
      };
      return resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
    });
  }

  async function firstPush(output: string): Promise<readonly JsonMetric[]> {
    return eventually(() => {
      const [first] = received(output);
      return first ? Promise.resolve(first) : Promise.reject(new Error("nothing has arrived"));
    });
  }

  it.each(["http/protobuf", "http/json", "grpc"])(
    "fills a collector over %s, with name, unit, kind and value",
    async (protocol) => {
      const target = await collector(protocol.replace("/", "-"));
      const child = target.start();
      const exporter = await pushing(`http://${protocol === "grpc" ? target.grpc : target.http}`, {}, [
        `--otlp.protocol=${protocol}`,
      ]);
      const metrics = await firstPush(target.output);
      const text = await exporter.scrape();
      await exporter.stop();
      await programs.end(child);
      const byName = new Map(metrics.map((metric) => [metric.name, metric]));
      const wrong: string[] = [];
      for (const row of CATALOGUE.filter(({ name }) => !MOVING.test(name) && !NOT_PUSHED.test(name))) {
        const expected = Object.values(samplesOf(text, row.name)).sort();
        const metric = byName.get(otelName(row));
        const kind = row.type === "counter" ? metric?.sum : metric?.gauge;
        const values = (kind?.dataPoints ?? []).map(({ asDouble }) => Number(asDouble ?? 0)).sort();
        if (JSON.stringify(values) !== JSON.stringify(expected))
          wrong.push(`${row.name}: ${values.join()} for ${expected.join()}`);
        if (metric && (metric.unit ?? "") !== UNITS[row.unit].ucum) wrong.push(`${row.name}: unit ${metric.unit}`);
        if (metric?.sum && !metric.sum.isMonotonic) wrong.push(`${row.name}: not monotonic`);
      }
      expect(wrong).toEqual([]);
      expect(metrics.length).toBeGreaterThan(80);
    },
  );

  it("fills a collector that asks for a token, over TLS with a private CA and a client certificate", async () => {
    const ca = makeCertificate("test CA", { isCa: true });
    writeFileSync(join(folder, "ca.pem"), ca.cert);
    for (const name of ["server", "client"]) {
      const { cert, key } = makeCertificate(name, { issuer: ca, ip: ["127.0.0.1"] });
      writeFileSync(join(folder, `${name}.pem`), cert);
      writeFileSync(join(folder, `${name}.key`), key);
    }
    const port = await freePort();
    const output = join(folder, "tls.jsonl");
    const config = join(folder, "tls.yaml");
    const tls = `{cert_file: ${folder}/server.pem, key_file: ${folder}/server.key, client_ca_file: ${folder}/ca.pem}`;
    writeFileSync(
      config,
      `extensions: {bearertokenauth: {token: ${TOKEN}}}
receivers: {otlp: {protocols: {http: {endpoint: '127.0.0.1:${port}', tls: ${tls}, auth: {authenticator: bearertokenauth}}}}}
exporters: {file: {path: ${output}, flush_interval: 100ms}}
service:
  extensions: [bearertokenauth]
  telemetry: {metrics: {level: none}}
  pipelines: {metrics: {receivers: [otlp], exporters: [file]}}
`,
    );
    const child = programs.start("otelcol", [`--config=${config}`]);
    const certificates = {
      OTEL_EXPORTER_OTLP_CERTIFICATE: join(folder, "ca.pem"),
      OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: join(folder, "client.pem"),
      OTEL_EXPORTER_OTLP_CLIENT_KEY: join(folder, "client.key"),
    };
    const headers = { OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${TOKEN}` };
    const url = `https://127.0.0.1:${port}`;
    const accepted = await pushing(url, { ...certificates, ...headers });
    expect((await firstPush(output)).map(({ name }) => name)).toContain("ollama.model.vram");
    await accepted.stop();
    const refusals: readonly (readonly [NodeJS.ProcessEnv, RegExp])[] = [
      [certificates, /status 401/],
      [{ ...certificates, OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20wrong-${TOKEN}` }, /status 401/],
      [
        { ...headers, OTEL_EXPORTER_OTLP_CERTIFICATE: certificates.OTEL_EXPORTER_OTLP_CERTIFICATE },
        /certificate required|ECONNRESET|EPIPE|socket hang up/,
      ],
      [headers, /self.signed|unable to/],
    ];
    for (const [env, reason] of refusals) {
      const refused = await pushing(url, env);
      const line = await eventually(() => {
        const found = refused.stderr.find((text) => text.includes("OTLP push failed"));
        return found === undefined ? Promise.reject(new Error("no failure yet")) : Promise.resolve(found);
      });
      expect(line).toMatch(reason);
      expect(refused.stderr.join("\n")).not.toContain(TOKEN);
      await refused.stop();
    }
    await programs.end(child);
  });

  it("goes on after the collector was dead for two minutes: values continue, nothing twice, the end takes 3 s", async () => {
    const target = await collector("outage");
    const child = target.start();
    const exporter = await machine.exporter([
      "--cache.duration=0",
      "--otlp.interval=1s",
      `--otlp.endpoint=http://${target.http}`,
    ]);
    await firstPush(target.output);
    await programs.end(child, "SIGKILL");
    const whole = readFileSync(target.output, "utf8");
    writeFileSync(target.output, whole.slice(0, whole.lastIndexOf("\n") + 1));
    await delay(OUTAGE_MS);
    const output = join(folder, "after.jsonl");
    const again = target.start(output);
    const after = await eventually(() => {
      const all = received(output);
      return all.length >= 3 ? Promise.resolve(all) : Promise.reject(new Error("too few pushes"));
    });
    const pushes = [...received(target.output), ...after];
    // The first push of the new collector tells when the last one of the old was accepted.
    const [told] =
      after[0]?.find(({ name }) => name === "ollama.gpu.exporter.otlp.last.success.timestamp")?.gauge?.dataPoints ?? [];
    expect(Date.now() / 1000 - Number(told?.asDouble)).toBeGreaterThan(OUTAGE_MS / 1000);
    const failures = samplesOf(await exporter.scrape(), "ollama_gpu_exporter_otlp_exports_total")['{result="failed"}'];
    expect(failures).toBeGreaterThan(20);
    const points = pushes.flatMap((metrics) => {
      const energy = metrics.find(({ name }) => name === "ollama.gpu.exporter.collections");
      return (energy?.sum?.dataPoints ?? []).map((point) => ({ ...point, series: JSON.stringify(point.attributes) }));
    });
    for (const series of Map.groupBy(points, (point) => point.series).values()) {
      const times = series.map(({ timeUnixNano }) => Number(timeUnixNano));
      expect(new Set(times).size).toBe(times.length);
      expect([...times].sort((a, b) => a - b)).toEqual(times);
      expect(new Set(series.map(({ startTimeUnixNano }) => startTimeUnixNano)).size).toBe(1);
      const values = series.map(({ asDouble }) => Number(asDouble ?? 0));
      expect([...values].sort((a, b) => a - b)).toEqual(values);
    }
    await programs.end(again, "SIGKILL");
    const { code, ms } = await exporter.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(3_000);
  }, 200_000);
});

/** VictoriaMetrics keeps 12 digits of what is no whole number. */
const isSame = (a: number, b: number): boolean => a === b || (!Number.isInteger(b) && Math.abs(a / b - 1) < 1e-11);
