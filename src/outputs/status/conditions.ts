/** What is wrong at this moment, without a Prometheus: the bundled alerts that need no history, under their names. */
import type { Gpu, Model, Snapshot } from "../../snapshot.ts";

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

/** Thresholds as in grafana/values.yaml. */
const LIMITS = { memoryUsedRatio: 0.95, slowdownMarginCelsius: 5, shutdownMarginCelsius: 3, onGpuRatio: 0.99 };

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

const GPU_ROWS: readonly Row<Gpu>[] = [
  { name: "GpuLost", holds: ({ up }) => !up },
  {
    name: "GpuMemoryNearlyFull",
    holds: ({ memoryUsedBytes: used, memoryTotalBytes: total }) =>
      used !== undefined && total !== undefined && used / total > LIMITS.memoryUsedRatio,
  },
  { name: "GpuTemperatureNearSlowdown", holds: (gpu) => warmerThan(gpu, "slowdown", LIMITS.slowdownMarginCelsius) },
  { name: "GpuTemperatureNearShutdown", holds: (gpu) => warmerThan(gpu, "shutdown", LIMITS.shutdownMarginCelsius) },
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
  { name: "OllamaModelNotAttributed", holds: ({ method }) => method === "none" },
  {
    name: "OllamaSlotsSaturated",
    holds: ({ runners }) =>
      runners?.some(({ endpoints }) => (endpoints?.slots ?? 0) > 0 && endpoints?.slots === endpoints?.slotsBusy),
  },
  {
    name: "OllamaRequestMetricsOff",
    holds: ({ runners }) => runners?.some(({ endpoints }) => endpoints?.answersMetrics === false),
  },
];

/** In the order of GPUs, servers and models. An unknown value makes no condition. */
export function conditionsOf({ gpus, servers, models, owners, collectors }: Snapshot): readonly Condition[] {
  const hasGpu = gpus.some(({ up }) => up);
  return [
    ...collectors
      .filter(({ success }) => !success)
      .map(({ collector, target }) => ({ name: "OllamaGpuCollectorFailing", labels: { collector, target } })),
    ...gpus.flatMap((gpu) => held(GPU_ROWS, gpu, { gpu: gpu.gpu, uuid: gpu.uuid })),
    ...owners
      .filter(({ orphanedBytes }) => orphanedBytes > 0)
      .map(({ gpu }) => ({ name: "OllamaOrphanedRunner", labels: { gpu } })),
    ...servers.filter(({ up }) => !up).map(({ server }) => ({ name: "OllamaDown", labels: { server } })),
    ...models.flatMap((model) => {
      const labels = { server: model.server, model: model.name };
      const isOnCpu = hasGpu && onGpu(model) === 0;
      return [...held(MODEL_ROWS, model, labels), ...(isOnCpu ? [{ name: "OllamaModelOnCpu", labels }] : [])];
    }),
  ];
}

function held<T>(rows: readonly Row<T>[], entity: T, labels: Condition["labels"]): readonly Condition[] {
  return rows.filter(({ holds }) => holds(entity) === true).map(({ name }) => ({ name, labels }));
}
