/** A smallest snapshot for every condition that needs no history: what `status` says of it, its alert must say too. */
import type { Gpu, Model, Snapshot } from "../../src/snapshot.ts";

const GPU: Gpu = { gpu: "0", index: 0, uuid: "G", up: true, vendor: "nvidia" };
const MODEL: Model = { server: "s", name: "m" };
const COLLECTOR = { collector: "nvml", target: "local", success: true, durationSeconds: 1, collections: {} } as const;
/** Prometheus' test clock starts at 0 and the cases are looked at one minute later. */
const TAKEN_AT_MS = 60_000;

/** A snapshot of nothing but these parts. */
export const snapshotOf = (parts: Partial<Snapshot>): Snapshot => ({
  startedAtMs: 0,
  takenAtMs: TAKEN_AT_MS,
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

const gpu = (health: Partial<Gpu>): Partial<Snapshot> => ({ gpus: [{ ...GPU, ...health }] });
const model = (state: Partial<Model>): Partial<Snapshot> => ({ models: [{ ...MODEL, ...state }] });
const runner = (endpoints: NonNullable<NonNullable<Model["runners"]>[number]["endpoints"]>): Partial<Model> => ({
  runners: [{ pid: 1, parentPid: 0, kind: "blob", orphaned: false, endpoints }],
});
const loaded = (sizeVramBytes: number, sizeBytes = 100): Partial<Model> => ({
  loaded: { name: "m", sizeBytes, sizeVramBytes },
});
const owners = (otherBytes: number, orphanedBytes: number): Pick<Snapshot, "owners"> => ({
  owners: [{ gpu: "0", uuid: "G", ollamaBytes: orphanedBytes, otherBytes, orphanedBytes }],
});

export interface ConditionCase {
  /** Of the alert and the condition. */
  readonly name: string;
  /** In which it holds, close to its threshold. */
  readonly holds: Partial<Snapshot>;
  /** In which it does not, close to its threshold. */
  readonly calm: Partial<Snapshot>;
}

export const CONDITION_CASES: readonly ConditionCase[] = [
  {
    name: "OllamaGpuCollectorFailing",
    holds: { collectors: [{ ...COLLECTOR, success: false }] },
    calm: { collectors: [COLLECTOR] },
  },
  {
    name: "OllamaGpuCollectorSlow",
    holds: { collectors: [{ ...COLLECTOR, durationSeconds: 5.1 }] },
    calm: { collectors: [{ ...COLLECTOR, durationSeconds: 5 }] },
  },
  {
    name: "OllamaGpuCollectorStale",
    holds: { collectors: [{ ...COLLECTOR, lastSuccessTimestampSeconds: -241 }] },
    calm: { collectors: [{ ...COLLECTOR, lastSuccessTimestampSeconds: -240 }] },
  },
  { name: "GpuLost", holds: gpu({ up: false }), calm: gpu({}) },
  {
    name: "GpuMemoryNearlyFull",
    holds: gpu({ memoryUsedBytes: 96, memoryTotalBytes: 100 }),
    calm: gpu({ memoryUsedBytes: 95, memoryTotalBytes: 100 }),
  },
  {
    name: "GpuMemoryForeign",
    holds: { ...gpu({ memoryTotalBytes: 100 }), ...owners(31, 0) },
    calm: { ...gpu({ memoryTotalBytes: 100 }), ...owners(30, 0) },
  },
  {
    name: "GpuTemperatureNearSlowdown",
    holds: gpu({ temperatureCelsius: 86, temperatureThresholdCelsius: { slowdown: 90 } }),
    calm: gpu({ temperatureCelsius: 85, temperatureThresholdCelsius: { slowdown: 90 } }),
  },
  {
    name: "GpuTemperatureNearShutdown",
    holds: gpu({ temperatureCelsius: 98, temperatureThresholdCelsius: { shutdown: 100 } }),
    calm: gpu({ temperatureCelsius: 97, temperatureThresholdCelsius: { shutdown: 100 } }),
  },
  {
    name: "GpuMemoryTemperatureHigh",
    holds: gpu({ memoryTemperatureCelsius: 105, temperatureThresholdCelsius: { memory_max: 105 } }),
    calm: gpu({ memoryTemperatureCelsius: 104, temperatureThresholdCelsius: { memory_max: 105 } }),
  },
  {
    name: "GpuThermalSlowdown",
    holds: gpu({ clockEventReasonActive: { hw_thermal_slowdown: 1 } }),
    calm: gpu({ clockEventReasonActive: { hw_thermal_slowdown: 0, sw_thermal_slowdown: 1 } }),
  },
  {
    name: "GpuPowerBrake",
    holds: gpu({ clockEventReasonActive: { hw_power_brake_slowdown: 1 } }),
    calm: gpu({ clockEventReasonActive: { hw_power_brake_slowdown: 0 } }),
  },
  {
    name: "GpuEccUncorrected",
    holds: gpu({ eccErrors: { "uncorrected/volatile": 1 } }),
    calm: gpu({ eccErrors: { "uncorrected/volatile": 0, "uncorrected/aggregate": 5, "corrected/volatile": 5 } }),
  },
  { name: "GpuRowRemapFailure", holds: gpu({ rowRemapFailure: 1 }), calm: gpu({ rowRemapFailure: 0 }) },
  { name: "GpuRowRemapPending", holds: gpu({ rowRemapPending: 1 }), calm: gpu({ rowRemapPending: 0 }) },
  { name: "GpuRetiredPagesPending", holds: gpu({ retiredPagesPending: 1 }), calm: gpu({ retiredPagesPending: 0 }) },
  {
    name: "GpuRecoveryActionNeeded",
    holds: gpu({ recoveryAction: "gpu_reset" }),
    calm: gpu({ recoveryAction: "none" }),
  },
  {
    name: "GpuPcieDegraded",
    holds: gpu({ pcieLinkWidth: 8, pcieLinkWidthMax: 16, utilizationRatio: 0.21 }),
    calm: gpu({ pcieLinkWidth: 8, pcieLinkWidthMax: 16, utilizationRatio: 0.2 }),
  },
  {
    name: "GpuXidCritical",
    holds: gpu({ xidLastTimestampSeconds: { "79": -539 } }),
    calm: gpu({ xidLastTimestampSeconds: { "79": -540 } }),
  },
  {
    name: "GpuXidApplication",
    holds: gpu({ xidLastTimestampSeconds: { "31": -539 } }),
    calm: gpu({ xidLastTimestampSeconds: { "31": -540, "1": 0 } }),
  },
  { name: "OllamaOrphanedRunner", holds: owners(0, 1), calm: owners(0, 0) },
  {
    name: "OllamaDown",
    holds: { servers: [{ server: "s", up: false, onThisHost: true }] },
    calm: { servers: [{ server: "s", up: true, onThisHost: true }] },
  },
  {
    name: "OllamaVersionsMixed",
    holds: {
      servers: [
        { server: "s", up: true, onThisHost: true, version: "0.24.0" },
        { server: "t", up: true, onThisHost: true, version: "0.33.2" },
      ],
    },
    calm: {
      servers: [
        { server: "s", up: true, onThisHost: true, version: "0.33.2" },
        { server: "t", up: true, onThisHost: true, version: "0.33.2" },
      ],
    },
  },
  { name: "OllamaModelSpilled", holds: model(loaded(98)), calm: model(loaded(99)) },
  { name: "OllamaModelOnCpu", holds: { ...gpu({}), ...model(loaded(0)) }, calm: model(loaded(0)) },
  { name: "OllamaRunnerGone", holds: model({ runnerUp: 0 }), calm: model({ runnerUp: 1 }) },
  {
    name: "OllamaModelNotAttributed",
    holds: { ...gpu({}), ...model({ method: "none" }) },
    calm: model({ method: "none" }),
  },
  {
    name: "OllamaVramAboveReport",
    holds: model({ ...loaded(1.1e9, 1.1e9), vram: [{ gpu: "0", uuid: "G", bytes: 1.7e9 }] }),
    calm: model({ ...loaded(1e9, 1e9), vram: [{ gpu: "0", uuid: "G", bytes: 9e9 }] }),
  },
  {
    name: "OllamaSlotsSaturated",
    holds: model(runner({ slots: 2, slotsBusy: 2 })),
    calm: model(runner({ slots: 2, slotsBusy: 1 })),
  },
  {
    name: "OllamaRequestMetricsOff",
    holds: model(runner({ answersMetrics: false })),
    calm: model(runner({ answersMetrics: true })),
  },
];
