/** The status as text: what `status` and formatStatus() print. */
import type { Snapshot } from "../../snapshot.ts";
import type { ByteUnit } from "../../units.ts";
import { type GpuStatus, gpuStatuses, type OllamaProcess, ollamaProcesses } from "./status.ts";

export interface StatusTextOptions {
  readonly unit: ByteUnit;
  readonly includeGpu: boolean;
  readonly includeTimestamp: boolean;
  readonly nowMs: number;
}

const WIDTHS = [25, 15, 10, 15, 20];
const HEADINGS = ["NAME", "ID", "SIZE", "PROCESSOR", "UNTIL"];
const UNKNOWN = "n/a";

/** Lines end in a newline; local time. */
export function formatStatusText(snapshot: Snapshot, options: StatusTextOptions): string {
  const { unit, includeGpu, includeTimestamp, nowMs } = options;
  const lines = [
    ...(includeTimestamp ? [`STATUS AS OF: ${localTime(snapshot.takenAtMs)}`, ""] : []),
    ...processLines(ollamaProcesses(snapshot, nowMs)),
    ...(includeGpu ? ["", "GPU STATUS:", "─".repeat(50), ...gpuLines(snapshot, unit)] : []),
  ];
  return `${lines.join("\n").replace(/\n+$/, "")}\n`;
}

function processLines(processes: readonly OllamaProcess[]): readonly string[] {
  if (processes.length === 0) return ["NO OLLAMA PROCESSES RUNNING."];
  const rows = processes.map(({ name, id, size, processor, until }) => [name, id, size, processor, until]);
  return ["OLLAMA PROCESSES:", columns(HEADINGS), "─".repeat(85), ...rows.map(columns)];
}

/** As Python's "{:<25} {:<15} {:<10} {:<15} {:<20}"; a control character in a name must not reach the terminal. */
function columns(cells: readonly string[]): string {
  return cells.map((cell, index) => cell.replace(/\p{Cc}/gu, "?").padEnd(WIDTHS[index] ?? 0)).join(" ");
}

function gpuLines(snapshot: Snapshot, unit: ByteUnit): readonly string[] {
  const gpus = gpuStatuses(snapshot, unit);
  if (gpus.length > 0) return gpus.flatMap(gpuLine);
  const reason = snapshot.collectors.find(({ collector }) => collector === "nvml")?.error;
  return [`${UNKNOWN}: ${reason ?? "no NVIDIA GPU, or its driver library does not load"}`];
}

function gpuLine(gpu: GpuStatus): readonly string[] {
  const { gpuId, gpuName, usedMemory, totalMemory, usedMemoryRatio, unit, powerUsage, powerLimit } = gpu;
  const powerShare = powerUsage === undefined || !powerLimit ? undefined : powerUsage / powerLimit;
  return [
    `GPU ${gpuId}: ${gpuName === "" ? UNKNOWN : gpuName}`,
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
