import { afterEach, describe, expect, it } from "@jest/globals";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLogger } from "../../src/logger.ts";
import type { Gpu, NvmlReading } from "../../src/snapshot.ts";
import { NvmlSource } from "../../src/sources/nvml/source.ts";
import {
  a100Mig,
  FakeDriver,
  h100,
  type Gpm,
  type Gpu as FakeGpu,
  type Scenario,
  withoutSymbols,
} from "../support/nvml/fake-nvml.ts";

const CLOCK = pathToFileURL(join(import.meta.dirname, "../support/nvml/worker-clock.ts")).href;

/** Counters of 4 s in which the ratios are 0.75, 0.25, 0.125 and 0.5, and of one idle second after them. */
const AT_1_S: Gpm = { supported: 1, elapsed: 1_000_000, active: { 2: 500_000, 3: 100, 5: 0, 10: 2_000_000 } };
const AT_5_S: Gpm = { supported: 1, elapsed: 5_000_000, active: { 2: 3_500_000, 3: 1_000_100, 5: 500_000, 10: 4e6 } };
const AT_6_S: Gpm = { ...AT_5_S, elapsed: 6_000_000 };
const BUSY = { smActiveRatio: 0.75, smOccupancyRatio: 0.25, tensorActiveRatio: 0.125, dramActiveRatio: 0.5 };
const IDLE = { smActiveRatio: 0, smOccupancyRatio: 0, tensorActiveRatio: 0, dramActiveRatio: 0 };

const ratiosOf = (gpu: Gpu | undefined): Partial<Gpu> => {
  const { smActiveRatio, smOccupancyRatio, tensorActiveRatio, dramActiveRatio } = gpu ?? {};
  const all = { smActiveRatio, smOccupancyRatio, tensorActiveRatio, dramActiveRatio };
  return Object.fromEntries(Object.entries(all).filter(([, ratio]) => ratio !== undefined));
};

describe("GPU performance monitoring", () => {
  const closing: (() => unknown)[] = [];
  const signal = new AbortController().signal;
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  /** The real worker on the fake driver; its clock moves only with `read`. */
  function setUp(scenario: Scenario, library?: string) {
    const driver = new FakeDriver(scenario, library);
    closing.push(() => {
      driver[Symbol.dispose]();
    });
    const clockFile = join(driver.folder, "clock");
    const source = new NvmlSource({
      library: driver.library,
      mode: "nvml",
      timeoutMs: 5_000,
      energyIntervalMs: 0,
      retry: { attempts: 1, delayMs: 1 },
      clock: systemClock,
      logger: silentLogger,
      workerEnvironment: { ...process.env, NODE_OPTIONS: `--import=${CLOCK}`, WORKER_CLOCK: clockFile, ...driver.env },
    });
    closing.push(() => source.close());
    let workerMs = 0;
    const read = async (afterMs = 1_000): Promise<NvmlReading> => {
      workerMs += afterMs;
      writeFileSync(clockFile, String(workerMs));
      const result = await source.read(signal);
      if (result.status !== "ok") throw new Error(result.reason);
      return result.value;
    };
    const ratios = async (afterMs?: number) => ratiosOf((await read(afterMs)).gpus[0]);
    return { driver, read, ratios };
  }
  const withGpm = (gpm: Gpm) => ({ gpus: [h100({ gpm })] });
  const calls = (driver: FakeDriver, name: string): number => driver.calls()[name] ?? 0;
  const samplesInUse = (driver: FakeDriver): number =>
    calls(driver, "nvmlGpmSampleAlloc") - calls(driver, "nvmlGpmSampleFree");

  it("gives the means between two readings; none at the first; a real 0 is kept", async () => {
    const { driver, ratios } = setUp(withGpm(AT_1_S));
    expect(await ratios()).toEqual({});
    driver.update(withGpm(AT_5_S));
    expect(await ratios()).toEqual(BUSY);
    driver.update(withGpm(AT_6_S));
    expect(await ratios()).toEqual(IDLE);
  });

  it.each([
    ["says that it has none", { supported: 0 }],
    ["cannot be asked", {}],
    ["fails to answer", { supported: { rc: 999 } }],
  ])("takes no sample of a board that %s", async (_title, gpm: Gpm) => {
    const { driver, read, ratios } = setUp({ gpus: [h100({ gpm: { ...AT_1_S, supported: undefined, ...gpm } })] });
    for (let reading = 0; reading < 3; reading++) expect(await ratios()).toEqual({});
    expect((await read()).gpus[0]?.utilizationRatio).toBe(0.71);
    expect(calls(driver, "nvmlGpmSampleAlloc")).toBe(0);
    // A passing error is no answer: it is asked for again.
    expect(calls(driver, "nvmlGpmQueryDeviceSupport")).toBe(gpm.supported === undefined || gpm.supported === 0 ? 1 : 4);
  });

  it.each(["nvmlGpmQueryDeviceSupport", "nvmlGpmSampleAlloc", "nvmlGpmSampleGet", "nvmlGpmMetricsGet"])(
    "has no ratios, no error and no sample left over without %s",
    async (missing) => {
      const { driver, read } = setUp(withGpm(AT_1_S), withoutSymbols([missing]));
      await read();
      driver.update(withGpm(AT_5_S));
      await read();
      const before = driver.calls();
      const { gpus, callErrors } = await read();
      expect([ratiosOf(gpus[0]), callErrors]).toEqual([{}, []]);
      expect(gpus[0]?.powerDrawWatts).toBe(412.345);
      expect(samplesInUse(driver)).toBe(0);
      expect(calls(driver, "nvmlGpmSampleAlloc")).toBe(before.nvmlGpmSampleAlloc ?? 0);
    },
  );

  it.each([
    [
      "its own error",
      { rc: 21 },
      { rc: 21 },
      [{ function: "nvmlGpmMetricsGet", code: "NVML_ERROR_NO_DATA", count: 1 }],
    ],
    [
      "its own 'not initialised', which costs only itself",
      { rc: 1 },
      { rc: 1 },
      [{ function: "nvmlGpmMetricsGet", code: "NVML_ERROR_UNINITIALIZED", count: 1 }],
    ],
    ["no support", { rc: 3 }, { rc: 3 }, []],
    ["no number", 0, "nan", []],
    ["no answer at all", 0, "untouched", []],
    ["a value far over 100 %", 0, 10_000_000, []],
    ["a value below 0", 500_000, 400_000, []],
  ] as const)("leaves out only the metric with %s", async (_title, first, second, callErrors) => {
    const active = (gpm: Gpm, value: typeof first | typeof second): Gpm => ({
      ...gpm,
      active: { ...gpm.active, 5: value },
    });
    const { driver, read } = setUp(withGpm(active(AT_1_S, first)));
    await read();
    driver.update(withGpm(active(AT_5_S, second)));
    const reading = await read();
    expect(ratiosOf(reading.gpus[0])).toEqual({ smActiveRatio: 0.75, smOccupancyRatio: 0.25, dramActiveRatio: 0.5 });
    expect(reading.callErrors).toEqual(callErrors);
  });

  it("takes a mean that rounding put over 100 % for 1", async () => {
    const { driver, ratios } = setUp(withGpm(AT_1_S));
    await ratios();
    driver.update(withGpm({ ...AT_5_S, active: { ...AT_5_S.active, 2: 4_502_000 } }));
    expect(await ratios()).toMatchObject({ smActiveRatio: 1 });
  });

  it("asks no more when the board supports none of the metrics, and frees its samples", async () => {
    const none: Gpm["active"] = {};
    const { driver, read, ratios } = setUp(withGpm({ ...AT_1_S, active: none }));
    await ratios();
    driver.update(withGpm({ ...AT_5_S, active: none }));
    expect(await ratios()).toEqual({});
    driver.update(withGpm({ ...AT_6_S, active: none }));
    expect((await read()).callErrors).toEqual([]);
    expect(calls(driver, "nvmlGpmMetricsGet")).toBe(1);
    expect(samplesInUse(driver)).toBe(0);
  });

  it("gives the last ratios again within 100 ms of the last sample, and then those since that sample", async () => {
    const { driver, ratios } = setUp(withGpm(AT_1_S));
    await ratios();
    expect(await ratios(60)).toEqual({});
    expect(calls(driver, "nvmlGpmSampleGet")).toBe(1);
    driver.update(withGpm(AT_5_S));
    expect(await ratios(60)).toEqual(BUSY);
    driver.update(withGpm(AT_6_S));
    expect(await ratios(50)).toEqual(BUSY);
    expect(await ratios(50)).toEqual(BUSY);
    expect(calls(driver, "nvmlGpmSampleGet")).toBe(2);
    expect(await ratios(1)).toEqual(IDLE);
  });

  const hopperMig = (board: Gpm, first: Gpm, second: Gpm): FakeGpu => {
    const gpu = a100Mig({ name: "NVIDIA H100 80GB HBM3", gpm: board });
    const gpms = [first, second];
    return { ...gpu, mig: gpu.mig?.map((instance, index) => ({ ...instance, gpm: gpms[index] })) };
  };

  it("reads MIG instances through their GPU instances; their board has none where the driver gives none", async () => {
    const board = { supported: 1 };
    const { driver, read } = setUp({ gpus: [hopperMig(board, AT_1_S, AT_5_S)] });
    const byLabel = async () => Object.fromEntries((await read()).gpus.map((gpu) => [gpu.gpu, ratiosOf(gpu)]));
    expect(await byLabel()).toEqual({ "0": {}, "0:0": {}, "0:2": {} });
    driver.update({ gpus: [hopperMig(board, AT_5_S, AT_6_S)] });
    expect(await byLabel()).toEqual({ "0": {}, "0:0": BUSY, "0:2": IDLE });
    await read();
    expect([calls(driver, "nvmlGpmSampleGet"), calls(driver, "nvmlGpmMigSampleGet")]).toEqual([1, 6]);
    expect([calls(driver, "nvmlGpmQueryDeviceSupport"), calls(driver, "nvmlDeviceGetGpuInstanceId")]).toEqual([1, 2]);
    expect(samplesInUse(driver)).toBe(4);
  });

  it("shows the ratios of a board in MIG mode where the driver gives them", async () => {
    const { driver, ratios } = setUp({ gpus: [hopperMig(AT_1_S, {}, {})] });
    await ratios();
    driver.update({ gpus: [hopperMig(AT_5_S, {}, {})] });
    expect(await ratios()).toEqual(BUSY);
  });

  it("gives an instance without a GPU instance id nothing, least of all its board's ratios", async () => {
    const withoutId = (gpm: Gpm): FakeGpu => {
      const gpu = hopperMig(gpm, gpm, gpm);
      return { ...gpu, mig: gpu.mig?.map((instance) => ({ ...instance, gpuInstanceId: undefined })) };
    };
    const { driver, read } = setUp({ gpus: [withoutId(AT_1_S)] });
    await read();
    driver.update({ gpus: [withoutId(AT_5_S)] });
    expect((await read()).gpus.map(ratiosOf)).toEqual([BUSY, {}, {}]);
  });

  it.each([
    ["elsewhere", "nvmlDeviceGetUtilizationRates"],
    ["while a sample is taken", "nvmlGpmSampleGet"],
  ])("compares no sample from before a GPU was lost %s with one from after its return", async (_title, failing) => {
    const { driver, read, ratios } = setUp(withGpm(AT_5_S));
    await ratios();
    driver.update({ ...withGpm(AT_6_S), calls: { [failing]: { rc: 15, gpu: "0" } } });
    expect((await read()).gpus[0]).toMatchObject({ up: false });
    expect(samplesInUse(driver)).toBe(0);
    driver.update({ ...withGpm(AT_1_S), calls: {} });
    const back = await read();
    expect([ratiosOf(back.gpus[0]), back.callErrors]).toEqual([{}, []]);
    driver.update(withGpm(AT_5_S));
    expect(await ratios()).toEqual(BUSY);
  });

  it("compares nothing across handles when two boards change places", async () => {
    const boards = (gpm: Gpm) => [h100({ uuid: "GPU-a", gpm }), h100({ uuid: "GPU-b", gpm })];
    const { driver, read } = setUp({ gpus: boards(AT_1_S) });
    await read();
    driver.update({ gpus: boards(AT_5_S).reverse() });
    const swapped = await read();
    expect([swapped.gpus.map(ratiosOf), swapped.callErrors]).toEqual([[{}, {}], []]);
    driver.update({ gpus: boards(AT_6_S).reverse() });
    expect((await read()).gpus.map(ratiosOf)).toEqual([IDLE, IDLE]);
  });

  it("frees the samples of an instance whose board is lost, and of a board that is gone", async () => {
    const mig = hopperMig(AT_1_S, AT_1_S, AT_1_S);
    const { driver, read } = setUp({ gpus: [mig, h100({ gpm: AT_1_S })] });
    await read();
    expect(samplesInUse(driver)).toBe(4);
    driver.update({ calls: { nvmlDeviceGetPowerUsage: { rc: 16, gpu: "0" } } });
    await read();
    expect(samplesInUse(driver)).toBe(2);
    driver.update({ gpus: [mig], calls: {} });
    await read();
    expect(samplesInUse(driver)).toBe(3);
  });

  it("frees every sample before the driver is initialised anew, and starts over", async () => {
    const { driver, ratios } = setUp(withGpm(AT_1_S));
    await ratios();
    driver.update({ ...withGpm(AT_5_S), calls: { nvmlDeviceGetPowerUsage: { rc: 9 } } });
    await expect(ratios()).rejects.toThrow("DRIVER_NOT_LOADED");
    expect(samplesInUse(driver)).toBe(0); // the fake aborts at a shutdown with samples in use
    driver.update({ calls: {} });
    expect(await ratios()).toEqual({});
    driver.update(withGpm(AT_6_S));
    expect(await ratios()).toEqual(IDLE);
  });

  it("has no ratios in a reading whose sample failed, counts it, and spans it in the next one", async () => {
    const { driver, read, ratios } = setUp(withGpm(AT_1_S));
    await ratios();
    driver.update({ calls: { nvmlGpmSampleGet: { rc: 999 } } });
    const { gpus, callErrors } = await read();
    expect(ratiosOf(gpus[0])).toEqual({});
    expect(callErrors).toEqual([{ function: "nvmlGpmSampleGet", code: "NVML_ERROR_UNKNOWN", count: 1 }]);
    driver.update({ ...withGpm(AT_5_S), calls: {} });
    expect(await ratios()).toEqual(BUSY);
  });

  it("holds two samples per board after many readings, for two driver calls each", async () => {
    const { driver, ratios } = setUp({ gpus: [h100()] });
    for (let reading = 0; reading < 3; reading++) await ratios();
    const before = driver.calls();
    for (let reading = 0; reading < 200; reading++) {
      expect(await ratios()).toMatchObject({ smActiveRatio: expect.closeTo(0.57, 2) as unknown as number });
    }
    const added = Object.entries(driver.calls()).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
    const gpm = added.filter(([name, count]) => name.startsWith("nvmlGpm") && count > 0);
    expect(Object.fromEntries(gpm)).toEqual({ nvmlGpmSampleGet: 200, nvmlGpmMetricsGet: 200 });
    expect(samplesInUse(driver)).toBe(2);
    expect(added.reduce((sum, [, count]) => sum + count, 0) / 200).toBeLessThanOrEqual(60);
  });
});
