/**
 * A worker's message, read without trust: it shares its process with the driver's library, and JSON between the two processes
 * makes null of what is no number. A value of another kind is lost; an answer of another outline is an error.
 */
import { type EnergySample, type Gpu, type GpuProcess, type NvmlCallError, PROCESS_KINDS } from "../../snapshot.ts";
import type { WorkerReply } from "./protocol.ts";
import type { WorkerReading } from "./session.ts";
import type { XidEvent } from "./xid.ts";

type Entry = Readonly<Record<string, unknown>>;

/** Undefined when it answers nothing: then nobody waits for it. */
export function decodeReply(message: unknown): WorkerReply | undefined {
  if (!isEntry(message) || !isNatural(message.id)) return undefined;
  const { id, type } = message;
  if (type === "fault" && typeof message.function === "string" && isNatural(message.code))
    return { id, type, function: message.function.toWellFormed(), code: message.code };
  if ((type === "unloadable" || type === "error") && typeof message.reason === "string")
    return { id, type, reason: message.reason.toWellFormed() };
  const reading = type === "reading" ? decodeReading(message.reading) : undefined;
  return reading ? { id, type: "reading", reading } : { id, type: "error", reason: "its answer cannot be understood" };
}

function decodeReading(reading: unknown): WorkerReading | undefined {
  if (!isEntry(reading) || !isNatural(reading.boardCount) || !Array.isArray(reading.gpus)) return undefined;
  const gpus = reading.gpus.map(gpuOf);
  const known = gpus.filter((gpu) => gpu !== undefined);
  if (known.length < gpus.length) return undefined;
  return {
    gpus: known,
    boardCount: reading.boardCount,
    callErrors: listOf(reading.callErrors, callErrorOf),
    xidUuids: listOf(reading.xidUuids, textOf),
    xidEvents: listOf(reading.xidEvents, xidEventOf),
    energySamples: listOf(reading.energySamples, energySampleOf),
  };
}

const GPU_TEXTS = new Set([
  ...["parentUuid", "lostReason", "name", "driverVersion", "cudaVersion", "vbiosVersion", "pciBusId"],
  ...["computeCapability", "migProfile", "recoveryAction"],
]);
const GPU_NUMBERS_BY_NAME = new Set([
  ...["temperatureThresholdCelsius", "clockHertz", "clockMaxHertz", "clockEventReasonActive", "clockEventSeconds"],
  ...["fanSpeedRatio", "eccErrors", "remappedRows", "processCounts"],
]);
const GPU_IDENTITY = new Set(["gpu", "index", "uuid", "up", "vendor"]);

function gpuOf(entry: unknown): Gpu | undefined {
  if (!isEntry(entry)) return undefined;
  const [gpu, uuid, vendor] = [entry.gpu, entry.uuid, entry.vendor].map(textOf);
  const { index, up } = entry;
  if (gpu === undefined || uuid === undefined || vendor === undefined) return undefined;
  if (!isNatural(index) || typeof up !== "boolean") return undefined;
  const values = Object.entries(entry).flatMap(([key, value]) => {
    if (key === "processes") return Array.isArray(value) ? [[key, listOf(value, gpuProcessOf)] as const] : [];
    const read = GPU_IDENTITY.has(key) ? value : gpuValueOf(key, value);
    return read === undefined ? [] : [[key, read] as const];
  });
  return {
    ...Object.fromEntries<unknown>(values), // in the worker's order
    ...{ gpu, index, uuid, vendor, up },
  };
}

/** Everything that is neither a text nor has names is a number. */
function gpuValueOf(key: string, value: unknown): string | number | Readonly<Record<string, number>> | undefined {
  if (GPU_TEXTS.has(key)) return textOf(value);
  if (!GPU_NUMBERS_BY_NAME.has(key)) return isNumber(value) ? value : undefined;
  if (!isEntry(value)) return undefined;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, number]) =>
      isNumber(number) ? [[name.toWellFormed(), number] as const] : [],
    ),
  );
}

const KINDS: ReadonlySet<unknown> = new Set(PROCESS_KINDS);
const isKind = (kind: unknown): kind is GpuProcess["kinds"][number] => KINDS.has(kind);

function gpuProcessOf(entry: unknown): GpuProcess | undefined {
  if (!isEntry(entry) || !isNatural(entry.pid) || !Array.isArray(entry.kinds)) return undefined;
  const { pid, kinds, memoryBytes, smUtilizationRatio } = entry;
  return {
    pid,
    kinds: kinds.filter(isKind),
    ...(isAmount(memoryBytes) && { memoryBytes }),
    ...(isAmount(smUtilizationRatio) && { smUtilizationRatio }),
  };
}

function energySampleOf(entry: unknown): EnergySample | undefined {
  if (!isEntry(entry)) return undefined;
  const { atSeconds, energyJoules, powerWatts, busy } = entry;
  const uuid = textOf(entry.uuid);
  if (uuid === undefined || !isAmount(atSeconds)) return undefined;
  return {
    uuid,
    atSeconds,
    ...(isAmount(energyJoules) && { energyJoules }),
    ...(isAmount(powerWatts) && { powerWatts }),
    ...(Array.isArray(busy) && { busy: listOf(busy, shareOf) }),
  };
}

function shareOf(entry: unknown): readonly [pid: number, weight: number] | undefined {
  if (!Array.isArray(entry)) return undefined;
  const [pid, weight] = entry as readonly unknown[];
  return isNatural(pid) && isAmount(weight) ? [pid, weight] : undefined;
}

function callErrorOf(entry: unknown): NvmlCallError | undefined {
  if (!isEntry(entry) || !isNatural(entry.count)) return undefined;
  const [name, code] = [textOf(entry.function), textOf(entry.code)];
  return name === undefined || code === undefined ? undefined : { function: name, code, count: entry.count };
}

function xidEventOf(entry: unknown): XidEvent | undefined {
  const uuid = isEntry(entry) ? textOf(entry.uuid) : undefined;
  return isEntry(entry) && uuid !== undefined && isNatural(entry.xid) ? { uuid, xid: entry.xid } : undefined;
}

/** The entries that can be read. */
function listOf<T>(list: unknown, read: (entry: unknown) => T | undefined): readonly T[] {
  return Array.isArray(list) ? list.map(read).filter((entry) => entry !== undefined) : [];
}

const isEntry = (value: unknown): value is Entry =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isAmount = (value: unknown): value is number => isNumber(value) && value >= 0;
const isNatural = (value: unknown): value is number => Number.isSafeInteger(value) && isAmount(value);
const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value.toWellFormed() : undefined);
