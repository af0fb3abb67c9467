/** Batched field values: one driver call for many counters (nvmlDeviceGetFieldValues). */
import { ALL_LINKS, FIELD_VALUE, RC, VALUE_TYPE } from "./abi.ts";
import { type Device, u32At, u64At } from "./device.ts";
import { NvmlFault, UNSUPPORTED } from "./faults.ts";

const CALL = "nvmlDeviceGetFieldValues";

/** Ids of nvml.h: NVML_FI_DEV_... */
export const FIELD = {
  memoryTemperature: 82,
  powerInstant: 186,
  pcieTransmitBytes: 197,
  pcieReceiveBytes: 198,
  nvlinkTransmitKib: 138,
  nvlinkReceiveKib: 139,
  recoveryAction: 230,
} as const;

/** gpu_clock_event_seconds_total: nanoseconds by reason. */
export const CLOCK_EVENT_FIELDS: Readonly<Record<string, number>> = {
  sw_power_cap: 74,
  thermal: 75,
  sync_boost: 76,
  board_limit: 77,
  low_utilization: 78,
  reliability: 79,
  sw_thermal_slowdown: 269,
  hw_thermal_slowdown: 270,
  hw_power_brake_slowdown: 271,
};

export const FAST_FIELDS: readonly number[] = [
  FIELD.powerInstant,
  FIELD.memoryTemperature,
  ...Object.values(CLOCK_EVENT_FIELDS),
  FIELD.pcieTransmitBytes,
  FIELD.pcieReceiveBytes,
  FIELD.nvlinkTransmitKib,
  FIELD.nvlinkReceiveKib,
];
export const SLOW_FIELDS: readonly number[] = [FIELD.recoveryAction];
export const SLOW_INTERVAL_MS = 30_000;

const SUMMED_OVER_LINKS: ReadonlySet<number> = new Set([FIELD.nvlinkTransmitKib, FIELD.nvlinkReceiveKib]);

/** The values of those fields that the device has, in the driver's raw units. */
export function readFields(device: Device, ids: readonly number[]): ReadonlyMap<number, number> {
  const asked = ids.filter((id) => !device.lacks(fieldKey(id)));
  const values = new Map<number, number>();
  if (asked.length === 0) return values;
  const buffer = Buffer.alloc(asked.length * FIELD_VALUE.size);
  asked.forEach((id, index) => {
    buffer.writeUInt32LE(id, index * FIELD_VALUE.size + FIELD_VALUE.fieldId);
    buffer.writeUInt32LE(SUMMED_OVER_LINKS.has(id) ? ALL_LINKS : 0, index * FIELD_VALUE.size + FIELD_VALUE.scopeId);
  });
  if (device.attempt(CALL, "ip", [asked.length, buffer]) !== RC.success) return values;
  asked.forEach((id, index) => {
    const value = decode(device, id, buffer.subarray(index * FIELD_VALUE.size));
    if (value !== undefined) values.set(id, value);
  });
  return values;
}

/** The slow fields, read anew every 30 s. */
export function readSlowFields(device: Device): ReadonlyMap<number, number> {
  const { memory, context } = device;
  if (memory.slow === undefined || context.now() - memory.slow.at >= SLOW_INTERVAL_MS) {
    memory.slow = { at: context.now(), values: readFields(device, SLOW_FIELDS) };
  }
  return memory.slow.values;
}

function decode(device: Device, id: number, entry: Buffer): number | undefined {
  const code = entry.readUInt32LE(FIELD_VALUE.returnCode);
  if (code === RC.success) return valueOf(entry);
  // An old library answers INVALID_ARGUMENT to a field that it does not know.
  if (UNSUPPORTED.has(code) || code === RC.invalidArgument) {
    device.remember(fieldKey(id));
    return undefined;
  }
  device.context.errors.add(CALL, code);
  const fault = new NvmlFault(CALL, code);
  if (fault.losesGpu) throw fault;
  return undefined;
}

const READERS: Readonly<Record<number, (entry: Buffer) => number | undefined>> = {
  [VALUE_TYPE.double]: (entry) => entry.readDoubleLE(FIELD_VALUE.value),
  [VALUE_TYPE.u32]: (entry) => u32At(entry, FIELD_VALUE.value),
  [VALUE_TYPE.ulong]: (entry) => u64At(entry, FIELD_VALUE.value),
  [VALUE_TYPE.u64]: (entry) => u64At(entry, FIELD_VALUE.value),
  [VALUE_TYPE.i64]: (entry) => Number(entry.readBigInt64LE(FIELD_VALUE.value)),
  [VALUE_TYPE.i32]: (entry) => entry.readInt32LE(FIELD_VALUE.value),
  [VALUE_TYPE.u16]: (entry) => entry.readUInt16LE(FIELD_VALUE.value),
};

function valueOf(entry: Buffer): number | undefined {
  const value = READERS[entry.readUInt32LE(FIELD_VALUE.valueType)]?.(entry);
  return value !== undefined && Number.isFinite(value) && value >= 0 ? value : undefined;
}

const fieldKey = (id: number): string => `field ${id}`;
