/** The status as text: what `status` and formatStatus() print. */
import { plain } from "../../lib/visible.ts";
import type { Condition } from "./conditions.ts";
import type { Snapshot } from "../../snapshot.ts";
import type { ByteUnit } from "../../units.ts";
import { hintsOf } from "./hints.ts";
import {
  type GpuStatus,
  gpuStatuses,
  type ModelGpuUsage,
  modelGpuUsages,
  type OllamaProcess,
  ollamaProcesses,
} from "./status.ts";

export interface StatusTextOptions {
  readonly unit: ByteUnit;
  readonly includeGpu: boolean;
  readonly includeTimestamp: boolean;
  readonly nowMs: number;
}

const WIDTHS = [25, 15, 10, 15, 20];
const HEADINGS = ["NAME", "ID", "SIZE", "PROCESSOR", "UNTIL"];
const WORK_WIDTHS = [25, 10, 12, 12];
const WORK_HEADINGS = ["NAME", "BUSY SLOTS", "TOKENS/S", "POWER"];
const UNKNOWN = "n/a";

/** Lines end in a newline; local time. */
export function formatStatusText(snapshot: Snapshot, options: StatusTextOptions): string {
  const { unit, includeGpu, includeTimestamp, nowMs } = options;
  const lines = [
    ...(includeTimestamp ? [`STATUS AS OF: ${localTime(snapshot.takenAtMs)}`, ""] : []),
    ...processLines(ollamaProcesses(snapshot, nowMs)),
    ...(includeGpu ? ["", "GPU STATUS:", "─".repeat(50), ...gpuLines(snapshot, unit)] : []),
  ];
  const original = lines.join("\n").replace(/\n+$/, "");
  const work = workLines(modelGpuUsages(snapshot, { unit, nowMs })).join("\n");
  return `${[original, ...(work === "" ? [] : [work]), ...hintsOf(snapshot).map(plain)].join("\n\n")}\n`;
}

/** What `status` prints below it: nothing when all is well. */
export function formatConditionsText(conditions: readonly Condition[]): string {
  if (conditions.length === 0) return "";
  const lines = conditions.map(({ name, labels }) => {
    const of = Object.entries(labels).map(([label, value]) => `${label}=${plain(value)}`);
    return [name, ...of].join(" ");
  });
  return `\nCONDITIONS:\n${"─".repeat(50)}\n${lines.join("\n")}\n`;
}

function processLines(processes: readonly OllamaProcess[]): readonly string[] {
  if (processes.length === 0) return ["NO OLLAMA PROCESSES RUNNING."];
  const rows = processes.map(({ name, id, size, processor, until }) => [name, id, size, processor, until]);
  const table = [HEADINGS, ...rows].map((cells) => columns(cells, WIDTHS));
  return ["OLLAMA PROCESSES:", ...table.slice(0, 1), "─".repeat(85), ...table.slice(1)];
}

/** What the models do now, below everything that the original class prints; nothing of it is known of an older Ollama elsewhere. */
function workLines(usages: readonly ModelGpuUsage[]): readonly string[] {
  const rows = usages.flatMap(({ modelName, slots, slotsBusy, tokensPerSecond, powerWatts }) => {
    if (slots === undefined && tokensPerSecond === undefined && powerWatts === undefined) return [];
    const busy = slots === undefined || slotsBusy === undefined ? UNKNOWN : `${slotsBusy}/${slots}`;
    return [[modelName, busy, tokensPerSecond?.toFixed(1) ?? UNKNOWN, known(powerWatts?.toFixed(2), "W")]];
  });
  if (rows.length === 0) return [];
  const table = [WORK_HEADINGS, ...rows].map((cells) => columns(cells, WORK_WIDTHS));
  return ["MODELS AT WORK:", ...table.slice(0, 1), "─".repeat(62), ...table.slice(1)];
}

/** As Python's "{:<25} {:<15} {:<10} {:<15} {:<20}"; a control character in a name must not reach the terminal. */
function columns(cells: readonly string[], widths: readonly number[]): string {
  return cells.map((cell, index) => plain(cell).padEnd(widths[index] ?? 0)).join(" ");
}

function gpuLines(snapshot: Snapshot, unit: ByteUnit): readonly string[] {
  const gpus = gpuStatuses(snapshot, unit);
  if (gpus.length > 0) return gpus.flatMap(gpuLine);
  const reason = snapshot.collectors.find(({ collector }) => collector === "nvml")?.error;
  return [`${UNKNOWN}: ${plain(reason ?? "no NVIDIA GPU, or its driver library does not load")}`];
}

function gpuLine(gpu: GpuStatus): readonly string[] {
  const { gpuId, gpuName, usedMemory, totalMemory, usedMemoryRatio, unit, powerUsage, powerLimit } = gpu;
  const powerShare = powerUsage === undefined || !powerLimit ? undefined : powerUsage / powerLimit;
  return [
    `GPU ${gpuId}: ${gpuName === "" ? UNKNOWN : plain(gpuName)}`,
    `  Memory: ${decimals(usedMemory)}/${decimals(totalMemory)} ${unit} (${share(usedMemoryRatio)})`,
    `  Utilization: ${known(gpu.gpuUtilization, "%")}`,
    `  Temperature: ${known(gpu.temperature, "°C")}`,
    `  Power: ${known(powerUsage?.toFixed(2), "W")} / ${known(powerLimit?.toFixed(2), "W")} (${share(powerShare)})`,
    "",
  ];
}

const known = (value: number | string | undefined, unit: string): string =>
  value === undefined ? UNKNOWN : `${value}${unit}`;

const decimals = (value: number | undefined): string => value?.toFixed(2) ?? UNKNOWN;

const share = (ratio: number | undefined): string => (ratio === undefined ? UNKNOWN : `${(ratio * 100).toFixed(1)}%`);

function localTime(ms: number): string {
  const date = new Date(ms);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
