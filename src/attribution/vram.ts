import type { Gpu, GpuProcess, LoadedModel, ModelVram, NvmlReading, Runner } from "../snapshot.ts";
import { sumMemory, type ListedGpu, type Placement } from "./listed.ts";

/** What the driver measures of a model's runners, one entry per GPU that lists one of them, in the driver's order. */
export function measuredVram(
  placements: ReadonlyMap<number, readonly Placement[]>,
  runners: readonly Runner[],
): readonly ModelVram[] {
  const own = runners.flatMap(({ pid }) => placements.get(pid) ?? []);
  const byPosition = [...Map.groupBy(own, ({ position }) => position)].sort(([a], [b]) => a - b);
  return byPosition.flatMap(([, [first, ...others]]) => {
    if (!first) return [];
    const processes = [first, ...others].map(({ process }) => process);
    const bytes = total(processes, ({ memoryBytes }) => memoryBytes);
    const utilization = total(processes, ({ smUtilizationRatio }) => smUtilizationRatio);
    return {
      gpu: first.gpu.gpu,
      uuid: first.gpu.uuid,
      ...(bytes !== undefined && { bytes }),
      ...(utilization !== undefined && { utilizationRatio: Math.min(1, utilization) }),
    };
  });
}

export interface ReportedInput {
  readonly nvml: NvmlReading;
  readonly listed: readonly ListedGpu[];
  /** The exporter cannot see other containers' processes. */
  readonly blind: boolean;
}

/**
 * The GPU that Ollama's own number can only mean, where the driver gives no memory per process (WSL, no access to PIDs);
 * undefined otherwise.
 */
export function reportableGpu({ nvml, listed, blind }: ReportedInput): Gpu | undefined {
  const [only, another] = listed;
  if (nvml.boardCount !== 1 || !only || another || only.isInMigMode || hasProcessMemory(only, blind)) return undefined;
  return only.gpu;
}

/** Ollama's own number in place of the measured one. The server must be on this host. */
export function reportedVram(
  { gpu, uuid }: Gpu,
  { sizeVramBytes }: LoadedModel,
  measured: readonly ModelVram[] | undefined,
): readonly ModelVram[] | undefined {
  if (sizeVramBytes === undefined) return undefined;
  return [{ ...measured?.find((entry) => entry.gpu === gpu), gpu, uuid, bytes: sizeVramBytes }];
}

/** An empty list is an answer too, unless the driver hides other namespaces' processes from the exporter. */
function hasProcessMemory({ processes }: ListedGpu, blind: boolean): boolean {
  if (processes === undefined || (blind && processes.length === 0)) return false;
  return sumMemory(processes) !== undefined;
}

/** A sum with an unknown part is unknown. */
function total(
  processes: readonly GpuProcess[],
  read: (process: GpuProcess) => number | undefined,
): number | undefined {
  return processes
    .map(read)
    .reduce((sum, value) => (sum === undefined || value === undefined ? undefined : sum + value), 0);
}
