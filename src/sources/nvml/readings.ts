/** What is read of one board: a line per value, in base units. Undefined = the driver does not say. */
import type { ByName, Gpu } from "../../snapshot.ts";
import { CLOCK_EVENT_REASONS, RECOVERY_ACTIONS } from "../../catalog/gpu-health.ts";
import { BAR1_MEMORY, MARGIN_TEMPERATURE_V1, MEMORY_V1, MEMORY_V2, PCI_INFO_V3, RC, TEMPERATURE_V1 } from "./abi.ts";
import { type Device, i32At, textAt, u32At, u64At } from "./device.ts";
import { CLOCK_EVENT_FIELDS, FAST_FIELDS, FIELD, readFields, readSlowFields } from "./fields.ts";

/** A value per property of Gpu; those that are undefined are dropped later. */
export type Values = { readonly [K in keyof Gpu]?: Gpu[K] | undefined };

interface NumberLine {
  readonly property: keyof Gpu;
  readonly call: string;
  readonly divide?: number;
  /** Read once per driver load. */
  readonly fact?: true;
}

const NUMBERS: readonly NumberLine[] = [
  { property: "powerDrawWatts", call: "nvmlDeviceGetPowerUsage", divide: 1000 },
  { property: "powerLimitWatts", call: "nvmlDeviceGetPowerManagementLimit", divide: 1000 },
  { property: "powerEnforcedLimitWatts", call: "nvmlDeviceGetEnforcedPowerLimit", divide: 1000 },
  { property: "powerDefaultLimitWatts", call: "nvmlDeviceGetPowerManagementDefaultLimit", divide: 1000, fact: true },
  { property: "encoderUtilizationRatio", call: "nvmlDeviceGetEncoderUtilization" },
  { property: "decoderUtilizationRatio", call: "nvmlDeviceGetDecoderUtilization" },
  { property: "jpegUtilizationRatio", call: "nvmlDeviceGetJpgUtilization" },
  { property: "ofaUtilizationRatio", call: "nvmlDeviceGetOfaUtilization" },
  { property: "pcieLinkGeneration", call: "nvmlDeviceGetCurrPcieLinkGeneration" },
  { property: "pcieLinkGenerationMax", call: "nvmlDeviceGetMaxPcieLinkGeneration", fact: true },
  { property: "pcieLinkWidth", call: "nvmlDeviceGetCurrPcieLinkWidth" },
  { property: "pcieLinkWidthMax", call: "nvmlDeviceGetMaxPcieLinkWidth", fact: true },
  { property: "pcieReplays", call: "nvmlDeviceGetPcieReplayCounter" },
  { property: "persistenceModeEnabled", call: "nvmlDeviceGetPersistenceMode" },
];
/** These fill two numbers: a percentage, and the sampling period. */
const SAMPLED = /Encoder|Decoder|Jpg|Ofa/;

const CLOCKS = ["graphics", "sm", "memory", "video"];
const THRESHOLDS = ["shutdown", "slowdown", "memory_max", "gpu_max"];
const ECC_COUNTERS = ["volatile", "aggregate"];
const ERROR_TYPES = ["corrected", "uncorrected"];
const LAST_KNOWN_STATE = 15;
/** Answers that mean "ask with the older call": a struct version the driver does not know; WSL says UNKNOWN. */
const OLDER_VERSION = [RC.versionMismatch, RC.unknown];

/** Identity that survives the loss of the board: read once, by UUID. */
export function readIdentity(device: Device): Values {
  return {
    name: device.fact("name", () => device.text("nvmlDeviceGetName")),
    vbiosVersion: device.fact("vbios", () => device.text("nvmlDeviceGetVbiosVersion")),
    pciBusId: device.fact("pci", () => {
      const info = device.struct("nvmlDeviceGetPciInfo_v3", PCI_INFO_V3);
      return info && textAt(info, PCI_INFO_V3.busId, PCI_INFO_V3.busIdLength);
    }),
    computeCapability: device.fact("capability", () => {
      const [major, minor] = device.pair("nvmlDeviceGetCudaComputeCapability");
      return major === undefined || minor === undefined ? undefined : `${major}.${minor}`;
    }),
  };
}

/** Everything of a board but identity, MIG instances, processes and XID events. */
export function readBoard(device: Device): Values {
  return {
    ...readMemory(device),
    ...readBar1(device),
    ...readNumbers(device),
    ...readUtilizationRates(device),
    ...readTemperatures(device),
    ...readPowerConstraints(device),
    energyJoules: scaled(device.u64("nvmlDeviceGetTotalEnergyConsumption"), 1 / 1000),
    clockHertz: named(CLOCKS, (_, type) => megahertz(device.u32("nvmlDeviceGetClockInfo", type))),
    clockMaxHertz: named(CLOCKS, (name, type) =>
      device.fact(`max clock ${name}`, () => megahertz(device.u32("nvmlDeviceGetMaxClockInfo", type))),
    ),
    clockEventReasonActive: readClockEventReasons(device),
    performanceState: within(device.u32("nvmlDeviceGetPerformanceState"), LAST_KNOWN_STATE),
    fanSpeedRatio: readFans(device),
    eccModeEnabled: device.pair("nvmlDeviceGetEccMode")[0],
    eccErrors: readEccErrors(device),
    ...readRemappedRows(device),
    ...readFast(device),
    recoveryAction: recoveryAction(readSlowFields(device).get(FIELD.recoveryAction)),
  };
}

/** Memory of a board or MIG instance; v1 counts the reserved part as used. */
export function readMemory(device: Device): Values {
  const v2 = device.struct("nvmlDeviceGetMemoryInfo_v2", MEMORY_V2, OLDER_VERSION);
  if (v2) {
    return {
      memoryTotalBytes: u64At(v2, MEMORY_V2.total),
      memoryUsedBytes: u64At(v2, MEMORY_V2.used),
      memoryFreeBytes: u64At(v2, MEMORY_V2.free),
      memoryReservedBytes: u64At(v2, MEMORY_V2.reserved),
    };
  }
  const v1 = device.struct("nvmlDeviceGetMemoryInfo", MEMORY_V1);
  return v1
    ? {
        memoryTotalBytes: u64At(v1, MEMORY_V1.total),
        memoryUsedBytes: u64At(v1, MEMORY_V1.used),
        memoryFreeBytes: u64At(v1, MEMORY_V1.free),
      }
    : {};
}

function readBar1(device: Device): Values {
  const bar1 = device.struct("nvmlDeviceGetBAR1MemoryInfo", BAR1_MEMORY);
  return bar1
    ? { bar1MemoryTotalBytes: u64At(bar1, BAR1_MEMORY.total), bar1MemoryUsedBytes: u64At(bar1, BAR1_MEMORY.used) }
    : {};
}

function readNumbers(device: Device): Values {
  return Object.fromEntries(
    NUMBERS.map(({ property, call, divide = 1, fact }) => {
      const read = () => (SAMPLED.test(call) ? device.pair(call)[0] : device.u32(call));
      const value = fact ? device.fact(call, read) : read();
      return [property, SAMPLED.test(call) ? share(value) : scaled(value, 1 / divide)];
    }),
  );
}

function readUtilizationRates(device: Device): Values {
  const rates = device.struct("nvmlDeviceGetUtilizationRates", { size: 8 });
  return rates ? { utilizationRatio: share(u32At(rates, 0)), memoryUtilizationRatio: share(u32At(rates, 4)) } : {};
}

function readTemperatures(device: Device): Values {
  const sensor = device.struct("nvmlDeviceGetTemperatureV", TEMPERATURE_V1, OLDER_VERSION);
  const margin = device.struct("nvmlDeviceGetMarginTemperature", MARGIN_TEMPERATURE_V1);
  return {
    temperatureCelsius: sensor
      ? i32At(sensor, TEMPERATURE_V1.temperature)
      : signed(device.u32("nvmlDeviceGetTemperature", 0)),
    temperatureMarginCelsius: margin && i32At(margin, MARGIN_TEMPERATURE_V1.margin),
    temperatureThresholdCelsius: named(THRESHOLDS, (name, type) =>
      device.fact(`threshold ${name}`, () => signed(device.u32("nvmlDeviceGetTemperatureThreshold", type))),
    ),
  };
}

function readPowerConstraints(device: Device): Values {
  const [min, max] =
    device.fact("power constraints", () => {
      const limits = device.pair("nvmlDeviceGetPowerManagementLimitConstraints");
      return limits.every((limit) => limit === undefined) ? undefined : limits;
    }) ?? [];
  return { powerMinLimitWatts: scaled(min, 1 / 1000), powerMaxLimitWatts: scaled(max, 1 / 1000) };
}

function readClockEventReasons(device: Device): ByName | undefined {
  const mask =
    device.u64("nvmlDeviceGetCurrentClocksEventReasons") ?? device.u64("nvmlDeviceGetCurrentClocksThrottleReasons");
  return mask === undefined ? undefined : named(CLOCK_EVENT_REASONS, (_, bit) => Math.floor(mask / 2 ** bit) % 2);
}

function readFans(device: Device): ByName | undefined {
  const count = device.fact("fans", () => device.u32("nvmlDeviceGetNumFans"));
  if (count === 0) return undefined;
  const names = Array.from({ length: Math.min(count ?? 0, 32) }, (_, fan) => String(fan));
  const perFan = named(names, (_, fan) => scaled(device.u32("nvmlDeviceGetFanSpeed_v2", fan), 1 / 100));
  return perFan ?? named(["0"], () => scaled(device.u32("nvmlDeviceGetFanSpeed"), 1 / 100));
}

function readEccErrors(device: Device): ByName | undefined {
  const keys = ERROR_TYPES.flatMap((type) => ECC_COUNTERS.map((counter) => `${type}/${counter}`));
  return named(keys, (_, index) => device.u64("nvmlDeviceGetTotalEccErrors", Math.floor(index / 2), index % 2));
}

/** Retired pages are the older boards' answer to the same problem: asked for only where rows cannot be remapped. */
function readRemappedRows(device: Device): Values {
  const out = [0, 1, 2, 3].map(() => Buffer.alloc(4));
  if (device.attempt("nvmlDeviceGetRemappedRows", "pppp", out) !== RC.success) {
    const pending = device.lacks("nvmlDeviceGetRemappedRows");
    return pending ? { retiredPagesPending: device.u32("nvmlDeviceGetRetiredPagesPendingStatus") } : {};
  }
  const [corrected, uncorrected, pending, failure] = out.map((buffer) => u32At(buffer, 0));
  return {
    remappedRows: named(ERROR_TYPES, (_, index) => [corrected, uncorrected][index]),
    rowRemapPending: pending,
    rowRemapFailure: failure,
  };
}

function readFast(device: Device): Values {
  const fields = readFields(device, FAST_FIELDS);
  const memoryTemperature = fields.get(FIELD.memoryTemperature);
  return {
    powerInstantWatts: scaled(fields.get(FIELD.powerInstant), 1 / 1000),
    memoryTemperatureCelsius: memoryTemperature === 0 ? undefined : memoryTemperature,
    clockEventSeconds: named(Object.keys(CLOCK_EVENT_FIELDS), (reason) =>
      scaled(fields.get(CLOCK_EVENT_FIELDS[reason] ?? -1), 1e-9),
    ),
    pcieTransmitBytes: fields.get(FIELD.pcieTransmitBytes),
    pcieReceiveBytes: fields.get(FIELD.pcieReceiveBytes),
    nvlinkTransmitBytes: scaled(fields.get(FIELD.nvlinkTransmitKib), 1024),
    nvlinkReceiveBytes: scaled(fields.get(FIELD.nvlinkReceiveKib), 1024),
  };
}

const recoveryAction = (value: number | undefined): string | undefined =>
  value === undefined ? undefined : (RECOVERY_ACTIONS[value] ?? "unknown");

/** A record of those names that have a value; undefined when none has. */
function named(
  names: readonly string[],
  read: (name: string, index: number) => number | undefined,
): ByName | undefined {
  const entries = names.flatMap((name, index) => {
    const value = read(name, index);
    return value === undefined ? [] : [[name, value] as const];
  });
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** Division where the unit is a fraction: 123456 mW are 123.456 W, not 123.45600000000002. */
function scaled(value: number | undefined, factor: number): number | undefined {
  if (value === undefined) return undefined;
  return factor < 1 ? value / Math.round(1 / factor) : value * factor;
}

/** Percent of a whole: more than all of it is nonsense. */
const share = (percent: number | undefined): number | undefined => scaled(within(percent, 100), 1 / 100);

/** Of an unsigned value that the driver means as a signed one. */
const signed = (value: number | undefined): number | undefined => (value === undefined ? undefined : value | 0);

const megahertz = (value: number | undefined): number | undefined => scaled(value, 1_000_000);

const within = (value: number | undefined, most: number): number | undefined =>
  value !== undefined && value <= most ? value : undefined;
