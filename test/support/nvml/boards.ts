// Ready-made GPUs: every value the board has, no two alike where it matters, so that a swapped field shows.
// Free memory is left to the library (total - used - reserved), so that overriding `used` stays consistent.

import { isFailure, type Attributes, type Gpu } from "./scenario.ts";

const ALL_LINKS = 0xffff_ffff;
const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

function isGroup(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isFailure(value);
}

/** The overrides win; groups such as `memory` are merged member by member, lists are replaced. */
function override(base: Gpu, overrides: Partial<Gpu>): Gpu {
  const merged = new Map<string, unknown>(Object.entries(base));
  for (const [name, value] of Object.entries(overrides)) {
    const given = merged.get(name);
    merged.set(name, isGroup(given) && isGroup(value) ? { ...given, ...value } : value);
  }
  return Object.fromEntries(merged);
}

/** A server board: ECC, NVLink, row remapping, no fans. */
export function h100(overrides: Partial<Gpu> = {}): Gpu {
  const base: Gpu = {
    name: "NVIDIA H100 80GB HBM3",
    uuid: "GPU-11111111-2222-3333-4444-555555555555",
    serial: "1652823054567",
    vbiosVersion: "96.00.74.00.01",
    computeCapability: "9.0",
    minorNumber: 6,
    brand: 14,
    architecture: 9,
    pci: { busId: "00000000:19:00.0", deviceId: 0x233010de, subsystemId: 0x16c110de },
    memory: { total: 81559 * MIB, used: 20480 * MIB, reserved: 552 * MIB },
    bar1: { total: 131072 * MIB, used: 12 * MIB },
    utilization: { gpu: 71, memory: 33, encoder: 17, decoder: 23, jpeg: 4, ofa: 5 },
    power: {
      usage: 412_345,
      limit: 690_000,
      enforcedLimit: 680_000,
      defaultLimit: 700_000,
      minLimit: 200_000,
      maxLimit: 705_000,
    },
    energy: 987_654_321_012,
    temperature: 58,
    marginTemperature: 29,
    temperatureThreshold: { shutdown: 92, slowdown: 89, memoryMax: 95, gpuMax: 87 },
    fan: undefined,
    clock: { graphics: 1755, sm: 1740, memory: 2600, video: 1530 },
    maxClock: { graphics: 1980, sm: 1965, memory: 2619, video: 1545 },
    performanceState: 2,
    clocksEventReasons: 0x24,
    pcie: {
      generation: 3,
      width: 8,
      maxGeneration: 5,
      maxWidth: 16,
      replayCounter: 13,
      throughputTx: 41_234,
      throughputRx: 52_345,
    },
    eccMode: { current: 1, pending: 0 },
    eccErrors: { correctedVolatile: 101, correctedAggregate: 1202, uncorrectedVolatile: 3, uncorrectedAggregate: 44 },
    remappedRows: { corrected: 7, uncorrected: 9, pending: 1, failure: 0 },
    retiredPagesPending: undefined,
    persistenceMode: 1,
    computeMode: 0,
    displayActive: 0,
    displayMode: 1,
    eventTypes: 0x1b,
    migMode: { current: 0, pending: 0 },
    maxMigDevices: 7,
    fields: {
      74: { type: "u64", value: 1_074_000_000 },
      75: { type: "u64", value: 2_075_000_000 },
      76: { type: "u64", value: 3_076_000_000 },
      77: { type: "u64", value: 4_077_000_000 },
      78: { type: "u64", value: 5_078_000_000 },
      79: { type: "u64", value: 6_079_000_000 },
      82: { type: "u32", value: 66 },
      83: { type: "u64", value: 987_654_321_083 },
      94: { type: "u32", value: 14 },
      [`138:${ALL_LINKS}`]: { type: "u64", value: 138_138_138 },
      [`139:${ALL_LINKS}`]: { type: "u64", value: 139_139_139 },
      "138:0": { type: "u64", value: 7_680_001 },
      "139:0": { type: "u64", value: 7_730_002 },
      185: { type: "u32", value: 413_185 },
      186: { type: "u32", value: 409_186 },
      190: { type: "u32", value: 680_000 },
      197: { type: "u64", value: 197_197_197_197 },
      198: { type: "u64", value: 198_198_198_198 },
      230: { type: "u32", value: 0 },
      269: { type: "u64", value: 7_269_000_000 },
      270: { type: "u64", value: 8_270_000_000 },
      271: { type: "u64", value: 9_271_000_000 },
    },
    processes: [],
    samples: [],
    gpm: { supported: 1, elapsed: "now", active: { 2: "57%", 3: "21%", 5: "9%", 10: "44%" } },
  };
  return override(base, overrides);
}

/** A desktop board: two fans, a display, no ECC errors, no NVLink, pages retired instead of rows remapped. */
export function rtx4090(overrides: Partial<Gpu> = {}): Gpu {
  const base: Gpu = {
    name: "NVIDIA GeForce RTX 4090",
    uuid: "GPU-44440909-aaaa-bbbb-cccc-dddddddddddd",
    vbiosVersion: "95.02.3c.80.b9",
    computeCapability: "8.9",
    minorNumber: 3,
    brand: 5,
    architecture: 8,
    pci: { busId: "00000000:01:00.0", deviceId: 0x268410de, subsystemId: 0x889d1043 },
    memory: { total: 24564 * MIB, used: 9876 * MIB, reserved: 498 * MIB },
    bar1: { total: 32768 * MIB, used: 9900 * MIB },
    utilization: { gpu: 96, memory: 62, encoder: 11, decoder: 7, jpeg: 2, ofa: 1 },
    power: {
      usage: 317_250,
      limit: 430_000,
      enforcedLimit: 420_000,
      defaultLimit: 450_000,
      minLimit: 10_000,
      maxLimit: 600_000,
    },
    energy: 123_456_789_012,
    temperature: 64,
    marginTemperature: 19,
    temperatureThreshold: { shutdown: 100, slowdown: 97, memoryMax: 105, gpuMax: 83 },
    fan: [43, 46],
    clock: { graphics: 2730, sm: 2715, memory: 10_251, video: 2145 },
    maxClock: { graphics: 3120, sm: 3105, memory: 10_501, video: 2415 },
    performanceState: 2,
    clocksEventReasons: 0x1,
    pcie: {
      generation: 3,
      width: 8,
      maxGeneration: 4,
      maxWidth: 16,
      replayCounter: 21,
      throughputTx: 61_500,
      throughputRx: 72_600,
    },
    retiredPagesPending: 0,
    persistenceMode: 0,
    computeMode: 0,
    displayActive: 1,
    displayMode: 1,
    eventTypes: 0x9c,
    fields: {
      74: { type: "u64", value: 10_074_000_000 },
      75: { type: "u64", value: 11_075_000_000 },
      76: { type: "u64", value: 0 },
      77: { type: "u64", value: 12_077_000_000 },
      78: { type: "u64", value: 13_078_000_000 },
      79: { type: "u64", value: 14_079_000_000 },
      82: { type: "u32", value: 0 }, // GDDR6X boards answer 0 here: not supported
      83: { type: "u64", value: 123_456_789_083 },
      94: { type: "u32", value: 22 },
      185: { type: "u32", value: 318_185 },
      186: { type: "u32", value: 322_186 },
      190: { type: "u32", value: 420_000 },
      197: { type: "u64", value: 97_197_197_197 },
      198: { type: "u64", value: 98_198_198_198 },
      230: { type: "u32", value: 0 },
      269: { type: "u64", value: 15_269_000_000 },
      270: { type: "u64", value: 16_270_000_000 },
      271: { type: "u64", value: 17_271_000_000 },
    },
    processes: [],
    samples: [],
  };
  return override(base, overrides);
}

/** A board cut into MIG devices 0 and 2 (1 is missing): no utilisation, which MIG does not give. */
export function a100Mig(overrides: Partial<Gpu> = {}): Gpu {
  const base = h100({
    name: "NVIDIA A100-SXM4-40GB",
    uuid: "GPU-a100a100-0000-1111-2222-333333333333",
    serial: "1563221012345",
    vbiosVersion: "92.00.45.00.03",
    computeCapability: "8.0",
    minorNumber: 4,
    architecture: 7,
    pci: { busId: "00000000:3B:00.0", deviceId: 0x20b010de, subsystemId: 0x134f10de },
    memory: { total: 40960 * MIB, used: 13_000 * MIB, reserved: 571 * MIB },
    bar1: { total: 65536 * MIB, used: 3 * MIB },
    utilization: undefined,
    power: {
      usage: 211_800,
      limit: 390_000,
      enforcedLimit: 380_000,
      defaultLimit: 400_000,
      minLimit: 100_000,
      maxLimit: 405_000,
    },
    energy: 555_444_333_222,
    temperature: 47,
    marginTemperature: 38,
    temperatureThreshold: { shutdown: 93, slowdown: 90, memoryMax: 94, gpuMax: 85 },
    clock: { graphics: 1095, sm: 1080, memory: 1215, video: 975 },
    maxClock: { graphics: 1410, sm: 1395, memory: 1230, video: 1290 },
    samples: undefined,
    gpm: undefined, // older than Hopper
    migMode: { current: 1, pending: 1 },
    mig: [
      {
        mig: 0,
        name: "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        uuid: "MIG-00000000-aaaa-5555-8888-000000000000",
        gpuInstanceId: 1,
        computeInstanceId: 0,
        memory: { total: 19_968 * MIB, used: 8 * GIB, reserved: 31 * MIB },
        bar1: { total: 32_767 * MIB, used: 1 * MIB },
        attributes: attributes(42, 3, 2, 0, 0, 0, 3, 3, 19_968),
        processes: [],
      },
      {
        mig: 2,
        name: "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        uuid: "MIG-22222222-bbbb-6666-9999-111111111111",
        gpuInstanceId: 9,
        computeInstanceId: 2,
        memory: { total: 4_864 * MIB, used: 1_234 * MIB, reserved: 17 * MIB },
        bar1: { total: 8_191 * MIB, used: 2 * MIB },
        attributes: attributes(14, 1, 0, 0, 0, 0, 1, 1, 4_864),
        processes: [],
      },
    ],
  });
  return override(base, overrides);
}

function attributes(...m: [number, number, number, number, number, number, number, number, number]): Attributes {
  const [multiprocessors, copyEngines, decoders, encoders, jpegs, ofas, gpuSlices, computeSlices, memoryMb] = m;
  return { multiprocessors, copyEngines, decoders, encoders, jpegs, ofas, gpuSlices, computeSlices, memoryMb };
}
