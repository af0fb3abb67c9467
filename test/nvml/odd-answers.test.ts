import { afterEach, describe, expect, it } from "@jest/globals";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLogger } from "../../src/logger.ts";
import type { Gpu, NvmlReading } from "../../src/snapshot.ts";
import { textAt } from "../../src/sources/nvml/device.ts";
import { NvmlSource } from "../../src/sources/nvml/source.ts";
import { a100Mig, FakeDriver, h100, rtx4090, type Scenario, withoutSymbols } from "../support/nvml/fake-nvml.ts";

/** NVML_VALUE_NOT_AVAILABLE in 64 bits; a 32-bit value takes its low half. */
const NOT_AVAILABLE = 0xffff_ffff_ffff_ffffn;

describe("a driver with odd answers", () => {
  const closing: (() => unknown)[] = [];
  const signal = new AbortController().signal;
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  function setUp(
    scenario: Scenario,
    {
      library,
      energyIntervalMs = 0,
    }: { readonly library?: string | undefined; readonly energyIntervalMs?: number } = {},
  ) {
    const driver = new FakeDriver(scenario, library);
    closing.push(() => {
      driver[Symbol.dispose]();
    });
    const source = new NvmlSource({
      library: driver.library,
      mode: "nvml",
      timeoutMs: 5_000,
      energyIntervalMs,
      retry: { attempts: 1, delayMs: 1 },
      clock: systemClock,
      logger: silentLogger,
      workerEnvironment: { ...process.env, NODE_OPTIONS: "", ...driver.env },
    });
    closing.push(() => source.close());
    const read = async (): Promise<NvmlReading> => {
      const result = await source.read(signal);
      if (result.status !== "ok") throw new Error(result.reason);
      return result.value;
    };
    const first = async (): Promise<Gpu> => {
      const [gpu] = (await read()).gpus;
      if (!gpu) throw new Error("no GPU");
      return gpu;
    };
    return { driver, read, first };
  }

  const IDENTITY = [
    ...["gpu", "index", "uuid", "vendor", "up", "name", "vbiosVersion", "pciBusId", "computeCapability"],
    ...["processCounts", "processes", "xidErrors"],
  ];

  /** The board with another value in place of every number. */
  function everyNumber<T>(value: T, instead: bigint | { readonly rc: number }): T {
    if (typeof value === "number") return instead as T;
    if (Array.isArray(value)) return value.map((member) => everyNumber(member as unknown, instead)) as T;
    if (typeof value !== "object" || value === null) return value;
    const members = Object.entries(value).map(([name, member]) => [name, everyNumber(member as unknown, instead)]);
    return Object.fromEntries(members) as T;
  }

  it.each([
    ["an H100", h100],
    ["an RTX 4090", rtx4090],
  ])("exposes no value that the driver has not available, on %s", async (_title, board) => {
    const { eventTypes, fan, ...numbers } = board({ gpm: undefined, memory: { free: 1 } });
    const gpu = { ...everyNumber(numbers, NOT_AVAILABLE), eventTypes, fan: fan && everyNumber(fan, NOT_AVAILABLE) };
    const { read } = setUp({ gpus: [gpu] });
    const { gpus, callErrors } = await read();
    expect(Object.keys(gpus[0] ?? {}).filter((property) => !IDENTITY.includes(property))).toEqual([]);
    expect(callErrors).toEqual([]);
  });

  it.each([2, 4, 6, 17, 21, 27, 29, 999, 31_337])(
    "exposes no value when every call fails with %i, the GPU itself is there",
    async (rc) => {
      const calls = {
        "*": { rc, gpu: "0" },
        nvmlDeviceGetHandleByIndex_v2: { rc: 0 },
        nvmlDeviceGetUUID: { rc: 0 },
      };
      const { driver, read } = setUp({ gpus: [h100()], calls });
      for (let reading = 0; reading < 2; reading++) {
        const { gpus } = await read();
        expect(gpus.map(({ up, uuid }) => [up, uuid])).toEqual([[true, h100().uuid]]);
        expect(Object.keys(gpus[0] ?? {}).filter((property) => !IDENTITY.includes(property))).toEqual([]);
      }
      driver.update({ calls: {} });
      expect((await read()).gpus[0]).toMatchObject({ name: h100().name, clockMaxHertz: { sm: 1_965_000_000 } });
    },
  );

  it("asks again for the one threshold and the one clock that failed at first", async () => {
    const passing = { rc: 999 };
    const { driver, first } = setUp({
      gpus: [h100({ temperatureThreshold: { gpuMax: passing }, maxClock: { video: passing } })],
    });
    const { temperatureThresholdCelsius, clockMaxHertz } = await first();
    expect([Object.keys(temperatureThresholdCelsius ?? {}).length, Object.keys(clockMaxHertz ?? {}).length]).toEqual([
      3, 3,
    ]);
    driver.update({ gpus: [h100()] });
    expect(await first()).toMatchObject({
      temperatureThresholdCelsius: { gpu_max: 87 },
      clockMaxHertz: { video: 1_545_000_000 },
    });
  });

  it("does not mix two boards that have no UUID", async () => {
    const boards = [h100({ uuid: undefined }), rtx4090({ uuid: undefined })];
    const { read } = setUp({ gpus: boards }, { energyIntervalMs: 60_000 });
    const { gpus, energySamples } = await read();
    expect(gpus.map(({ name, uuid }) => [name, uuid])).toEqual(boards.map(({ name }) => [name, ""]));
    expect(energySamples).toEqual([]);
  });

  it.each([
    ["the newer call", []],
    ["the older call, which has no sign", ["nvmlDeviceGetTemperatureV"]],
  ])("reads a temperature below zero by %s", async (_title, missing) => {
    const gpu = h100({ temperature: -5, marginTemperature: -3 });
    const { first } = setUp({ gpus: [gpu] }, { library: withoutSymbols(missing) });
    expect(await first()).toMatchObject({ temperatureCelsius: -5, temperatureMarginCelsius: -3 });
  });

  it("has no fan on a board that says it has none", async () => {
    expect(await setUp({ gpus: [h100({ numFans: 0, fan: [30] })] }).first()).not.toHaveProperty("fanSpeedRatio");
  });

  it("takes a utilisation over 100 % for none", async () => {
    const gpu = await setUp({
      gpus: [h100({ utilization: { gpu: 101, memory: 4_294_967_290, encoder: 255, decoder: 100 } })],
    }).first();
    expect(gpu).toMatchObject({ decoderUtilizationRatio: 1 });
    for (const property of ["utilizationRatio", "memoryUtilizationRatio", "encoderUtilizationRatio"]) {
      expect(gpu).not.toHaveProperty(property);
    }
  });

  it("keeps a real 0", async () => {
    const gpu = h100({ clock: { sm: 0 }, utilization: { gpu: 0 }, power: { usage: 0 }, eccMode: { current: 0 } });
    expect(await setUp({ gpus: [gpu] }).first()).toMatchObject({
      clockHertz: { sm: 0 },
      utilizationRatio: 0,
      powerDrawWatts: 0,
      eccModeEnabled: 0,
    });
  });

  it("finds no GPU, and no fault, when the driver says that there is none", async () => {
    const { read } = setUp({ gpus: [h100()], calls: { nvmlDeviceGetCount_v2: { rc: 28 } } });
    expect(await read()).toMatchObject({ gpus: [], boardCount: 0, callErrors: [] });
  });

  it("does not count to four thousand million when the number of boards is not available", async () => {
    const { read } = setUp({ deviceCount: NOT_AVAILABLE, gpus: [h100()] });
    expect(await read()).toMatchObject({ gpus: [], boardCount: 0 });
  });

  it("leaves out a board between its count and its handle, and counts that", async () => {
    const { read } = setUp({ deviceCount: 3, gpus: [h100()] });
    const { gpus, callErrors } = await read();
    expect(gpus.map(({ gpu }) => gpu)).toEqual(["0"]);
    expect(callErrors).toEqual([
      { function: "nvmlDeviceGetHandleByIndex_v2", code: "NVML_ERROR_INVALID_ARGUMENT", count: 2 },
    ]);
  });

  it("ends the reading when the driver is unloaded between the count and the first handle", async () => {
    const { read } = setUp({ gpus: [h100()], calls: { nvmlDeviceGetHandleByIndex_v2: { rc: 9 } } });
    await expect(read()).rejects.toThrow("NVML_ERROR_DRIVER_NOT_LOADED");
  });

  it("fails, and says what to do, when the driver lets no board be opened, and recovers", async () => {
    const { driver, read } = setUp({ gpus: [h100()], calls: { nvmlDeviceGetHandleByIndex_v2: { rc: 17 } } });
    await expect(read()).rejects.toThrow("NVML_ERROR_OPERATING_SYSTEM (17); the container may have lost access");
    driver.update({ calls: {} });
    expect((await read()).gpus).toHaveLength(1);
  });

  it("leaves out a MIG instance that went away between its handle and its UUID", async () => {
    const { read } = setUp({ gpus: [a100Mig()], calls: { nvmlDeviceGetUUID: { rc: 2, gpu: "0:2" } } });
    expect((await read()).gpus.map(({ gpu }) => gpu)).toEqual(["0", "0:0"]);
  });

  it.each([
    ["is lost", { calls: { nvmlDeviceGetPowerUsage: { rc: 15, gpu: "1" } } }],
    ["is gone", { gpus: [h100()] }],
  ])("samples the energy of a board no more that %s, until it is back", async (_title, change: Scenario) => {
    const gpus = [h100(), h100({ uuid: "GPU-b" })];
    const { driver, read } = setUp({ gpus }, { energyIntervalMs: 1 });
    const samplesOf = async (uuid: string) => (await read()).energySamples?.filter((sample) => sample.uuid === uuid);
    await read();
    driver.update(change);
    await read();
    await read();
    expect([await samplesOf("GPU-b"), (await read()).callErrors.map(({ function: name }) => name)]).toEqual([
      [],
      expect.not.arrayContaining(["nvmlDeviceGetTotalEnergyConsumption"]),
    ]);
    driver.update({ gpus, calls: {} });
    expect((await samplesOf("GPU-b"))?.length).toBeGreaterThan(0);
  });

  it("lists a PID once that the driver lists twice, with its largest memory", async () => {
    const processes = [
      { pid: 7, memory: 5 },
      { pid: 7, memory: 9 },
      { pid: 7, kind: "graphics" as const, memory: "n/a" as const },
      { pid: 8, memory: "n/a" as const },
    ];
    const gpu = await setUp({ gpus: [h100({ processes, samples: [{ pid: 7, sm: 0xffff_ffff }] })] }).first();
    expect(gpu.processes).toEqual([
      { pid: 7, kinds: ["compute", "graphics"], memoryBytes: 9, smUtilizationRatio: 0 },
      { pid: 8, kinds: ["compute"], smUtilizationRatio: 0 },
    ]);
    expect(gpu.processCounts).toEqual({ compute: 2, graphics: 1, mps: 0 });
  });

  it.each(["double", "u32", "ulong", "u64", "i64", "i32", "u16"] as const)(
    "reads a field of type %s, and leaves out what makes no sense in it",
    async (type) => {
      const fields = { 186: { type, value: 40_000 }, 197: { type, value: type.startsWith("u") ? 7 : -7 } };
      const gpu = await setUp({ gpus: [h100({ fields })] }).first();
      expect(gpu.powerInstantWatts).toBe(40);
      expect(gpu.pcieTransmitBytes).toBe(type.startsWith("u") ? 7 : undefined);
    },
  );

  it("reads a text without its NUL, and one that is not UTF-8", () => {
    expect(textAt(Buffer.from("full"))).toBe("full");
    expect(textAt(Buffer.from([0x00, 0x41, 0x42, 0x43]), 1, 2)).toBe("AB");
    expect(textAt(Buffer.from([0x47, 0xff, 0x50, 0x00, 0x51]))).toBe("G\ufffdP");
    expect(textAt(Buffer.alloc(4))).toBeUndefined();
  });
});
