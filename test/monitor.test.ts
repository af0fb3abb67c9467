import { afterAll, afterEach, describe, expect, it } from "@jest/globals";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ConfigError,
  createMetricProducer,
  NoSnapshotError,
  OllamaGPUMonitor,
  type OllamaGPUMonitorOptions,
} from "../src/index.ts";

const CLIENT = {
  calls: 0,
  ps() {
    this.calls++;
    const model = {
      name: "m:latest",
      size: 3_300_000_000,
      size_vram: 3_300_000_000,
      digest: "ab".repeat(32),
      expires_at: "2326-01-01T00:00:00Z",
    };
    return Promise.resolve({ models: [model] });
  },
  list: () => Promise.resolve({ models: [] }),
  show: () => Promise.resolve({ modelfile: "FROM m\n" }),
  version: () => Promise.resolve({ version: "0.33.2" }),
};

describe("OllamaGPUMonitor", () => {
  const monitors: OllamaGPUMonitor[] = [];
  /** A process table without anything in it, whatever else runs on this machine. */
  const procfs = mkdtempSync(join(tmpdir(), "monitor-proc-"));
  afterAll(() => {
    rmSync(procfs, { recursive: true });
  });
  afterEach(async () => {
    await Promise.all(monitors.splice(0).map((monitor) => monitor.close()));
  });

  function create(options: OllamaGPUMonitorOptions = {}): OllamaGPUMonitor {
    const monitor = new OllamaGPUMonitor({ gpuBackend: "demo", ollamaClient: CLIENT, procfs, ...options });
    monitors.push(monitor);
    return monitor;
  }

  it("reads GPUs in the unit asked for", async () => {
    const monitor = create({ defaultMemoryUnit: "GB" });
    expect((await monitor.getGpuStatus()).map(({ gpuId, totalMemory, unit }) => [gpuId, totalMemory, unit])).toEqual([
      [0, 80, "GB"],
      [1, 40, "GB"],
      [2, 24, "GB"],
      [3, 48, "GB"],
    ]);
    expect((await monitor.getGpuStatus({ unit: "MB" }))[0]?.totalMemory).toBe(81_920);
  });

  it("reads an injected client's models in the words of ollama ps", async () => {
    expect(await create().getOllamaProcesses()).toEqual([
      {
        server: "127.0.0.1:11434",
        name: "m:latest",
        id: "abababababab",
        size: "3.3 GB",
        processor: "100% GPU",
        until: "Forever",
      },
    ]);
  });

  it("answers from the cache, and reads anew when told to", async () => {
    const monitor = create({ cacheDuration: 60 });
    const before = CLIENT.calls;
    await monitor.getOllamaProcesses();
    await monitor.getModelGpuUsage();
    expect(CLIENT.calls - before).toBe(1);
    await monitor.getOllamaProcesses({ forceRefresh: true });
    expect(CLIENT.calls - before).toBe(2);
  });

  it("has synchronous twins that need a first snapshot", async () => {
    const monitor = create();
    expect(() => monitor.getGpuStatusSync()).toThrow(NoSnapshotError);
    const statuses = await monitor.getGpuStatus();
    expect(monitor.getGpuStatusSync()).toEqual(statuses);
    expect(monitor.getOllamaProcessesSync()).toHaveLength(1);
    expect(monitor.getModelGpuUsageSync()).toHaveLength(1);
    expect(monitor.toDictSync().gpu_status).toHaveLength(4);
    expect(monitor.formatStatusSync({ includeTimestamp: false })).toMatch(/^OLLAMA PROCESSES:/);
  });

  it("speaks the original class's dictionary and JSON", async () => {
    const monitor = create();
    const dict = await monitor.toDict();
    expect(Object.keys(dict)).toEqual(["timestamp", "ollama_processes", "gpu_status", "model_gpu_usage"]);
    expect(dict.model_gpu_usage[0]).toMatchObject({
      model_name: "m:latest",
      gpu_info: null,
      gpu_match_quality: "none",
    });
    expect(dict.gpu_status[1]).toMatchObject({ gpu_utilization: null });
    expect(JSON.parse(await monitor.toJson(0))).toEqual(JSON.parse(JSON.stringify(dict)));
  });

  it("reports what crosses a threshold, and lets a subclass decide", async () => {
    class Watcher extends OllamaGPUMonitor {
      override checkAlerts() {
        return super.checkAlerts({ memoryRatio: 0.8 });
      }
    }
    const watcher = new Watcher({ gpuBackend: "demo", ollamaHost: "none" });
    monitors.push(watcher);
    expect(await watcher.checkAlerts()).toMatchObject([{ type: "high_memory_usage", gpuId: 2, threshold: 0.8 }]);
    expect(await create().checkAlerts({ memoryRatio: 2, temperatureCelsius: 0 })).toHaveLength(4);
  });

  it.each([
    [{ backgroundRefreshInterval: 0 }, "backgroundRefreshInterval: expected seconds above 0, got 0"],
    [{ backgroundRefreshInterval: NaN }, "backgroundRefreshInterval: expected seconds above 0, got NaN"],
    [{ retryAttempts: NaN }, "retryAttempts: expected a whole number >= 0, got NaN"],
    [{ retryAttempts: 1.5 }, "retryAttempts: expected a whole number >= 0, got 1.5"],
  ])("refuses %o, which would read without a pause", (options, message) => {
    expect(() => new OllamaGPUMonitor(options)).toThrow(message);
  });

  it("renders metrics in the format asked for, without the application's own process metrics", async () => {
    const monitor = create();
    const text = await monitor.metricsText();
    expect(text.contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(text.body).toContain("ollama_up");
    expect(text.body).not.toContain("process_cpu");
    expect((await monitor.metricsText("application/openmetrics-text")).body).toMatch(/# EOF\n$/);
  });

  it("works with no GPU and no Ollama, and says why", async () => {
    const monitor = create({ gpuBackend: "nvml", nvmlLibrary: "/nonexistent/libnvidia-ml.so", ollamaHost: "none" });
    expect([
      await monitor.getGpuStatus(),
      await monitor.getOllamaProcesses(),
      await monitor.getModelGpuUsage(),
    ]).toEqual([[], [], []]);
    const { collectors } = await monitor.snapshot();
    expect(collectors.find(({ collector }) => collector === "nvml")?.error).toContain("install the NVIDIA driver");
  });

  it("refuses wrong options in words", () => {
    expect(() => create({ cacheDuration: -1 })).toThrow(ConfigError);
    expect(() => create({ ollamaHost: "ftp://x" })).toThrow(/scheme "ftp" is not supported/);
    expect(() => create({ defaultMemoryUnit: "XB" as unknown as "MB" })).toThrow(RangeError);
  });

  it("closes when its signal aborts, and at the end of `await using`", async () => {
    const stop = new AbortController();
    const monitor = create({ signal: stop.signal, enableBackgroundRefresh: true });
    await monitor.snapshot();
    stop.abort();
    await using other = create();
    expect(await other.getGpuStatus()).toHaveLength(4);
  });

  it("gives its metrics to an application's own OpenTelemetry reader, from its cache", async () => {
    const monitor = create({ cacheDuration: 60 });
    const before = CLIENT.calls;
    const producer = createMetricProducer(monitor);
    const [first, second] = [await producer.collect(), await producer.collect()];
    const names = first.resourceMetrics.scopeMetrics.flatMap(({ metrics }) =>
      metrics.map(({ descriptor }) => descriptor.name),
    );
    expect(names).toEqual(expect.arrayContaining(["gpu.memory.used", "ollama.model.reported.vram"]));
    expect([first.errors, second.errors]).toEqual([[], []]);
    expect(CLIENT.calls - before).toBe(1);
    // Prometheus refuses a push in which a series has another value at a time that it knows.
    expect(second.resourceMetrics.scopeMetrics).toEqual(first.resourceMetrics.scopeMetrics);
    const conventions = await createMetricProducer(monitor, { naming: "semconv" }).collect();
    expect(JSON.stringify(conventions.resourceMetrics.scopeMetrics)).toContain("hw.gpu.memory.usage");
  });

  it("reports an error instead of metrics when there is no snapshot to be had", async () => {
    const failing = createMetricProducer({ snapshot: () => Promise.reject(new Error("no")) });
    const { errors, resourceMetrics } = await failing.collect();
    expect([errors, resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics)]).toEqual([[new Error("no")], []]);
  });
});
