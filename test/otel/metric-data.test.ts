import { describe, expect, it } from "@jest/globals";
import { DataPointType, type MetricData } from "@opentelemetry/sdk-metrics";
import { metricDataOf } from "../../src/outputs/otel/producer.ts";
import type { Naming } from "../../src/outputs/otel/metric-data.ts";
import type { Gpu, Snapshot } from "../../src/snapshot.ts";

const STARTED = Date.UTC(2026, 10, 24);
const TAKEN = STARTED + 60_000;
const STATE = { version: "0.1.0", revision: "", nodeVersion: "v24.0.0", httpRequests: [] };
const board: Gpu = {
  gpu: "0",
  index: 0,
  uuid: "GPU-a",
  up: true,
  name: "NVIDIA H100",
  vendor: "nvidia",
  driverVersion: "580.1",
  memoryTotalBytes: 100,
  memoryUsedBytes: 25,
  utilizationRatio: 0.5,
  encoderUtilizationRatio: 0.25,
  energyJoules: 7,
  temperatureThresholdCelsius: { shutdown: 95, memory_max: 105 },
  eccErrors: { "corrected/volatile": 1, "corrected/aggregate": 2 },
  xidErrors: { 79: 3 },
  pcieReplays: 4,
  pcieReceiveBytes: 5,
  pcieTransmitBytes: 6,
  fanSpeedRatio: { 0: 0.3, 1: 0.4 },
};

function snapshotOf(gpus: readonly Gpu[], more: Partial<Snapshot> = {}): Snapshot {
  return {
    startedAtMs: STARTED,
    takenAtMs: TAKEN,
    gpus,
    owners: [],
    energy: [],
    processes: [],
    servers: [],
    models: [],
    transitions: [{ server: "s", name: "m", loads: 1, unloads: 0 }],
    collectors: [],
    nvmlRestarts: 0,
    nvmlCallErrors: [],
    dropped: { models: 0, processes: 0 },
    ...more,
  };
}

const dataOf = (snapshot: Snapshot, naming: Naming): MetricData[] => metricDataOf(snapshot, STATE, naming);

function metric(data: readonly MetricData[], name: string): MetricData {
  const [found, another] = data.filter(({ descriptor }) => descriptor.name === name);
  if (!found || another) throw new Error(`${name} is there ${found ? "twice" : "not at all"}`);
  return found;
}

const seconds = (ms: number) => [Math.floor(ms / 1000), (ms % 1000) * 1e6];

describe("native names", () => {
  const data = dataOf(snapshotOf([board]), "native");

  it("make a gauge of a gauge, with unit, labels and the snapshot's time", () => {
    expect(metric(data, "gpu.memory.used")).toMatchObject({
      descriptor: { unit: "By" },
      dataPointType: DataPointType.GAUGE,
      dataPoints: [{ value: 25, attributes: { gpu: "0", uuid: "GPU-a" }, endTime: seconds(TAKEN) }],
    });
  });

  it("make a monotonic cumulative sum of a counter; what counts since an unknown moment has no start", () => {
    expect(metric(data, "gpu.energy")).toMatchObject({
      descriptor: { unit: "J" },
      dataPointType: DataPointType.SUM,
      isMonotonic: true,
      aggregationTemporality: 1,
      dataPoints: [{ value: 7, startTime: [0, 0] }],
    });
  });

  it("start the exporter's own counters with the exporter, and a runner's CPU with the runner", () => {
    const runner = { pid: 1, parentPid: 0, kind: "blob", orphaned: false, cpuSeconds: 5 } as const;
    const startTimeSeconds = STARTED / 1000 - 100;
    const model = {
      server: "s",
      name: "m",
      runners: [
        { ...runner, startTimeSeconds },
        { ...runner, startTimeSeconds: 9 },
      ],
    };
    const own = dataOf(snapshotOf([board], { models: [model] }), "native");
    expect(metric(own, "ollama.model.loads").dataPoints[0]?.startTime).toEqual(seconds(STARTED));
    expect(metric(own, "gpu.xid.errors").dataPoints[0]?.startTime).toEqual(seconds(STARTED));
    expect(metric(own, "ollama.model.runner.cpu").dataPoints).toMatchObject([
      { value: 10, startTime: seconds(startTimeSeconds * 1000) },
    ]);
  });

  it("never end a series before it begins, though the clock was set back", () => {
    const back = dataOf(snapshotOf([board], { takenAtMs: STARTED - 5_000 }), "native");
    expect(metric(back, "gpu.xid.errors").dataPoints[0]?.startTime).toEqual(seconds(STARTED - 5_000));
  });

  it("give the exporter's own state the snapshot's time too", () => {
    expect(metric(data, "ollama.gpu.exporter.build.info").dataPoints[0]?.endTime).toEqual(seconds(TAKEN));
  });

  it("hold more than 2,000 series of a family, none folded", () => {
    const models = Array.from({ length: 5_000 }, (_, index) => ({ server: "s", name: `m${index}` }));
    expect(metric(dataOf(snapshotOf([], { models }), "native"), "ollama.model.loaded").dataPoints).toHaveLength(5_000);
  });

  it("say nothing of a source that failed", () => {
    expect(dataOf(snapshotOf([]), "native").some(({ descriptor }) => descriptor.name.startsWith("gpu."))).toBe(false);
  });
});

describe("semconv names", () => {
  const instance: Gpu = {
    gpu: "0:1",
    index: 0,
    uuid: "MIG-b",
    parentUuid: "GPU-a",
    up: true,
    vendor: "nvidia",
    memoryUsedBytes: 1,
  };
  const lost: Gpu = { gpu: "1", index: 1, uuid: "", up: false, vendor: "nvidia" };
  const data = dataOf(snapshotOf([{ ...board, recoveryAction: "gpu_reset" }, instance, lost]), "semconv");
  const HARDWARE = {
    "hw.id": "GPU-a",
    "hw.type": "gpu",
    "hw.name": "GPU 0",
    "hw.vendor": "nvidia",
    "hw.model": "NVIDIA H100",
    "hw.driver_version": "580.1",
  };
  const pointsOf = (name: string): readonly Record<string, unknown>[] =>
    metric(data, name).dataPoints.map(({ attributes, value }) => ({ ...attributes, value }));

  it("name the hardware, and the parent of a MIG instance", () => {
    expect(metric(data, "hw.gpu.memory.usage")).toMatchObject({
      descriptor: { unit: "By" },
      dataPointType: DataPointType.SUM,
      isMonotonic: false,
    });
    expect(pointsOf("hw.gpu.memory.usage")).toEqual([
      { ...HARDWARE, value: 25 },
      {
        "hw.id": "MIG-b",
        "hw.type": "gpu",
        "hw.name": "GPU 0:1",
        "hw.vendor": "nvidia",
        "hw.parent": "GPU-a",
        value: 1,
      },
    ]);
  });

  it("join several families under one name, told apart by an attribute", () => {
    const tasks = pointsOf("hw.gpu.utilization").map((point) => [point["hw.gpu.task"], point.value]);
    expect(tasks).toEqual([
      ["general", 0.5],
      ["encoder", 0.25],
    ]);
    const directions = pointsOf("hw.gpu.io").map((point) => [point["network.io.direction"], point.value]);
    expect(directions).toEqual([
      ["receive", 5],
      ["transmit", 6],
    ]);
    const errors = pointsOf("hw.errors").map((point) => [point["error.type"], point.counter, point.value]);
    expect(errors).toEqual([
      ["pcie_replay", undefined, 4],
      ["ecc_corrected", "volatile", 1],
      ["ecc_corrected", "aggregate", 2],
      ["xid_79", undefined, 3],
    ]);
    expect(metric(data, "hw.errors").descriptor.unit).toBe("{error}");
    expect(pointsOf("hw.temperature.limit").map((point) => point["hw.limit_type"])).toEqual([
      "high.critical",
      "memory_max",
    ]);
    expect(pointsOf("hw.fan.speed_ratio").map((point) => point.fan)).toEqual(["0", "1"]);
  });

  it("derive how full the memory is", () => {
    expect(pointsOf("hw.gpu.memory.utilization")).toEqual([{ ...HARDWARE, value: 0.25 }]);
  });

  it("derive the state: failed when lost, degraded when it needs an action, else ok", () => {
    const current = pointsOf("hw.status").filter(({ value }) => value === 1);
    expect(current.map((point) => [point["hw.id"], point["hw.state"]])).toEqual([
      ["GPU-a", "degraded"],
      ["MIG-b", "ok"],
      ["1", "failed"],
    ]);
    expect(pointsOf("hw.status")).toHaveLength(9);
  });

  it("leave everything else under its native name", () => {
    const names = data.map(({ descriptor }) => descriptor.name);
    expect(names).toContain("ollama.model.loads");
    expect(names).toContain("gpu.up");
    expect(names).not.toContain("gpu.memory.used");
    expect(new Set(names).size).toBe(names.length);
  });
});
