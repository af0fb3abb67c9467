import { afterEach, describe, expect, it } from "@jest/globals";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/logger.ts";
import { NvmlSource, type NvmlSourceOptions } from "../../src/sources/nvml/source.ts";
import type { SourceResult } from "../../src/sources/source.ts";
import type { Gpu, NvmlReading } from "../../src/snapshot.ts";
import { type Clock, systemClock } from "../../src/lib/clock.ts";
import {
  a100Mig,
  buildFakeNvml,
  FakeDriver,
  h100,
  notALibrary,
  rtx4090,
  type Scenario,
  withoutSymbols,
  wrongArchitecture,
} from "../support/nvml/fake-nvml.ts";
import { until } from "../support/recovery.ts";

/** The wall clock of the system, and a monotonic one that the test can push ahead. */
class PushedClock implements Clock {
  ahead = 0;
  now = (): number => systemClock.now();
  sleep: Clock["sleep"] = (ms, ...rest) => systemClock.sleep(ms, ...rest);
  monotonic = (): number => systemClock.monotonic() + this.ahead;
}

const GOLDENS = join(import.meta.dirname, "../goldens");

describe("NvmlSource", () => {
  const closing: (() => unknown)[] = [];
  const signal = new AbortController().signal;
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  function setUp(scenario: Scenario, options: Partial<NvmlSourceOptions> = {}) {
    const driver = new FakeDriver(scenario, options.library);
    closing.push(() => {
      driver[Symbol.dispose]();
    });
    // Jest's process.env is a copy that no child inherits.
    const workerEnvironment = { ...process.env, NODE_OPTIONS: "", ...driver.env };
    const clock = new PushedClock();
    const source = new NvmlSource({
      library: driver.library,
      mode: "nvml",
      timeoutMs: 5_000,
      energyIntervalMs: 0,
      retry: { attempts: 1, delayMs: 1 },
      clock,
      logger: silentLogger,
      workerEnvironment,
      ...options,
    });
    closing.push(() => source.close());
    const read = async (): Promise<NvmlReading> => valueOf(await source.read(signal));
    return { driver, source, read, clock, workerEnvironment };
  }

  const valueOf = (result: SourceResult<NvmlReading>): NvmlReading => {
    if (result.status !== "ok") throw new Error(result.reason);
    return result.value;
  };
  const only = ({ gpus }: NvmlReading): Gpu => {
    const [gpu] = gpus;
    if (!gpu || gpus.length !== 1) throw new Error(`${gpus.length} GPUs`);
    return gpu;
  };

  it.each([
    [
      "h100",
      () => h100({ processes: [{ pid: 42, kind: "compute", memory: 5_000_000_001 }], samples: [{ pid: 42, sm: 61 }] }),
    ],
    ["rtx4090", () => rtx4090()],
    ["a100-mig", () => a100Mig()],
  ] as const)("reads every value of a %s", async (name, gpu) => {
    const { read } = setUp({ driverVersion: "570.86.15", cudaVersion: 13000, gpus: [gpu()] });
    const golden = join(GOLDENS, `nvml-${name}.json`);
    const text = `${JSON.stringify(await read(), undefined, 2)}\n`;
    if (process.env.UPDATE_GOLDENS !== undefined) writeGolden(golden, text);
    expect(text).toBe(readFileSync(golden, "utf8"));
  });

  it("needs at most 60 driver calls per GPU and reading", async () => {
    const { driver, read } = setUp({ gpus: [h100(), rtx4090()] });
    await read();
    const calls = () => Object.values(driver.calls()).reduce((sum, count) => sum + count, 0);
    const before = calls();
    for (let reading = 0; reading < 5; reading++) await read();
    expect((calls() - before) / 10).toBeLessThanOrEqual(60);
  });

  const fallbacks: readonly (readonly [readonly string[], keyof Gpu])[] = [
    [["nvmlDeviceGetTemperatureV"], "temperatureCelsius"],
    [["nvmlDeviceGetMemoryInfo_v2"], "memoryUsedBytes"],
    [["nvmlDeviceGetComputeRunningProcesses_v3"], "processes"],
    [["nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"], "processes"],
    [["nvmlDeviceGetCurrentClocksEventReasons"], "clockEventReasonActive"],
    [["nvmlDeviceGetFanSpeed_v2"], "fanSpeedRatio"],
  ];
  it.each(fallbacks)("falls back to the older call without %j", async (missing, property) => {
    const gpu = rtx4090({ processes: [{ pid: 42, kind: "compute", memory: 7 }] });
    const whole = only(await setUp({ gpus: [gpu] }).read());
    const older = only(await setUp({ gpus: [gpu] }, { library: withoutSymbols([...missing]) }).read());
    const expected =
      property === "memoryUsedBytes"
        ? (whole.memoryUsedBytes ?? 0) + (whole.memoryReservedBytes ?? 0)
        : whole[property];
    if (property === "fanSpeedRatio") expect(Object.keys(older.fanSpeedRatio ?? {})).toEqual(["0"]);
    else expect(older[property]).toEqual(expected);
    if (property === "memoryUsedBytes") expect(older.memoryReservedBytes).toBeUndefined();
  });

  it("keeps the processes of a driver without the newest list in every reading, not only in the first", async () => {
    const gpu = h100({ processes: [{ pid: 42, kind: "compute", memory: 7 }] });
    const library = withoutSymbols(["nvmlDeviceGetComputeRunningProcesses_v3"]);
    const { read } = setUp({ gpus: [gpu] }, { library });
    for (let reading = 0; reading < 3; reading++) {
      expect(only(await read()).processes).toMatchObject([{ pid: 42, memoryBytes: 7 }]);
    }
  });

  it("reads the 32-byte process entries of driver 535", async () => {
    const processes = [1, 2, 3].map((pid) => ({ pid, kind: "compute" as const, memory: pid * 1_000 }));
    const { read } = setUp(
      { processStride: 32, gpus: [h100({ processes })] },
      { library: withoutSymbols(["nvmlDeviceGetRunningProcessDetailList"]) },
    );
    expect(only(await read()).processes?.map(({ pid, memoryBytes }) => [pid, memoryBytes])).toEqual([
      [1, 1000],
      [2, 2000],
      [3, 3000],
    ]);
  });

  it("leaves out samples over 100 %, of other PIDs, and old ones; a listed process without any is idle", async () => {
    const now = Date.now() * 1000;
    const gpu = h100({
      processes: [1, 2].map((pid) => ({ pid, kind: "compute" as const, memory: 1 })),
      samples: [
        { pid: 1, sm: 30, timestamp: now - 2_000_000 },
        { pid: 1, sm: 40, timestamp: now - 1_000_000 },
        { pid: 1, sm: 3_000, timestamp: now },
        { pid: 99, sm: 50, timestamp: now },
      ],
    });
    const { read } = setUp({ gpus: [gpu] });
    const ratios = async () => only(await read()).processes?.map(({ smUtilizationRatio }) => smUtilizationRatio);
    expect(await ratios()).toEqual([0.4, 0]);
    expect(await ratios()).toEqual([0, 0]);
  });

  it("grows its buffer for more processes than expected", async () => {
    const processes = Array.from({ length: 700 }, (_, index) => ({
      pid: index + 1,
      kind: "compute" as const,
      memory: 1,
    }));
    expect(only(await setUp({ gpus: [h100({ processes })] }).read()).processes).toHaveLength(700);
  });

  it("counts a PID under its MIG instance only, though the parent lists it too", async () => {
    const mig = a100Mig();
    const process_ = { pid: 77, kind: "compute" as const, memory: 5 };
    const [first, ...rest] = mig.mig ?? [];
    const gpu = { ...mig, processes: [process_], mig: first ? [{ ...first, processes: [process_] }, ...rest] : rest };
    const { gpus } = await setUp({ gpus: [gpu] }).read();
    expect(gpus.map(({ gpu: label, processes }) => [label, processes?.length])).toEqual([
      ["0", 0],
      ["0:0", 1],
      ["0:2", 0],
    ]);
    expect(gpus[0]?.processCounts).toMatchObject({ compute: 0 });
  });

  it.each([15, 16])("keeps one lost GPU apart from seven others (code %i)", async (rc) => {
    const eight = Array.from({ length: 8 }, (_, index) => h100({ uuid: `GPU-${index}` }));
    const { driver, read } = setUp({ driverVersion: "570.86.15", gpus: eight });
    await read();
    driver.update({ calls: { nvmlDeviceGetUtilizationRates: { rc, gpu: "3" } } });
    const { gpus } = await read();
    expect(gpus.map(({ up }) => up)).toEqual([true, true, true, false, true, true, true, true]);
    expect(gpus[3]).toMatchObject({
      uuid: "GPU-3",
      name: "NVIDIA H100 80GB HBM3",
      driverVersion: expect.any(String) as unknown as string,
    });
    expect(gpus[3]).not.toHaveProperty("memoryUsedBytes");
    driver.update({ calls: {} });
    expect((await read()).gpus[3]?.up).toBe(true);
  });

  it("knows only vendor and driver of a GPU that was lost before it was read", async () => {
    const { read } = setUp({
      driverVersion: "570.86.15",
      gpus: [h100()],
      calls: { nvmlDeviceGetHandleByIndex_v2: { rc: 15, gpu: "0" } },
    });
    expect((await read()).gpus).toEqual([
      {
        gpu: "0",
        index: 0,
        uuid: "",
        up: false,
        vendor: "nvidia",
        driverVersion: "570.86.15",
        lostReason: "NVML_ERROR_GPU_IS_LOST",
      },
    ]);
  });

  it("omits a value that is not permitted and counts the error", async () => {
    const { read } = setUp({ gpus: [h100()], calls: { nvmlDeviceGetPowerUsage: { rc: 4 } } });
    const reading = await read();
    expect(only(reading).powerDrawWatts).toBeUndefined();
    expect(reading.callErrors).toEqual([
      { function: "nvmlDeviceGetPowerUsage", code: "NVML_ERROR_NO_PERMISSION", count: 1 },
    ]);
  });

  it("asks no more for what a device does not support, and counts it as no error", async () => {
    const { driver, read } = setUp({ gpus: [rtx4090()], calls: { nvmlDeviceGetEccMode: { rc: 3 } } });
    expect((await read()).callErrors).toEqual([]);
    await read();
    expect(driver.calls().nvmlDeviceGetEccMode).toBe(1);
  });

  it("survives a crash: it costs one reading", async () => {
    const { driver, source, read } = setUp({ gpus: [h100()] });
    await read();
    driver.update({ calls: { nvmlDeviceGetUtilizationRates: { crash: true } } });
    expect(await source.read(signal)).toMatchObject({
      status: "failed",
      reason: expect.stringContaining("SIGSEGV") as unknown as string,
    });
    driver.update({ calls: {} });
    expect((await read()).gpus).toHaveLength(1);
    expect(source.restarts).toBe(1);
  });

  it("counts XID errors from zero, and keeps them over a replaced worker", async () => {
    const { driver, source, read } = setUp({ gpus: [h100()] });
    expect(only(await read()).xidErrors).toMatchObject({ "79": 0, "48": 0 });
    driver.addXid(0, 79);
    driver.addXid(0, 13);
    expect(only(await read())).toMatchObject({
      xidErrors: { "79": 1, "13": 1 },
      xidLastTimestampSeconds: { "13": expect.any(Number) as unknown as number },
    });
    driver.update({ calls: { nvmlDeviceGetName: { crash: true }, nvmlDeviceGetUUID: { crash: true } } });
    await source.read(signal);
    driver.update({ calls: {} });
    expect(only(await read()).xidErrors).toMatchObject({ "79": 1, "13": 1 });
  });

  it("is absent while the library does not load, and finds it when it appears", async () => {
    const folder = mkdtempSync(join(tmpdir(), "late-driver-"));
    closing.push(() => {
      rmSync(folder, { recursive: true });
    });
    const late = join(folder, "libnvidia-ml.so.1");
    const { driver, source, clock, workerEnvironment } = setUp({ gpus: [h100()] }, { mode: "auto" });
    const waiting = new NvmlSource({
      library: late,
      mode: "auto",
      timeoutMs: 5_000,
      energyIntervalMs: 0,
      retry: { attempts: 1, delayMs: 1 },
      clock,
      logger: silentLogger,
      workerEnvironment,
    });
    closing.push(() => waiting.close());
    expect(await waiting.read(signal)).toMatchObject({ status: "absent" });
    execFileSync("cp", [driver.library, late]);
    clock.ahead += 56_000;
    expect(await waiting.read(signal)).toMatchObject({ status: "ok" });
    expect(await source.read(signal)).toMatchObject({ status: "ok" });
  });

  it.each([
    ["for another processor", wrongArchitecture],
    ["that is none", notALibrary],
  ])("says that a library %s exists but does not load", async (_title, make) => {
    const { source } = setUp({ gpus: [] }, { library: make() });
    expect(await source.read(signal)).toMatchObject({
      status: "failed",
      reason: expect.stringContaining("exists but does not load") as unknown as string,
    });
  });

  it("reads only the GPUs that are included, by index, UUID or MIG label", async () => {
    const scenario = { gpus: [h100({ uuid: "GPU-a" }), h100({ uuid: "GPU-b" }), a100Mig()] };
    const labels = async (include: readonly string[]) => {
      const reading = await setUp(scenario, { include }).read();
      return [reading.boardCount, ...reading.gpus.map(({ gpu }) => gpu)];
    };
    expect(await labels(["1"])).toEqual([3, "1"]);
    expect(await labels(["GPU-a"])).toEqual([3, "0"]);
    expect(await labels(["2:0"])).toEqual([3, "2:0"]);
  });

  it.each([
    ["in the middle of a hanging call", "later"],
    ["before the worker has started", "at once"],
  ])("leaves no worker behind when its parent is killed %s", async (_moment, end) => {
    const driver = new FakeDriver({ gpus: [h100()], calls: { nvmlDeviceGetName: { hang: "forever" } } });
    const script = join(import.meta.dirname, "../support/hanging-parent.ts");
    const parent = spawn(process.execPath, [script, buildFakeNvml(), end], {
      env: { ...process.env, ...driver.env, NODE_OPTIONS: "" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    closing.push(
      () => {
        driver[Symbol.dispose]();
      },
      () => parent.kill("SIGKILL"),
    );
    const [output] = (await once(parent.stdout, "data")) as [Buffer];
    const pid = Number(output.toString());
    expect(pid).toBeGreaterThan(1);
    if (end === "later") await until(() => (driver.calls().nvmlDeviceGetName ?? 0) > 0);
    parent.kill("SIGKILL");
    const isAlive = () =>
      existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
    await until(() => !isAlive());
  });
});

function writeGolden(golden: string, text: string): void {
  mkdirSync(GOLDENS, { recursive: true });
  writeFileSync(`${golden}.new`, text);
  renameSync(`${golden}.new`, golden);
}
