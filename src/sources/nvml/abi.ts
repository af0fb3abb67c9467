/**
 * Constants, sizes and byte offsets of NVML's C interface (nvml.h, Linux LP64), for buffers that are read by hand.
 * A version word is `sizeof(struct) | version << 24`; the driver answers ARGUMENT_VERSION_MISMATCH (25) to a wrong one.
 */

/** Names of nvmlReturn_t. */
const RETURN_NAMES: Readonly<Record<number, string>> = {
  0: "NVML_SUCCESS",
  1: "NVML_ERROR_UNINITIALIZED",
  2: "NVML_ERROR_INVALID_ARGUMENT",
  3: "NVML_ERROR_NOT_SUPPORTED",
  4: "NVML_ERROR_NO_PERMISSION",
  5: "NVML_ERROR_ALREADY_INITIALIZED",
  6: "NVML_ERROR_NOT_FOUND",
  7: "NVML_ERROR_INSUFFICIENT_SIZE",
  8: "NVML_ERROR_INSUFFICIENT_POWER",
  9: "NVML_ERROR_DRIVER_NOT_LOADED",
  10: "NVML_ERROR_TIMEOUT",
  11: "NVML_ERROR_IRQ_ISSUE",
  12: "NVML_ERROR_LIBRARY_NOT_FOUND",
  13: "NVML_ERROR_FUNCTION_NOT_FOUND",
  14: "NVML_ERROR_CORRUPTED_INFOROM",
  15: "NVML_ERROR_GPU_IS_LOST",
  16: "NVML_ERROR_RESET_REQUIRED",
  17: "NVML_ERROR_OPERATING_SYSTEM",
  18: "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
  19: "NVML_ERROR_IN_USE",
  20: "NVML_ERROR_MEMORY",
  21: "NVML_ERROR_NO_DATA",
  22: "NVML_ERROR_VGPU_ECC_NOT_SUPPORTED",
  23: "NVML_ERROR_INSUFFICIENT_RESOURCES",
  24: "NVML_ERROR_FREQ_NOT_SUPPORTED",
  25: "NVML_ERROR_ARGUMENT_VERSION_MISMATCH",
  26: "NVML_ERROR_DEPRECATED",
  27: "NVML_ERROR_NOT_READY",
  28: "NVML_ERROR_GPU_NOT_FOUND",
  29: "NVML_ERROR_INVALID_STATE",
  999: "NVML_ERROR_UNKNOWN",
};

/** NVML's name of a return code; a code that this version does not know keeps its number. */
export const returnName = (code: number): string => RETURN_NAMES[code] ?? `NVML_ERROR_${code}`;

/** The codes that decide something here. */
export const RC = {
  success: 0,
  uninitialized: 1,
  invalidArgument: 2,
  notSupported: 3,
  notFound: 6,
  insufficientSize: 7,
  driverNotLoaded: 9,
  timeout: 10,
  functionNotFound: 13,
  gpuIsLost: 15,
  resetRequired: 16,
  libRmVersionMismatch: 18,
  versionMismatch: 25,
  deprecated: 26,
  gpuNotFound: 28,
  unknown: 999,
} as const;

export const MEMORY_V1 = { size: 24, total: 0, free: 8, used: 16 } as const;
export const MEMORY_V2 = { size: 40, version: 0x02000028, total: 8, reserved: 16, free: 24, used: 32 } as const;
export const BAR1_MEMORY = { size: 24, total: 0, free: 8, used: 16 } as const;
export const TEMPERATURE_V1 = { size: 12, version: 0x0100000c, sensor: 4, temperature: 8 } as const;
export const MARGIN_TEMPERATURE_V1 = { size: 8, version: 0x01000008, margin: 4 } as const;
export const PCI_INFO_V3 = { size: 68, busId: 36, busIdLength: 32 } as const;
export const FIELD_VALUE = { size: 40, fieldId: 0, scopeId: 4, valueType: 24, returnCode: 28, value: 32 } as const;
export const EVENT_DATA = { size: 32, device: 0, type: 8, data: 16 } as const;
export const UTILIZATION_SAMPLE = { size: 32, pid: 0, timestamp: 8, sm: 16 } as const;
export const GPM_SUPPORT = { size: 8, version: 1, isSupported: 4 } as const;
/** Of metrics[333], as in the newest header; older ones have 98, and only the first `count` are read. */
export const GPM_METRICS_GET = { size: 13344, version: 1, count: 4, older: 8, newer: 16, metrics: 24 } as const;
export const GPM_METRIC = { size: 40, id: 0, returnCode: 4, value: 8 } as const;
/** Offsets that all versions of a process entry share; the stride differs. */
export const PROCESS_ENTRY = { pid: 0, memory: 8, largest: 32 } as const;

/** nvmlValueType_t: how the 8 bytes of a field's value are to be read. */
export const VALUE_TYPE = { double: 0, u32: 1, ulong: 2, u64: 3, i64: 4, i32: 5, u16: 6 } as const;

/** NVML_EVENT_TYPE_XID_CRITICAL_ERROR */
export const EVENT_TYPE_XID = 8n;

/** nvmlFieldValue_t.scopeId that means the sum over all NVLinks. */
export const ALL_LINKS = 0xffffffff;

/** Long enough for name, UUID, VBIOS and driver version. */
export const TEXT_LENGTH = 96;

/** XID codes that start at 0 on every GPU with XID events. */
export const CRITICAL_XIDS = [48, 62, 63, 64, 74, 79, 92, 94, 95, 119, 120] as const;
