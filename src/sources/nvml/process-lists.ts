/** Which processes are on a GPU, with how much memory and how busy (the driver's process lists and utilisation samples). */
import { type GpuProcess, PROCESS_KINDS, type ProcessKind } from "../../snapshot.ts";
import { PROCESS_ENTRY, RC, UTILIZATION_SAMPLE } from "./abi.ts";
import { type Device, u64At } from "./device.ts";
import { UNSUPPORTED } from "./faults.ts";
import type { DriverLibrary } from "./library.ts";

const LIST_CALLS: Readonly<Record<ProcessKind, string>> = {
  compute: "nvmlDeviceGetComputeRunningProcesses",
  graphics: "nvmlDeviceGetGraphicsRunningProcesses",
  mps: "nvmlDeviceGetMPSComputeRunningProcesses",
};
const FIRST_CAPACITY = 64;
const MOST_ATTEMPTS = 4;

interface Listed {
  readonly pid: number;
  readonly memoryBytes: number | undefined;
}

/** The lists of one device by kind; a kind whose list cannot be read is absent. */
export type ProcessLists = ReadonlyMap<ProcessKind, readonly Listed[]>;

/** Reads the three lists. */
export function readProcessLists(device: Device): ProcessLists {
  const lists = new Map<ProcessKind, readonly Listed[]>();
  for (const kind of PROCESS_KINDS) {
    const list = readList(device, LIST_CALLS[kind]);
    if (list) lists.set(kind, list);
  }
  return lists;
}

/** The lists without the PIDs that count elsewhere: those of a board's MIG instances. */
export function without(lists: ProcessLists, pids: ReadonlySet<number>): ProcessLists {
  return new Map([...lists].map(([kind, list]) => [kind, list.filter(({ pid }) => !pids.has(pid))]));
}

/** Number of processes per kind that could be read. */
export function countsOf(lists: ProcessLists): Record<string, number> {
  return Object.fromEntries([...lists].map(([kind, list]) => [kind, new Set(list.map(({ pid }) => pid)).size]));
}

/** Each PID once, with its largest memory over the lists; undefined when the compute list cannot be read. */
export function processesOf(lists: ProcessLists): GpuProcess[] | undefined {
  if (!lists.has("compute")) return undefined;
  const byPid = new Map<number, { kinds: ProcessKind[]; memory: number | undefined }>();
  for (const [kind, list] of lists) {
    for (const { pid, memoryBytes } of list) {
      const known = byPid.get(pid) ?? { kinds: [], memory: undefined };
      if (!known.kinds.includes(kind)) known.kinds.push(kind);
      if (memoryBytes !== undefined) known.memory = Math.max(known.memory ?? 0, memoryBytes);
      byPid.set(pid, known);
    }
  }
  return [...byPid]
    .sort(([a], [b]) => a - b)
    .map(([pid, { kinds, memory }]) => ({ pid, kinds, ...(memory !== undefined && { memoryBytes: memory }) }));
}

/**
 * SM utilisation 0..1 by PID since the last reading, 0 for a listed PID without a new sample; undefined when the device
 * does not support it. The driver's buffer holds rows over 100 %, old rows and rows of PIDs long gone: they are dropped.
 */
export function readUtilization(
  device: Device,
  pids: ReadonlySet<number>,
  wallUs: number,
): ReadonlyMap<number, number> | undefined {
  const { memory } = device;
  if (memory.lastSampleUs > wallUs + 60_000_000) memory.lastSampleUs = 0; // the wall clock stepped back
  const samples = readSamples(device, memory.lastSampleUs);
  if (!samples) return undefined;
  const newest = new Map<number, { readonly at: number; readonly sm: number }>();
  for (const { pid, at, sm } of samples) {
    if (sm > 100 || at <= memory.lastSampleUs || !pids.has(pid)) continue;
    if (at >= (newest.get(pid)?.at ?? 0)) newest.set(pid, { at, sm });
  }
  memory.lastSampleUs = Math.max(memory.lastSampleUs, ...[...newest.values()].map(({ at }) => at));
  return new Map([...pids].map((pid) => [pid, (newest.get(pid)?.sm ?? 0) / 100]));
}

/**
 * How much each PID kept the multiprocessors busy since the last call of this function for the device: the sum of its samples, to be
 * compared with those of others; empty when idle, undefined when the device does not support it.
 */
export function readBusyShares(
  device: Device,
  wallUs: number,
): readonly (readonly [pid: number, weight: number])[] | undefined {
  const { memory } = device;
  if (memory.lastSampleUs > wallUs + 60_000_000) memory.lastSampleUs = 0; // the wall clock stepped back
  const since = memory.lastSampleUs;
  const samples = readSamples(device, since);
  if (!samples) return undefined;
  const weights = new Map<number, number>();
  for (const { pid, at, sm } of samples) {
    if (sm > 100 || at <= since || at > wallUs + 60_000_000) continue;
    memory.lastSampleUs = Math.max(memory.lastSampleUs, at);
    if (sm > 0) weights.set(pid, (weights.get(pid) ?? 0) + sm);
  }
  return [...weights];
}

/** Newest ABI first; v3 entries are 32 bytes long in the drivers 535.43 to 535.98. */
function versionsOf(library: DriverLibrary): readonly (readonly [suffix: string, stride: number])[] {
  const longEntries =
    library.has("nvmlDeviceGetConfComputeMemSizeInfo") && !library.has("nvmlDeviceGetRunningProcessDetailList");
  return [
    ["_v3", longEntries ? 32 : 24],
    ["_v2", 24],
    ["", 16],
  ];
}

function readList(device: Device, call: string): readonly Listed[] | undefined {
  for (const [suffix, stride] of versionsOf(device.context.library)) {
    const filled = readArray(device, { call: `${call}${suffix}`, size: PROCESS_ENTRY.largest, shape: "pp" });
    if (typeof filled === "number" && UNSUPPORTED.has(filled)) continue;
    if (typeof filled === "number") return undefined;
    return Array.from({ length: filled.count }, (_, index) => ({
      pid: filled.buffer.readUInt32LE(index * stride + PROCESS_ENTRY.pid),
      memoryBytes: u64At(filled.buffer, index * stride + PROCESS_ENTRY.memory),
    }));
  }
  return undefined;
}

function readSamples(device: Device, sinceUs: number) {
  const call = "nvmlDeviceGetProcessUtilization";
  const filled = readArray(device, { call, size: UTILIZATION_SAMPLE.size, shape: "ppl", since: BigInt(sinceUs) });
  if (filled === RC.notFound) return [];
  if (typeof filled === "number") return undefined;
  return Array.from({ length: filled.count }, (_, index) => {
    const entry = filled.buffer.subarray(index * UTILIZATION_SAMPLE.size);
    return {
      pid: entry.readUInt32LE(UTILIZATION_SAMPLE.pid),
      at: u64At(entry, UTILIZATION_SAMPLE.timestamp) ?? 0,
      sm: entry.readUInt32LE(UTILIZATION_SAMPLE.sm),
    };
  });
}

interface ArrayCall {
  readonly call: string;
  /** Bytes to reserve per entry. */
  readonly size: number;
  readonly shape: "pp" | "ppl";
  readonly since?: bigint;
}

/** A call that fills an array and its count; grows the array as asked. A return code when it did not succeed. */
function readArray(
  device: Device,
  { call, size, shape, since }: ArrayCall,
): number | { readonly count: number; readonly buffer: Buffer } {
  const count = Buffer.alloc(4);
  let capacity = FIRST_CAPACITY;
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    const buffer = Buffer.alloc(capacity * size);
    count.writeUInt32LE(capacity, 0);
    const args = since === undefined ? [count, buffer] : [buffer, count, since];
    const code = device.attempt(call, shape, args, [RC.insufficientSize, RC.notFound]);
    const filled = count.readUInt32LE(0);
    if (code === RC.success) return { count: Math.min(filled, capacity), buffer };
    if (code !== RC.insufficientSize) return code;
    capacity = Math.min(filled * 2 + 5, 1_000_000);
  }
  device.context.errors.add(call, RC.insufficientSize);
  return RC.insufficientSize;
}
