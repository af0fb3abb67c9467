import { describe, expect, it } from "@jest/globals";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import type { OtlpConfig } from "../../src/config/options.ts";
import { ConfigError } from "../../src/errors.ts";

type Environment = Readonly<Record<string, string>>;
const otlpOf = (argv: readonly string[], env: Environment = {}): OtlpConfig => loadConfig({ argv, env }).config.otlp;

function problemsOf(argv: readonly string[], env: Environment = {}): readonly string[] {
  try {
    loadConfig({ argv, env });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT";
const METRICS_ENDPOINT = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
const FLAG = "--otlp.endpoint=http://c:4318";

describe("where metrics are pushed", () => {
  it("is nowhere by default", () => {
    expect(otlpOf([])).toEqual({ naming: "native", resourceAttributes: {} });
  });

  const CASES: readonly (readonly [what: string, argv: readonly string[], env: Environment, url: string])[] = [
    ["a flag without path", [FLAG], {}, "http://c:4318/v1/metrics"],
    ["a flag with the whole path", ["--otlp.endpoint=http://c/x/v1/metrics"], {}, "http://c/x/v1/metrics"],
    ["a flag with a base path", ["--otlp.endpoint=https://c/otlp/"], {}, "https://c/otlp/v1/metrics"],
    ["the general variable, as a base", [], { [ENDPOINT]: "http://c:4318" }, "http://c:4318/v1/metrics"],
    ["a base that looks whole", [], { [ENDPOINT]: "http://c/v1/metrics" }, "http://c/v1/metrics/v1/metrics"],
    ["the metrics variable, as it is", [], { [METRICS_ENDPOINT]: "http://c/push" }, "http://c/push"],
    ["the metrics variable first", [], { [ENDPOINT]: "http://a", [METRICS_ENDPOINT]: "http://b/" }, "http://b/"],
    [
      "our variable before the standard's",
      [],
      { [ENDPOINT]: "http://a", OLLAMA_GPU_EXPORTER_OTLP_ENDPOINT: "http://b" },
      "http://b/v1/metrics",
    ],
    ["the flag before all", [FLAG], { [METRICS_ENDPOINT]: "http://b" }, "http://c:4318/v1/metrics"],
    ["gRPC's address as it is", ["--otlp.endpoint=http://c:4317", "--otlp.protocol=grpc"], {}, "http://c:4317/"],
  ];
  it.each(CASES)("is %s", (_what, argv, env, url) => {
    expect(otlpOf(argv, env).push?.url).toBe(url);
  });

  it.each([{ OTEL_SDK_DISABLED: "true" }, { OTEL_METRICS_EXPORTER: "none" }, { OTEL_METRICS_EXPORTER: "prometheus" }])(
    "is nowhere with %j",
    (env: Environment) => {
      expect(otlpOf([FLAG], env).push).toBeUndefined();
    },
  );

  it("stays with an exporter list that has otlp in it", () => {
    expect(otlpOf([FLAG], { OTEL_METRICS_EXPORTER: "console, otlp" }).push).toBeDefined();
  });
});

describe("how metrics are pushed", () => {
  it("has the specification's defaults, but gzip", () => {
    expect(otlpOf([FLAG]).push).toEqual({
      url: "http://c:4318/v1/metrics",
      protocol: "http/protobuf",
      intervalMs: 60_000,
      timeoutMs: 10_000,
      headers: {},
      compression: "gzip",
      tls: {},
    });
  });

  it("follows the standard variables, the one for metrics before the general one", () => {
    const env = {
      [ENDPOINT]: "http://c",
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
      OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_COMPRESSION: "none",
      OTEL_EXPORTER_OTLP_TIMEOUT: "4000",
      OTEL_METRIC_EXPORT_INTERVAL: "5000",
      OTEL_METRIC_EXPORT_TIMEOUT: "3000",
      OTEL_EXPORTER_OTLP_HEADERS: "a=1,b=x%20y=z",
      OTEL_EXPORTER_OTLP_METRICS_HEADERS: " a = 2 ",
      OTEL_RESOURCE_ATTRIBUTES: "service.name=n,team=gpu%2Fops",
      OTEL_SERVICE_NAME: "mine",
    };
    expect(otlpOf([], env)).toEqual({
      naming: "native",
      resourceAttributes: { "service.name": "mine", team: "gpu/ops" },
      push: {
        url: "http://c/v1/metrics",
        protocol: "http/json",
        intervalMs: 5_000,
        timeoutMs: 3_000,
        headers: { a: "2", b: "x y=z" },
        compression: "none",
        tls: {},
      },
    });
  });

  it("cuts the default timeout to the interval, and refuses one that was set longer", () => {
    expect(otlpOf([FLAG, "--otlp.interval=2s"]).push?.timeoutMs).toBe(2_000);
    expect(problemsOf([FLAG, "--otlp.interval=2s"], { OTEL_EXPORTER_OTLP_TIMEOUT: "2001" })).toEqual([
      "OTEL_EXPORTER_OTLP_TIMEOUT: a timeout of 2001 ms does not fit into the interval of 2000 ms; lower it or raise --otlp.interval",
    ]);
  });

  it("reads certificates and key, and says which it cannot read", () => {
    const folder = mkdtempSync(join(tmpdir(), "otlp-"));
    const ca = join(folder, "ca.pem");
    writeFileSync(ca, "PEM");
    expect(otlpOf([FLAG], { OTEL_EXPORTER_OTLP_CERTIFICATE: ca }).push?.tls).toEqual({ ca: Buffer.from("PEM") });
    rmSync(folder, { recursive: true });
    expect(problemsOf([FLAG], { OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY: ca })).toEqual([
      expect.stringContaining(`OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY: cannot read ${ca}`),
    ]);
  });

  const BAD: readonly (readonly [Environment, string])[] = [
    [{ [ENDPOINT]: "collector:4318" }, `${ENDPOINT}: expected a URL like http://127.0.0.1:4318 or https://host/path`],
    [
      { OTEL_EXPORTER_OTLP_PROTOCOL: "udp" },
      'OTEL_EXPORTER_OTLP_PROTOCOL: otlp.protocol: expected http/protobuf, http/json or grpc, got "udp"',
    ],
    [{ OTEL_METRIC_EXPORT_INTERVAL: "soon" }, "OTEL_METRIC_EXPORT_INTERVAL: otlp.interval:"],
    [{ OTEL_METRIC_EXPORT_TIMEOUT: "0" }, 'OTEL_METRIC_EXPORT_TIMEOUT: expected milliseconds above 0, got "0"'],
    [{ OTEL_EXPORTER_OTLP_COMPRESSION: "zstd" }, 'OTEL_EXPORTER_OTLP_COMPRESSION: expected gzip or none, got "zstd"'],
    [
      { OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "delta" },
      'OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: expected cumulative, got "delta"',
    ],
    [{ OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "lowmemory" }, "cumulativetodelta"],
    [{ OTEL_RESOURCE_ATTRIBUTES: "a=1,b" }, "OTEL_RESOURCE_ATTRIBUTES: entry 2: expected key=value, percent-encoded"],
  ];
  it.each(BAD)("refuses %j in words", (env, problem) => {
    const problems = problemsOf(Object.keys(env).includes(ENDPOINT) ? [] : [FLAG], env);
    expect(problems).toEqual([expect.stringContaining(problem)]);
  });

  it("never repeats a header's value", () => {
    const problems = problemsOf([FLAG], { OTEL_EXPORTER_OTLP_HEADERS: "authorization=%ZZhunter2,hunter2" });
    expect(problems).toHaveLength(2);
    expect(problems.join()).not.toContain("hunter2");
  });
});
