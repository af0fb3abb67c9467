import { describe, expect, it } from "@jest/globals";
import { alertGroups } from "../../grafana/src/rules/files.ts";
import { conditionsOf } from "../../src/outputs/status/conditions.ts";
import type { Gpu, Model, Snapshot } from "../../src/snapshot.ts";

const GPU: Gpu = { gpu: "0", index: 0, uuid: "G", up: true, vendor: "nvidia" };
const MODEL: Model = { server: "s", name: "m" };

const snapshotOf = (parts: Partial<Snapshot>): Snapshot => ({
  startedAtMs: 0,
  takenAtMs: 0,
  gpus: [],
  owners: [],
  energy: [],
  processes: [],
  servers: [],
  models: [],
  transitions: [],
  collectors: [],
  nvmlRestarts: 0,
  nvmlCallErrors: [],
  dropped: { models: 0, processes: 0 },
  ...parts,
});
const namesOf = (parts: Partial<Snapshot>): readonly string[] =>
  conditionsOf(snapshotOf(parts)).map(({ name }) => name);
const runner = (endpoints: NonNullable<NonNullable<Model["runners"]>[number]["endpoints"]>) =>
  ({ runners: [{ pid: 1, parentPid: 0, kind: "blob", orphaned: false, endpoints }] }) as const;
const loaded = (sizeVramBytes: number) => ({ loaded: { name: "m", sizeBytes: 100, sizeVramBytes } });

describe("active conditions", () => {
  const CASES: readonly (readonly [name: string, parts: Partial<Snapshot>])[] = [
    ["GpuLost", { gpus: [{ ...GPU, up: false }] }],
    ["GpuMemoryNearlyFull", { gpus: [{ ...GPU, memoryUsedBytes: 96, memoryTotalBytes: 100 }] }],
    [
      "GpuTemperatureNearSlowdown",
      { gpus: [{ ...GPU, temperatureCelsius: 86, temperatureThresholdCelsius: { slowdown: 90 } }] },
    ],
    [
      "GpuTemperatureNearShutdown",
      { gpus: [{ ...GPU, temperatureCelsius: 98, temperatureThresholdCelsius: { shutdown: 100 } }] },
    ],
    ["GpuThermalSlowdown", { gpus: [{ ...GPU, clockEventReasonActive: { hw_thermal_slowdown: 1 } }] }],
    ["GpuPowerBrake", { gpus: [{ ...GPU, clockEventReasonActive: { hw_power_brake_slowdown: 1 } }] }],
    ["GpuEccUncorrected", { gpus: [{ ...GPU, eccErrors: { "uncorrected/volatile": 1 } }] }],
    ["GpuRowRemapFailure", { gpus: [{ ...GPU, rowRemapFailure: 1 }] }],
    ["GpuRowRemapPending", { gpus: [{ ...GPU, rowRemapPending: 1 }] }],
    ["GpuRetiredPagesPending", { gpus: [{ ...GPU, retiredPagesPending: 1 }] }],
    ["GpuRecoveryActionNeeded", { gpus: [{ ...GPU, recoveryAction: "gpu_reset" }] }],
    ["OllamaDown", { servers: [{ server: "s", up: false, onThisHost: true }] }],
    ["OllamaModelSpilled", { models: [{ ...MODEL, ...loaded(60) }] }],
    ["OllamaModelOnCpu", { gpus: [GPU], models: [{ ...MODEL, ...loaded(0) }] }],
    ["OllamaRunnerGone", { models: [{ ...MODEL, runnerUp: 0 }] }],
    ["OllamaModelNotAttributed", { models: [{ ...MODEL, method: "none" }] }],
    ["OllamaSlotsSaturated", { models: [{ ...MODEL, ...runner({ slots: 2, slotsBusy: 2 }) }] }],
    ["OllamaRequestMetricsOff", { models: [{ ...MODEL, ...runner({ answersMetrics: false }) }] }],
    ["OllamaOrphanedRunner", { owners: [{ gpu: "0", uuid: "G", ollamaBytes: 1, otherBytes: 0, orphanedBytes: 1 }] }],
    [
      "OllamaGpuCollectorFailing",
      { collectors: [{ collector: "nvml", target: "local", success: false, durationSeconds: 1, collections: {} }] },
    ],
  ];

  it.each(CASES)("name %s as its alert is named", (name, parts) => {
    expect(namesOf(parts)).toEqual([name]);
    expect(alertGroups().flatMap(({ alerts }) => alerts.map((alert) => alert.name))).toContain(name);
  });

  it("are none where nothing is known, or all is well", () => {
    expect(
      namesOf({ gpus: [GPU], models: [MODEL, { ...MODEL, ...loaded(100), ...runner({ slots: 2, slotsBusy: 1 }) }] }),
    ).toEqual([]);
    expect(namesOf({ models: [{ ...MODEL, ...loaded(0) }] })).toEqual([]);
  });
});
