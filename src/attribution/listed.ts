import type { Gpu, GpuProcess } from "../snapshot.ts";

/** A readable GPU with the processes that count for it. */
export interface ListedGpu {
  readonly gpu: Gpu;
  /** Absent when the driver's list cannot be read. */
  readonly processes?: readonly GpuProcess[];
  /** The board's processes and memory are its instances' affair. */
  readonly isInMigMode: boolean;
}

/** Processes by GPU, in the driver's order; one that a board and its MIG instance both name counts for the instance. */
export function listGpuProcesses(gpus: readonly Gpu[]): readonly ListedGpu[] {
  const instancesOf = Map.groupBy(
    gpus.filter(({ up }) => up),
    ({ parentUuid }) => parentUuid,
  );
  return gpus
    .filter(({ up }) => up)
    .map((gpu) => {
      const instances = gpu.parentUuid === undefined ? (instancesOf.get(gpu.uuid) ?? []) : [];
      const claimed = new Set(instances.flatMap(({ processes = [] }) => processes.map(({ pid }) => pid)));
      const processes = gpu.processes?.filter(({ pid }) => !claimed.has(pid));
      const isInMigMode = gpu.parentUuid === undefined && (gpu.migModeEnabled === 1 || instances.length > 0);
      return { gpu, isInMigMode, ...(processes && { processes }) };
    });
}

/** Where a process is on one GPU. */
export interface Placement {
  /** In the list of GPUs. */
  readonly position: number;
  readonly gpu: Gpu;
  readonly process: GpuProcess;
}

/** Every GPU that a process is on, by PID. */
export function placementsByPid(listed: readonly ListedGpu[]): ReadonlyMap<number, readonly Placement[]> {
  const all = listed.flatMap(({ gpu, processes = [] }, position) =>
    processes.map((process): Placement => ({ position, gpu, process })),
  );
  return Map.groupBy(all, ({ process }) => process.pid);
}

/** Sum of the memory that is known; undefined when processes are listed and none has memory. */
export function sumMemory(processes: readonly GpuProcess[]): number | undefined {
  const known = processes.map(({ memoryBytes }) => memoryBytes).filter((bytes) => bytes !== undefined);
  if (known.length === 0 && processes.length > 0) return undefined;
  return known.reduce((sum, bytes) => sum + bytes, 0);
}
