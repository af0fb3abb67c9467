import { afterEach, describe, expect, it } from "@jest/globals";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/options.ts";
import { ConfigError, StartupError } from "../../src/errors.ts";

describe("the configuration", () => {
  const folders: string[] = [];
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
  });

  function fileWith(text: string): string {
    const folder = mkdtempSync(join(tmpdir(), "config-"));
    folders.push(folder);
    const file = join(folder, "exporter.yml");
    writeFileSync(file, text);
    return file;
  }

  const load = (argv: readonly string[], env: Record<string, string> = {}): Config => loadConfig({ argv, env }).config;

  function problemsOf(argv: readonly string[], env: Record<string, string> = {}): readonly string[] {
    try {
      loadConfig({ argv, env });
    } catch (error) {
      if (error instanceof ConfigError) return error.problems;
      throw error;
    }
    return [];
  }

  it("has the documented defaults", () => {
    expect(load([])).toMatchObject({
      web: { listenAddresses: [{ port: 9434 }], telemetryPath: "/metrics", maxRequests: 40, exporterMetrics: true },
      ollama: {
        servers: [{ identity: { server: "127.0.0.1:11434" } }],
        headers: [],
        timeoutMs: 3_000,
        tagsIntervalMs: 60_000,
      },
      gpu: { backend: "auto", nvmlLibrary: "libnvidia-ml.so.1", timeoutMs: 5_000 },
      processes: "ollama",
      cacheDurationMs: 5_000,
      refreshIntervalMs: 0,
      retry: { attempts: 3, delayMs: 1_000 },
      procfs: "/proc",
      log: { level: "info", format: "logfmt" },
      demo: false,
    });
  });

  it("takes flags over environment over file over defaults", () => {
    const file = fileWith("cache.duration: 1s\nretry: {attempts: 7, delay: 250ms}\nlog.level: debug\n");
    const env = {
      OLLAMA_GPU_EXPORTER_RETRY_ATTEMPTS: "8",
      OLLAMA_GPU_EXPORTER_CONFIG_FILE: file,
      OLLAMA_GPU_EXPORTER_LOG_LEVEL: "warn",
    };
    expect(load(["--log.level=error"], env)).toMatchObject({
      cacheDurationMs: 1_000,
      retry: { attempts: 8, delayMs: 250 },
      log: { level: "error" },
    });
  });

  const flags: readonly (readonly [readonly string[], Record<string, unknown>])[] = [
    [["--cache.duration", "500ms"], { cacheDurationMs: 500 }],
    [["--cache.duration=2"], { cacheDurationMs: 2_000 }],
    [["--cache.duration=1m"], { cacheDurationMs: 60_000 }],
    [["--no-web.exporter-metrics"], { web: { exporterMetrics: false } }],
    [["--demo"], { demo: true }],
    [
      ["--web.listen-address=[::1]:0", "--web.listen-address=unix:/run/x.sock"],
      { web: { listenAddresses: [{ host: "::1", port: 0 }, { socketPath: "/run/x.sock" }] } },
    ],
    [["--gpu.include=0,GPU-a"], { gpu: { include: ["0", "GPU-a"] } }],
    [["--ollama.host=none"], { ollama: { servers: [] } }],
    [
      ["--ollama.header=Authorization: Bearer x"],
      { ollama: { headers: [{ name: "Authorization", value: "Bearer x" }] } },
    ],
  ];
  it.each(flags)("reads %j", (argv, expected) => {
    expect(load(argv)).toMatchObject(expected);
  });

  it("reads lists from the environment, and OLLAMA_HOST", () => {
    expect(
      load([], { OLLAMA_GPU_EXPORTER_OLLAMA_HOST: "a, b=http://c:1" }).ollama.servers.map(
        ({ identity }) => identity.server,
      ),
    ).toEqual(["a:11434", "b"]);
    expect(load([], { OLLAMA_HOST: "0.0.0.0:9" }).ollama.servers.map(({ baseUrl }) => baseUrl)).toEqual([
      "http://127.0.0.1:9",
    ]);
  });

  const mistakes: readonly (readonly [readonly string[], string])[] = [
    [["--web.listen-adress=:1"], "unknown flag --web.listen-adress; the nearest known one is --web.listen-address"],
    [["--gpu.timeout=abc"], '--gpu.timeout: expected a duration such as 500ms, 5s or 1m, got "abc"'],
    [["--gpu.timeout=0"], '--gpu.timeout: expected a duration above 0, got "0"'],
    [["--gpu.backend=amd"], '--gpu.backend: expected auto, nvml, demo or none, got "amd"'],
    [["--web.max-requests=0"], '--web.max-requests: expected a whole number of at least 1, got "0"'],
    [
      ["--web.telemetry-path=/-/ready"],
      '--web.telemetry-path: expected a path that the exporter does not use itself, such as /metrics, got "/-/ready"',
    ],
    [
      ["--web.listen-address=x:99999"],
      '--web.listen-address: expected host:port, :port, [::1]:port or unix:/path, got "x:99999"',
    ],
    [["--cache.duration"], "--cache.duration: expected a value"],
    [["start"], 'unexpected argument "start"; expected one command of serve, status, check-config'],
    [["--json"], "--json: belongs to the command status"],
    [["status", "--unit=XB"], '--unit: expected one of b, bit, B, Byte, KB, MB, GB, TB, got "XB"'],
    [
      ["--ollama.host=a", "--ollama.host=a:11434"],
      "--ollama.host: two servers are called a:11434; give them names: NAME=URL",
    ],
  ];
  it.each(mistakes)("refuses %j in words", (argv, message) => {
    expect(problemsOf(argv)).toEqual([message]);
  });

  it("never repeats a header's value", () => {
    expect(problemsOf(["--ollama.header=Bearer SECRET"]).join()).not.toContain("SECRET");
  });

  it("names the variable that is wrong", () => {
    expect(problemsOf([], { OLLAMA_GPU_EXPORTER_RETRY_ATTEMPTS: "x" })[0]).toMatch(
      /^OLLAMA_GPU_EXPORTER_RETRY_ATTEMPTS: retry.attempts: /,
    );
  });

  it("reports every problem of a file at once, with its line", () => {
    const file = fileWith(
      "gpu:\n  timout: 5s\n  timeout: soon\nprocesses: [a, b]\nconfig.file: x\nlog.level: info\nlog: {level: warn}\n",
    );
    expect(problemsOf([`--config.file=${file}`]).map((problem) => problem.replace(file, "FILE"))).toEqual([
      'FILE:2: unknown key "gpu.timout"; the nearest known one is gpu.timeout',
      "FILE:4: processes: expected one value, got a list",
      expect.stringMatching(/^FILE:5: unknown key "config.file"/) as unknown as string,
      "FILE:7: log.level is given twice",
      'FILE:3: gpu.timeout: expected a duration such as 500ms, 5s or 1m, got "soon"',
    ]);
  });

  it("says what is wrong with a file that is no YAML, missing, or empty", () => {
    expect(problemsOf([`--config.file=${fileWith("a: [1\n")}`])[0]).toMatch(/exporter\.yml:\d+: /);
    expect(problemsOf(["check-config", "--config.file=/nonexistent.yml"])[0]).toContain("cannot read /nonexistent.yml");
    expect(() => load(["--config.file=/nonexistent.yml"])).toThrow(StartupError);
    expect(problemsOf([`--config.file=${fileWith("")}`])).toEqual([]);
    expect(problemsOf([`--config.file=${fileWith("- a\n")}`])[0]).toContain("expected keys and values, got a list");
  });
});
