/** What is wrong at this moment, without a Prometheus: the bundled alerts that need no history, under their names. */
import type { CollectorHealth, Gpu, GpuOwners, Model, OllamaServer, Snapshot } from "../../snapshot.ts";

/** One condition that holds now. */
export interface Condition {
  /** Name of the alert, and of its page in docs/runbooks. */
  readonly name: string;
  /** The labels that say of what. */
  readonly labels: Readonly<Record<string, string>>;
}

interface Row<T> {
  readonly name: string;
  readonly holds: (entity: T) => boolean | undefined;
}

/** Those of grafana/values.yaml; a test compares them. */
export const CONDITION_LIMITS = {
  snapshotAgeSeconds: 300,
  collectorDurationSeconds: 5,
  memoryUsedRatio: 0.95,
  foreignMemoryRatio: 0.3,
  slowdownMarginCelsius: 5,
  shutdownMarginCelsius: 3,
  xidWindowSeconds: 600,
  pcieBusyRatio: 0.2,
  onGpuRatio: 0.99,
  measuredOverReportedRatio: 1.5,
  reportedMinBytes: 1e9,
} as const;
const LIMITS = CONDITION_LIMITS;

/** XIDs that NVIDIA's table answers with a reset, a reboot or a new board; and those that a program can cause. */
export const XIDS = {
  critical: [48, 62, 63, 64, 74, 79, 92, 95, 119, 120],
  application: [13, 31, 43, 45, 94],
} as const;

const warmerThan = (gpu: Gpu, threshold: string, margin: number): boolean => {
  const { temperatureCelsius: now, temperatureThresholdCelsius: limits } = gpu;
  const limit = limits?.[threshold];
  return now !== undefined && limit !== undefined && now > limit - margin;
};
const isActive = ({ clockEventReasonActive: reasons }: Gpu, reason: string): boolean => reasons?.[reason] === 1;
const onGpu = ({ loaded }: Model): number | undefined => {
  const { sizeBytes, sizeVramBytes } = loaded ?? {};
  return sizeBytes === undefined || sizeVramBytes === undefined || sizeBytes === 0
    ? undefined
    : sizeVramBytes / sizeBytes;
};

/** Over all runners of a model; unknown when one of them is. */
function sumOf(runners: Model["runners"], field: "slots" | "slotsBusy"): number | undefined {
  const values = (runners ?? []).map(({ endpoints }) => endpoints?.[field]);
  return values.reduce((a, b) => (a === undefined || b === undefined ? undefined : a + b), 0);
}

const GPU_ROWS: readonly Row<Gpu>[] = [
  { name: "GpuLost", holds: ({ up }) => !up },
  {
    name: "GpuMemoryNearlyFull",
    holds: ({ memoryUsedBytes: used, memoryTotalBytes: total }) =>
      used !== undefined && total !== undefined && used / total > LIMITS.memoryUsedRatio,
  },
  { name: "GpuTemperatureNearSlowdown", holds: (gpu) => warmerThan(gpu, "slowdown", LIMITS.slowdownMarginCelsius) },
  { name: "GpuTemperatureNearShutdown", holds: (gpu) => warmerThan(gpu, "shutdown", LIMITS.shutdownMarginCelsius) },
  {
    name: "GpuMemoryTemperatureHigh",
    holds: ({ memoryTemperatureCelsius: now, temperatureThresholdCelsius: limits }) =>
      now !== undefined && limits?.memory_max !== undefined && now >= limits.memory_max,
  },
  { name: "GpuThermalSlowdown", holds: (gpu) => isActive(gpu, "hw_thermal_slowdown") },
  { name: "GpuPowerBrake", holds: (gpu) => isActive(gpu, "hw_power_brake_slowdown") },
  { name: "GpuEccUncorrected", holds: ({ eccErrors }) => (eccErrors?.["uncorrected/volatile"] ?? 0) > 0 },
  { name: "GpuRowRemapFailure", holds: ({ rowRemapFailure }) => rowRemapFailure === 1 },
  { name: "GpuRowRemapPending", holds: ({ rowRemapPending }) => rowRemapPending === 1 },
  { name: "GpuRetiredPagesPending", holds: ({ retiredPagesPending }) => retiredPagesPending === 1 },
  {
    name: "GpuRecoveryActionNeeded",
    holds: ({ recoveryAction }) => recoveryAction !== undefined && !["none", "unknown"].includes(recoveryAction),
  },
  {
    name: "GpuPcieDegraded",
    holds: ({ pcieLinkWidth: width, pcieLinkWidthMax: widest, utilizationRatio: busy }) =>
      width !== undefined &&
      widest !== undefined &&
      busy !== undefined &&
      width < widest &&
      busy > LIMITS.pcieBusyRatio,
  },
];

const MODEL_ROWS: readonly Row<Model>[] = [
  {
    name: "OllamaModelSpilled",
    holds: (model) => {
      const ratio = onGpu(model);
      return ratio !== undefined && ratio > 0 && ratio < LIMITS.onGpuRatio;
    },
  },
  { name: "OllamaRunnerGone", holds: ({ runnerUp }) => runnerUp === 0 },
  {
    name: "OllamaVramAboveReport",
    holds: ({ vram = [], loaded }) => {
      const measured = vram.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
      const reported = loaded?.sizeVramBytes ?? 0;
      return reported > LIMITS.reportedMinBytes && measured / reported > LIMITS.measuredOverReportedRatio;
    },
  },
  {
    name: "OllamaSlotsSaturated",
    holds: ({ runners }) => {
      const slots = sumOf(runners, "slots");
      const busy = sumOf(runners, "slotsBusy");
      return slots !== undefined && busy !== undefined && slots > 0 && busy >= slots;
    },
  },
  {
    name: "OllamaRequestMetricsOff",
    holds: ({ runners = [] }) => {
      const answers = runners.map(({ endpoints }) => endpoints?.answersMetrics);
      return answers.includes(false) && !answers.includes(undefined);
    },
  },
];

/** Only where a GPU could do better. */
const MODEL_BESIDE_GPU_ROWS: readonly Row<Model>[] = [
  { name: "OllamaModelOnCpu", holds: (model) => onGpu(model) === 0 },
  { name: "OllamaModelNotAttributed", holds: ({ method }) => method === "none" },
];

const SERVER_ROWS: readonly Row<OllamaServer>[] = [{ name: "OllamaDown", holds: ({ up }) => !up }];

const COLLECTOR_ROWS: readonly Row<CollectorHealth>[] = [
  { name: "OllamaGpuCollectorFailing", holds: ({ success }) => !success },
  {
    name: "OllamaGpuCollectorSlow",
    holds: ({ durationSeconds }) => durationSeconds > LIMITS.collectorDurationSeconds,
  },
];

/** By collector, GPU, server and model. An unknown value makes no condition. */
export function conditionsOf({ takenAtMs, ...snapshot }: Snapshot): readonly Condition[] {
  const { gpus, servers, models, owners, collectors } = snapshot;
  const now = takenAtMs / 1000;
  const hasGpu = gpus.some(({ up }) => up);
  const modelRows = hasGpu ? [...MODEL_ROWS, ...MODEL_BESIDE_GPU_ROWS] : MODEL_ROWS;
  return [
    ...collectors.flatMap((collector) =>
      held([...COLLECTOR_ROWS, staleAt(now)], collector, {
        collector: collector.collector,
        target: collector.target,
      }),
    ),
    ...gpus.flatMap((gpu) => [...held(GPU_ROWS, gpu, { gpu: gpu.gpu, uuid: gpu.uuid }), ...recentXids(gpu, now)]),
    ...owners.flatMap((owner) => held([ORPHANED, foreignOn(gpus)], owner, { gpu: owner.gpu })),
    ...servers.flatMap((server) => held(SERVER_ROWS, server, { server: server.server })),
    ...(new Set(servers.flatMap(({ version }) => version ?? [])).size > 1
      ? [{ name: "OllamaVersionsMixed", labels: {} }]
      : []),
    ...models.flatMap((model) => held(modelRows, model, { server: model.server, model: model.name })),
  ];
}

const staleAt = (now: number): Row<CollectorHealth> => ({
  name: "OllamaGpuCollectorStale",
  holds: ({ lastSuccessTimestampSeconds: last }) => last !== undefined && now - last > LIMITS.snapshotAgeSeconds,
});

const ORPHANED: Row<GpuOwners> = { name: "OllamaOrphanedRunner", holds: ({ orphanedBytes }) => orphanedBytes > 0 };

const foreignOn = (gpus: readonly Gpu[]): Row<GpuOwners> => ({
  name: "GpuMemoryForeign",
  holds: ({ uuid, otherBytes }) => {
    const total = gpus.find((gpu) => gpu.uuid === uuid)?.memoryTotalBytes;
    return total !== undefined && otherBytes / total > LIMITS.foreignMemoryRatio;
  },
});

function recentXids({ gpu, uuid, xidLastTimestampSeconds: seen = {} }: Gpu, now: number): readonly Condition[] {
  const named = (codes: readonly number[], name: string) =>
    codes.flatMap((code) => {
      const at = seen[code];
      const xid = String(code);
      return at !== undefined && now - at < LIMITS.xidWindowSeconds ? [{ name, labels: { gpu, uuid, xid } }] : [];
    });
  return [...named(XIDS.critical, "GpuXidCritical"), ...named(XIDS.application, "GpuXidApplication")];
}

function held<T>(rows: readonly Row<T>[], entity: T, labels: Condition["labels"]): readonly Condition[] {
  return rows.filter(({ holds }) => holds(entity) === true).map(({ name }) => ({ name, labels }));
}
