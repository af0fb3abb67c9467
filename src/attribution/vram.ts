import type { GpuProcess, LoadedModel, ModelVram, NvmlReading, Runner } from "../snapshot.ts";
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
  readonly measured: readonly ModelVram[] | undefined;
  readonly loaded: LoadedModel;
  readonly blind: boolean;
}

/**
 * Ollama's own number, where it can mean one GPU only and the driver gives no memory per process (WSL, no access to
 * PIDs); undefined otherwise. The server must be on this host.
 */
export function reportedVram(input: ReportedInput): readonly ModelVram[] | undefined {
  const { nvml, listed, measured, loaded, blind } = input;
  const [only, another] = listed;
  if (nvml.boardCount !== 1 || !only || another || only.isInMigMode || loaded.sizeVramBytes === undefined)
    return undefined;
  if (hasProcessMemory(only, blind)) return undefined;
  const { gpu, uuid } = only.gpu;
  return [{ ...measured?.find((entry) => entry.gpu === gpu), gpu, uuid, bytes: loaded.sizeVramBytes }];
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
