/** The original class's snake_case JSON, null for unknown; and the whole snapshot for /api/v1/status. */
import type { Snapshot } from "../../snapshot.ts";
import { type Condition, conditionsOf } from "./conditions.ts";
import { hintsOf } from "./hints.ts";
import {
  type GpuMatchQuality,
  type GpuStatus,
  gpuStatuses,
  type ModelGpuUsage,
  modelGpuUsages,
  type OllamaProcess,
  ollamaProcesses,
  type UsageOptions,
} from "./status.ts";

export interface GpuJson {
  readonly gpu_id: number;
  readonly gpu_name: string;
  readonly total_memory: number | null;
  readonly used_memory: number | null;
  readonly free_memory: number | null;
  readonly used_memory_ratio: number | null;
  readonly free_memory_ratio: number | null;
  readonly gpu_utilization: number | null;
  readonly memory_utilization: number | null;
  readonly temperature: number | null;
  readonly power_usage: number | null;
  readonly power_limit: number | null;
  readonly unit: string;
}

export interface ProcessJson {
  readonly name: string;
  readonly id: string;
  readonly size: string;
  readonly processor: string;
  readonly until: string;
}

export interface ModelUsageJson {
  readonly model_name: string;
  readonly model_id: string;
  readonly size: string;
  readonly processor: string;
  readonly until: string;
  readonly gpu_info: GpuJson | null;
  readonly gpus: readonly { readonly gpu_id: number; readonly uuid: string; readonly vram_bytes: number }[];
  readonly gpu_match_quality: GpuMatchQuality;
  /** These four only when known; the original class has none of them. */
  readonly slots?: number;
  readonly slots_busy?: number;
  readonly tokens_per_second?: number;
  readonly power_watts?: number;
}

/** What toDict() returns. */
export interface StatusDict {
  /** Unix seconds. */
  readonly timestamp: number;
  readonly ollama_processes: readonly ProcessJson[];
  readonly gpu_status: readonly GpuJson[];
  readonly model_gpu_usage: readonly ModelUsageJson[];
}

export function toStatusDict(snapshot: Snapshot, options: UsageOptions): StatusDict {
  return {
    timestamp: snapshot.takenAtMs / 1000,
    ollama_processes: ollamaProcesses(snapshot, options.nowMs).map(toProcessJson),
    gpu_status: gpuStatuses(snapshot, options.unit).map(toGpuJson),
    model_gpu_usage: modelGpuUsages(snapshot, options).map(toUsageJson),
  };
}

export function toGpuJson(gpu: GpuStatus): GpuJson {
  return {
    gpu_id: gpu.gpuId,
    gpu_name: gpu.gpuName,
    total_memory: gpu.totalMemory ?? null,
    used_memory: gpu.usedMemory ?? null,
    free_memory: gpu.freeMemory ?? null,
    used_memory_ratio: gpu.usedMemoryRatio ?? null,
    free_memory_ratio: gpu.freeMemoryRatio ?? null,
    gpu_utilization: gpu.gpuUtilization ?? null,
    memory_utilization: gpu.memoryUtilization ?? null,
    temperature: gpu.temperature ?? null,
    power_usage: gpu.powerUsage ?? null,
    power_limit: gpu.powerLimit ?? null,
    unit: gpu.unit,
  };
}

export const toProcessJson = ({ name, id, size, processor, until }: OllamaProcess): ProcessJson => ({
  name,
  id,
  size,
  processor,
  until,
});

function toUsageJson(usage: ModelGpuUsage): ModelUsageJson {
  const { slots, slotsBusy, tokensPerSecond, powerWatts } = usage;
  return {
    model_name: usage.modelName,
    model_id: usage.modelId,
    size: usage.size,
    processor: usage.processor,
    until: usage.until,
    gpu_info: usage.gpuInfo ? toGpuJson(usage.gpuInfo) : null,
    gpus: usage.gpus.map(({ gpuId, uuid, vramBytes }) => ({ gpu_id: gpuId, uuid, vram_bytes: vramBytes })),
    gpu_match_quality: usage.gpuMatchQuality,
    ...(slots !== undefined && { slots }),
    ...(slotsBusy !== undefined && { slots_busy: slotsBusy }),
    ...(tokensPerSecond !== undefined && { tokens_per_second: tokensPerSecond }),
    ...(powerWatts !== undefined && { power_watts: powerWatts }),
  };
}

/** What /api/v1/status answers. */
export type SnapshotJson = Snapshot & { readonly conditions: readonly Condition[]; readonly hints: readonly string[] };

/** The snapshot is plain data already; an expiry that never comes (+Inf) becomes null in JSON. */
export const snapshotJson = (snapshot: Snapshot): SnapshotJson => ({
  ...snapshot,
  conditions: conditionsOf(snapshot),
  hints: hintsOf(snapshot),
});
