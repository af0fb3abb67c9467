/**
 * The vocabulary of the project: what one reading of a machine looks like, in base units.
 * Everything is readonly plain data. An absent property means unknown: never 0, never null, never a sentinel.
 */

import type { OwnMetrics, RequestCounters, RunnerEndpoints } from "./snapshot/requests.ts";

export type { OwnMetrics, RequestCounters, RunnerEndpoints } from "./snapshot/requests.ts";

/** The three lists in which the driver names processes (nvml.h: nvmlDeviceGet{Compute,Graphics,MPSCompute}RunningProcesses). */
export const PROCESS_KINDS = ["compute", "graphics", "mps"] as const;
export type ProcessKind = (typeof PROCESS_KINDS)[number];

/** One process on one GPU, as the driver lists it. */
export interface GpuProcess {
  readonly pid: number;
  readonly kinds: readonly ProcessKind[];
  /** Largest value over the lists; absent where the driver gives none (WSL, no PID access). */
  readonly memoryBytes?: number;
  /** Newest valid sample, 0..1; 0 = listed but idle; absent where process utilisation is not supported. */
  readonly smUtilizationRatio?: number;
}

/** A value per named part, for instance per fan, clock or reason. */
export type ByName = Readonly<Record<string, number>>;

/** A GPU board or a MIG instance. Properties are named for their catalogue family without the `gpu_` prefix. */
export interface Gpu {
  /** `"0"` for a board, `"0:1"` for MIG instance 1 on it. */
  readonly gpu: string;
  /** NVML index of the board. */
  readonly index: number;
  /** NVML UUID; empty for a GPU that was lost before it was ever read. */
  readonly uuid: string;
  /** Present on a MIG instance: the UUID of its board. */
  readonly parentUuid?: string;
  /** False when the driver answers GPU_IS_LOST or RESET_REQUIRED: then only the identity below is present. */
  readonly up: boolean;
  /** Why it is not up: the NVML name of the code. */
  readonly lostReason?: string;
  readonly name?: string;
  readonly vendor: string;
  readonly driverVersion?: string;
  readonly cudaVersion?: string;
  readonly vbiosVersion?: string;
  readonly pciBusId?: string;
  readonly computeCapability?: string;
  readonly migProfile?: string;

  readonly memoryTotalBytes?: number;
  readonly memoryUsedBytes?: number;
  readonly memoryFreeBytes?: number;
  readonly memoryReservedBytes?: number;
  readonly bar1MemoryTotalBytes?: number;
  readonly bar1MemoryUsedBytes?: number;
  readonly utilizationRatio?: number;
  readonly memoryUtilizationRatio?: number;
  readonly encoderUtilizationRatio?: number;
  readonly decoderUtilizationRatio?: number;
  readonly jpegUtilizationRatio?: number;
  readonly ofaUtilizationRatio?: number;
  /** These four are means over the time since the last reading; of a MIG instance, its GPU instance's. */
  readonly smActiveRatio?: number;
  readonly smOccupancyRatio?: number;
  readonly tensorActiveRatio?: number;
  readonly dramActiveRatio?: number;
  readonly temperatureCelsius?: number;
  readonly memoryTemperatureCelsius?: number;
  /** By threshold: shutdown, slowdown, memory_max, gpu_max. */
  readonly temperatureThresholdCelsius?: ByName;
  readonly temperatureMarginCelsius?: number;
  readonly powerDrawWatts?: number;
  readonly powerInstantWatts?: number;
  readonly powerLimitWatts?: number;
  readonly powerEnforcedLimitWatts?: number;
  readonly powerDefaultLimitWatts?: number;
  readonly powerMinLimitWatts?: number;
  readonly powerMaxLimitWatts?: number;
  /** Since the driver was loaded. */
  readonly energyJoules?: number;
  /** By clock: graphics, sm, memory, video. */
  readonly clockHertz?: ByName;
  readonly clockMaxHertz?: ByName;
  /** By reason, 0 or 1 for every known bit. */
  readonly clockEventReasonActive?: ByName;
  readonly clockEventSeconds?: ByName;
  readonly performanceState?: number;
  /** By fan index. */
  readonly fanSpeedRatio?: ByName;
  readonly pcieLinkGeneration?: number;
  readonly pcieLinkGenerationMax?: number;
  readonly pcieLinkWidth?: number;
  readonly pcieLinkWidthMax?: number;
  readonly pcieReplays?: number;
  readonly pcieReceiveBytes?: number;
  readonly pcieTransmitBytes?: number;
  readonly nvlinkReceiveBytes?: number;
  readonly nvlinkTransmitBytes?: number;
  readonly eccModeEnabled?: number;
  /** By `type/counter`, for instance `corrected/volatile`. */
  readonly eccErrors?: ByName;
  /** By type: corrected, uncorrected. */
  readonly remappedRows?: ByName;
  readonly rowRemapPending?: number;
  readonly rowRemapFailure?: number;
  readonly retiredPagesPending?: number;
  /** Name of the current action, `unknown` for a code this version does not know. */
  readonly recoveryAction?: string;
  readonly migModeEnabled?: number;
  readonly persistenceModeEnabled?: number;

  /** XID events by code since the exporter started; absent where the GPU has no XID events. */
  readonly xidErrors?: ByName;
  /** Unix seconds of the last event by code, only for codes seen. */
  readonly xidLastTimestampSeconds?: ByName;

  /** Number of processes per kind; a kind whose list cannot be read is absent. */
  readonly processCounts?: ByName;
  /** Absent when the compute list cannot be read. Sorted by PID, each PID once. */
  readonly processes?: readonly GpuProcess[];
}

/** Errors of driver calls since the worker's last reading: one entry per function and code. */
export interface NvmlCallError {
  readonly function: string;
  readonly code: string;
  readonly count: number;
}

/** Energy and work of one board at one moment. */
export interface EnergySample {
  readonly uuid: string;
  /** Of a clock that never steps back and outlives the worker. */
  readonly atSeconds: number;
  /** Of the board's counter, since the driver was loaded; absent on boards without one. */
  readonly energyJoules?: number;
  /** Only where there is no counter. */
  readonly powerWatts?: number;
  /** Work since the last sample: PID and the sum of its SM utilisation samples; empty = idle, absent = not supported. */
  readonly busy?: readonly (readonly [pid: number, weight: number])[];
}

/** Energy of one board since the exporter started, by whom it was used. The three parts sum to the counter's growth. */
export interface GpuEnergy {
  readonly gpu: string;
  readonly uuid: string;
  readonly ollamaJoules: number;
  readonly otherJoules: number;
  readonly idleJoules: number;
  /** Lowest power seen while no process was active; absent until then, and nothing counts as idle beside work. */
  readonly idleFloorWatts?: number;
  /** Where the energy comes from: the board's counter, or its power integrated over time. */
  readonly source: "counter" | "power";
}

/** Active energy of a model's runners on one GPU. */
export interface ModelEnergy {
  readonly gpu: string;
  /** Since the exporter started. */
  readonly joules: number;
  /** Mean over the time since the last reading; absent before the second one. */
  readonly watts?: number;
}

/** One reading of the driver. */
export interface NvmlReading {
  /** Boards in index order, each followed by its MIG instances; filtered by --gpu.include. */
  readonly gpus: readonly Gpu[];
  /** Physical boards in the machine, the excluded ones too. */
  readonly boardCount: number;
  readonly callErrors: readonly NvmlCallError[];
  /** Since the last reading; of each board in order of time. */
  readonly energySamples?: readonly EnergySample[];
}

/** What /api/ps says about a loaded model (api/types.go: ProcessModelResponse). */
export interface LoadedModel {
  readonly name: string;
  /** Manifest digest, 64 hex without prefix. */
  readonly digest?: string;
  readonly family?: string;
  readonly parameterSize?: string;
  readonly quantization?: string;
  readonly format?: string;
  /** CPU + GPU bytes as Ollama reports. */
  readonly sizeBytes?: number;
  readonly sizeVramBytes?: number;
  readonly contextTokens?: number;
  /** Unix milliseconds; Infinity = never unloads (more than 100 years ahead). */
  readonly expiresAtMs?: number;
  /** sha256 of the model's blob: 64 hex of the first FROM line of /api/show's modelfile. Absent for MLX models and when show failed. */
  readonly blobDigest?: string;
}

/** What /api/tags says about an installed model. */
export interface InstalledModel {
  readonly name: string;
  readonly digest?: string;
  readonly family?: string;
  readonly parameterSize?: string;
  readonly quantization?: string;
  readonly format?: string;
  readonly fileBytes?: number;
  readonly modifiedAtMs?: number;
}

/** One reading of one Ollama server. Names are unique within each list. */
export interface OllamaReading {
  readonly version?: string;
  /** At most 1,000 models over both lists, loaded ones first. */
  readonly loaded: readonly LoadedModel[];
  /** Absent when /api/tags failed. */
  readonly installed?: readonly InstalledModel[];
  /** Counts before the limit of 1,000. */
  readonly loadedCount: number;
  readonly installedCount?: number;
  /** Models left out of this reading beyond the limit. */
  readonly dropped: number;
  /** Absent when the server has no /metrics of its own, or is not asked for it. */
  readonly ownMetrics?: OwnMetrics;
}

/** How to reach a server and how it is named in labels. */
export interface ServerIdentity {
  /** `host:port`, or the name given with --ollama.host=NAME=URL. */
  readonly server: string;
  /** Host name or address to connect to; absent for a unix socket. */
  readonly host?: string;
  readonly port?: number;
  /** True for loopback, a unix socket or an address of this host. */
  readonly local: boolean;
}

/** A process that runs a model for Ollama. */
export interface Runner {
  readonly pid: number;
  readonly parentPid: number;
  /** blob = `--model` names a blob; name = MLX or image runner, `--model` is a short name; unknown = a model without a readable digest. */
  readonly kind: "blob" | "name" | "unknown";
  /** 64 hex, for kind blob. */
  readonly blobDigest?: string;
  /** The short name, for kind name. */
  readonly modelName?: string;
  /** From argv; the runner's own HTTP port. */
  readonly port?: number;
  /** It is llama.cpp's server (Ollama 0.30 and later), which answers /slots and /metrics there. */
  readonly hasEndpoints?: true;
  /** Absent when they were not read. */
  readonly endpoints?: RunnerEndpoints;
  /** Its server is gone. */
  readonly orphaned: boolean;
  /** TCP ports on which the parent listens; absent when unreadable. */
  readonly parentListenPorts?: readonly number[];
  readonly startTimeSeconds?: number;
  /** Since the machine's start: tells the process from a later one with its PID, whatever the wall clock does. */
  readonly startTicks?: number;
  readonly residentMemoryBytes?: number;
  readonly cpuSeconds?: number;
}

/** One reading of the process table. */
export interface ProcessesReading {
  /** Sorted by PID. */
  readonly runners: readonly Runner[];
  /** Every process recognised as Ollama's: runners, orphans, discovery runners, servers. */
  readonly ollamaPids: ReadonlySet<number>;
  /** The exporter cannot see other containers' processes. */
  readonly blind: boolean;
}

/** What /proc says about one PID the driver listed. */
export interface ProcessDetail {
  /** /proc/PID/comm; empty when unreadable. */
  readonly process: string;
  /** First 12 hex or empty. */
  readonly containerId: string;
  /** Name, else the numeric id, else empty. */
  readonly user: string;
}

export const ATTRIBUTION_METHODS = ["pid", "name", "sole", "reported", "none"] as const;
export type AttributionMethod = (typeof ATTRIBUTION_METHODS)[number];

/** A loaded or installed model with everything known about it. */
export interface Model {
  readonly server: string;
  readonly name: string;
  readonly loaded?: LoadedModel;
  readonly installed?: InstalledModel;
  /** The rest is present for loaded models only. */
  readonly method?: AttributionMethod;
  /** The driver's (or, for method reported, Ollama's) bytes by GPU label. */
  readonly vram?: readonly ModelVram[];
  /** Runner processes joined to the model. */
  readonly runners?: readonly Runner[];
  /** Server on this host only. */
  readonly runnerUp?: number;
  /** The server's own counters, where no runner is asked for its. */
  readonly requestCounters?: RequestCounters;
  /** By GPU; installed models too, once they have used some. */
  readonly energy?: readonly ModelEnergy[];
}

export interface ModelVram {
  readonly gpu: string;
  readonly uuid: string;
  readonly bytes?: number;
  /** Sum of the runners' SM utilisation, capped at 1. */
  readonly utilizationRatio?: number;
}

/** One monitored server in a snapshot. */
export interface OllamaServer {
  readonly server: string;
  readonly up: boolean;
  /** By address, or because one of its models was joined to a runner seen here. */
  readonly onThisHost: boolean;
  readonly version?: string;
  readonly loadedCount?: number;
  readonly installedCount?: number;
  /** Runners of this server that no model in /api/ps was joined to; server on this host only. */
  readonly loadingCount?: number;
  /** Families of a /metrics of its own that are used; absent when it has none. */
  readonly ownMetrics?: readonly string[];
}

/** VRAM by owner on one GPU (family gpu_memory_owner_bytes). */
export interface GpuOwners {
  readonly gpu: string;
  readonly uuid: string;
  readonly ollamaBytes: number;
  readonly otherBytes: number;
  readonly unattributedBytes?: number;
  /** Of the ollama bytes: held by runners whose server is gone. */
  readonly orphanedBytes: number;
}

/** A row of the gpu_process_* families. */
export interface GpuProcessEntry extends ProcessDetail {
  readonly gpu: string;
  readonly pid: number;
  readonly owner: "ollama" | "other";
  readonly memoryBytes?: number;
  readonly smUtilizationRatio?: number;
}

/** Load and unload transitions of one model since the exporter started. */
export interface ModelTransitions {
  readonly server: string;
  readonly name: string;
  readonly loads: number;
  readonly unloads: number;
}

/** How one source did in the collection that made the snapshot. */
export interface CollectorHealth {
  readonly collector: "nvml" | "ollama" | "processes";
  readonly target: string;
  readonly success: boolean;
  readonly durationSeconds: number;
  readonly lastSuccessTimestampSeconds?: number;
  /** In words, when not successful. */
  readonly error?: string;
  /** Finished readings since start, by result ok, failed, timeout. */
  readonly collections: ByName;
}

/** Everything known about the machine at one moment: immutable, data apart from health. */
export interface Snapshot {
  /** Unix milliseconds from which everything counts that is counted here and not by the driver or a process. */
  readonly startedAtMs: number;
  /** Unix milliseconds when the collection finished. */
  readonly takenAtMs: number;
  readonly gpus: readonly Gpu[];
  readonly owners: readonly GpuOwners[];
  readonly energy: readonly GpuEnergy[];
  readonly processes: readonly GpuProcessEntry[];
  readonly servers: readonly OllamaServer[];
  readonly models: readonly Model[];
  readonly transitions: readonly ModelTransitions[];
  /** Absent when the process table could not be read. */
  readonly orphanedRunners?: number;
  readonly collectors: readonly CollectorHealth[];
  /** Since start. */
  readonly nvmlRestarts: number;
  readonly nvmlCallErrors: readonly NvmlCallError[];
  readonly dropped: { readonly models: number; readonly processes: number };
}
