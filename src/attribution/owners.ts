import type { GpuOwners, GpuProcessEntry, ProcessDetail, ProcessesReading } from "../snapshot.ts";
import { sumMemory, type ListedGpu } from "./listed.ts";

/** Whose processes become gpu_process_* series. */
export type ProcessSelection = "ollama" | "all" | "none";

/** Most entries in one snapshot. */
export const PROCESS_LIMIT = 1_000;

const UNKNOWN: ProcessDetail = { process: "", containerId: "", user: "" };

/** VRAM by owner, for every GPU whose list and memory per process are known; a board in MIG mode leaves it to its instances. */
export function gpuOwners(listed: readonly ListedGpu[], table: ProcessesReading): readonly GpuOwners[] {
  const orphans = new Set(table.runners.filter(({ orphaned }) => orphaned).map(({ pid }) => pid));
  return listed.flatMap(({ gpu, processes, isInMigMode }) => {
    if (processes === undefined || isInMigMode || sumMemory(processes) === undefined) return [];
    const sumOf = (belongs: (pid: number) => boolean): number =>
      sumMemory(processes.filter(({ pid }) => belongs(pid))) ?? 0;
    const ollamaBytes = sumOf((pid) => table.ollamaPids.has(pid));
    const otherBytes = sumOf((pid) => !table.ollamaPids.has(pid));
    const used = gpu.memoryUsedBytes;
    return [
      {
        gpu: gpu.gpu,
        uuid: gpu.uuid,
        ollamaBytes,
        otherBytes,
        ...(used !== undefined && { unattributedBytes: Math.max(0, used - ollamaBytes - otherBytes) }),
        orphanedBytes: sumOf((pid) => orphans.has(pid)),
      },
    ];
  });
}

export interface EntriesInput {
  readonly listed: readonly ListedGpu[];
  readonly processes?: ProcessesReading;
  readonly details: ReadonlyMap<number, ProcessDetail>;
  readonly show: ProcessSelection;
}

/** Rows of the gpu_process_* families by GPU and PID. Beyond the limit Ollama's are kept first. */
export function gpuProcessEntries(input: EntriesInput): { entries: readonly GpuProcessEntry[]; dropped: number } {
  const { listed, processes: table, details, show } = input;
  if (show === "none") return { entries: [], dropped: 0 };
  const all = listed.flatMap(({ gpu, processes = [] }) =>
    processes
      .map(({ pid, memoryBytes, smUtilizationRatio }): GpuProcessEntry => ({
        ...(details.get(pid) ?? UNKNOWN),
        gpu: gpu.gpu,
        pid,
        owner: table?.ollamaPids.has(pid) ? "ollama" : "other",
        ...(memoryBytes !== undefined && { memoryBytes }),
        ...(smUtilizationRatio !== undefined && { smUtilizationRatio }),
      }))
      .sort((a, b) => a.pid - b.pid),
  );
  const shown = show === "all" ? all : all.filter(({ owner }) => owner === "ollama");
  if (shown.length <= PROCESS_LIMIT) return { entries: shown, dropped: 0 };
  const owned = (owner: GpuProcessEntry["owner"]): readonly GpuProcessEntry[] =>
    shown.filter((entry) => entry.owner === owner);
  const kept = new Set([...owned("ollama"), ...owned("other")].slice(0, PROCESS_LIMIT));
  return { entries: shown.filter((entry) => kept.has(entry)), dropped: shown.length - PROCESS_LIMIT };
}
