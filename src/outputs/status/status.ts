/** A snapshot in the terms of the class: GPUs, loaded models, who uses what, what crosses a threshold. */
import type { Gpu, LoadedModel, Model, Snapshot } from "../../snapshot.ts";
import { type ByteUnit, convertByteUnit } from "../../units.ts";
import { humanBytes, processorShare, untilWords } from "./ollama-words.ts";

/** A whole board. What is unknown is undefined. */
export interface GpuStatus {
  /** NVML index. */
  readonly gpuId: number;
  readonly uuid: string;
  readonly gpuName: string;
  /** In `unit`. */
  readonly totalMemory: number | undefined;
  readonly usedMemory: number | undefined;
  readonly freeMemory: number | undefined;
  /** 0..1 of the total. */
  readonly usedMemoryRatio: number | undefined;
  readonly freeMemoryRatio: number | undefined;
  /** Whole percent. */
  readonly gpuUtilization: number | undefined;
  readonly memoryUtilization: number | undefined;
  /** Celsius. */
  readonly temperature: number | undefined;
  /** Watts. */
  readonly powerUsage: number | undefined;
  readonly powerLimit: number | undefined;
  readonly unit: ByteUnit;
}

/** A loaded model, in the words of `ollama ps`. */
export interface OllamaProcess {
  readonly server: string;
  readonly name: string;
  /** 12 hex of the manifest digest. */
  readonly id: string;
  readonly size: string;
  readonly processor: string;
  readonly until: string;
}

export type GpuMatchQuality = "exact" | "low" | "none";

/** A loaded model and the GPUs it is on. */
export interface ModelGpuUsage {
  readonly server: string;
  readonly modelName: string;
  readonly modelId: string;
  readonly size: string;
  readonly processor: string;
  readonly until: string;
  /** The board that holds most of it. */
  readonly gpuInfo?: GpuStatus;
  /** Every board or MIG instance that holds a part; an instance has its board's gpuId and its own uuid. */
  readonly gpus: readonly { readonly gpuId: number; readonly uuid: string; readonly vramBytes: number }[];
  /** As in ollama_model_attribution_info. */
  readonly method: NonNullable<Model["method"]>;
  readonly gpuMatchQuality: GpuMatchQuality;
  /** Requests worked on now, of the most at a time; Ollama 0.30 and later on this host. */
  readonly slotsBusy?: number;
  readonly slots?: number;
  /** Generated tokens per second of generating, over the runner's life; with its request metrics on. */
  readonly tokensPerSecond?: number;
  /** Of its work on all GPUs since the last reading, above their idle floor. */
  readonly powerWatts?: number;
}

/** A value over its threshold: ratios for memory and power (draw / limit), celsius. */
export interface Alert {
  readonly type: "high_memory_usage" | "high_temperature" | "high_power";
  readonly gpuId: number;
  readonly value: number;
  readonly threshold: number;
}

export interface AlertThresholds {
  /** Default 0.9. */
  readonly memoryRatio?: number;
  readonly temperatureCelsius?: number;
  readonly powerRatio?: number;
}

export interface UsageOptions {
  readonly unit: ByteUnit;
  readonly nowMs: number;
}

const QUALITY: Readonly<Record<NonNullable<Model["method"]>, GpuMatchQuality>> = {
  pid: "exact",
  name: "exact",
  sole: "low",
  reported: "low",
  none: "none",
};

/** The boards of a snapshot, in NVML order. */
export function gpuStatuses(snapshot: Snapshot, unit: ByteUnit): GpuStatus[] {
  return boardsOf(snapshot).map((gpu) => gpuStatus(gpu, unit));
}

/** The loaded models of every server. */
export function ollamaProcesses(snapshot: Snapshot, nowMs: number): OllamaProcess[] {
  return loadedModels(snapshot).map(({ server, name, loaded }) => ({ server, name, ...words(loaded, nowMs) }));
}

/** One entry per loaded model. */
export function modelGpuUsages(snapshot: Snapshot, { unit, nowMs }: UsageOptions): ModelGpuUsage[] {
  return loadedModels(snapshot).map((model) => {
    const { server, name, loaded, vram = [], method = "none" } = model;
    const { id, ...rest } = words(loaded, nowMs);
    const gpus = vram.flatMap(({ gpu, uuid, bytes }) =>
      bytes === undefined ? [] : [{ gpuId: Number.parseInt(gpu, 10), uuid, vramBytes: bytes }],
    );
    const most = boardWithMost(gpus);
    const board = boardsOf(snapshot).find(({ index }) => index === most);
    return {
      server,
      modelName: name,
      modelId: id,
      ...rest,
      ...(board && { gpuInfo: gpuStatus(board, unit) }),
      gpus,
      method,
      gpuMatchQuality: QUALITY[method],
      ...workOf(model),
    };
  });
}

/** What the model does now, as far as its runners and the driver tell. */
function workOf({ runners = [], energy = [], requestCounters }: Model): Partial<ModelGpuUsage> {
  const of = (field: "slots" | "slotsBusy" | "generatedTokens" | "generationSeconds") =>
    total(runners.map(({ endpoints }) => endpoints?.[field]));
  const [slots, slotsBusy] = [of("slots"), of("slotsBusy")];
  const tokens = requestCounters?.generatedTokens ?? of("generatedTokens");
  const seconds = requestCounters?.generationSeconds ?? of("generationSeconds");
  const powerWatts = total(energy.map(({ watts }) => watts));
  return {
    ...(slots !== undefined && { slots }),
    ...(slotsBusy !== undefined && { slotsBusy }),
    ...(tokens !== undefined && seconds !== undefined && seconds > 0 && { tokensPerSecond: tokens / seconds }),
    ...(powerWatts !== undefined && { powerWatts }),
  };
}

/** Nothing is no sum, and a sum with an unknown part is unknown. */
function total(values: readonly (number | undefined)[]): number | undefined {
  if (values.length === 0) return undefined;
  return values.reduce((a, b) => (a === undefined || b === undefined ? undefined : a + b), 0);
}

/** What crosses a threshold: memory by default at 0.9, temperature and power only when a threshold is given. */
export function alertsOf(
  snapshot: Snapshot,
  { memoryRatio = 0.9, temperatureCelsius, powerRatio }: AlertThresholds = {},
): Alert[] {
  return boardsOf(snapshot).flatMap((gpu) => {
    const { powerDrawWatts: draw, powerLimitWatts: limit } = gpu;
    const checks = [
      ["high_memory_usage", ratio(gpu.memoryUsedBytes, gpu.memoryTotalBytes), memoryRatio],
      ["high_temperature", gpu.temperatureCelsius, temperatureCelsius],
      ["high_power", ratio(draw, limit), powerRatio],
    ] as const;
    return checks.flatMap(([type, value, threshold]): Alert[] =>
      value !== undefined && threshold !== undefined && value > threshold
        ? [{ type, gpuId: gpu.index, value, threshold }]
        : [],
    );
  });
}

function gpuStatus(gpu: Gpu, unit: ByteUnit): GpuStatus {
  const { memoryTotalBytes: total, memoryUsedBytes: used, memoryFreeBytes: free } = gpu;
  return {
    gpuId: gpu.index,
    uuid: gpu.uuid,
    gpuName: gpu.name ?? "",
    totalMemory: inUnit(total, unit),
    usedMemory: inUnit(used, unit),
    freeMemory: inUnit(free, unit),
    usedMemoryRatio: ratio(used, total),
    freeMemoryRatio: ratio(free, total),
    gpuUtilization: percent(gpu.utilizationRatio),
    memoryUtilization: percent(gpu.memoryUtilizationRatio),
    temperature: gpu.temperatureCelsius,
    powerUsage: gpu.powerDrawWatts,
    powerLimit: gpu.powerLimitWatts,
    unit,
  };
}

const boardsOf = ({ gpus }: Snapshot): readonly Gpu[] => gpus.filter(({ parentUuid }) => parentUuid === undefined);

function loadedModels({ models }: Snapshot): readonly (Model & { readonly loaded: LoadedModel })[] {
  return models.flatMap((model) => (model.loaded ? [{ ...model, loaded: model.loaded }] : []));
}

function words({ digest = "", sizeBytes, sizeVramBytes, expiresAtMs }: LoadedModel, nowMs: number) {
  return {
    id: digest.slice(0, 12),
    size: sizeBytes === undefined ? "Unknown" : humanBytes(sizeBytes),
    processor: processorShare(sizeBytes, sizeVramBytes),
    until: untilWords(expiresAtMs, nowMs),
  };
}

function boardWithMost(gpus: ModelGpuUsage["gpus"]): number | undefined {
  const sums = new Map<number, number>();
  for (const { gpuId, vramBytes } of gpus) sums.set(gpuId, (sums.get(gpuId) ?? 0) + vramBytes);
  return [...sums].sort(([, a], [, b]) => b - a)[0]?.[0];
}

const inUnit = (bytes: number | undefined, unit: ByteUnit): number | undefined =>
  bytes === undefined ? undefined : convertByteUnit(bytes, "B", unit);

const percent = (value: number | undefined): number | undefined =>
  value === undefined ? undefined : Math.round(value * 100);

const ratio = (part: number | undefined, whole: number | undefined): number | undefined =>
  part === undefined || whole === undefined || whole === 0 ? undefined : part / whole;
