/** The driver's worker under a clock that the test turns: what hangs, dies or is not there, and how long it is waited for. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { copyFileSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/logger.ts";
import { type Worker, WorkerProcess } from "../../src/sources/nvml/worker-process.ts";
import { NvmlSource, type NvmlSourceOptions } from "../../src/sources/nvml/source.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";
import { buildFakeNvml, FakeDriver, h100, type Scenario, withoutSymbols } from "../support/nvml/fake-nvml.ts";
import { until } from "../support/recovery.ts";

const TIMEOUT_MS = 5_000;
const HANGS = { hang: "forever" } as const;

describe("the driver's source", () => {
  const closing: (() => unknown)[] = [];
  const { signal } = new AbortController();
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  function setUp(scenario: Scenario = { gpus: [h100()] }, options: Partial<NvmlSourceOptions> = {}) {
    const driver = new FakeDriver(scenario);
    const clock = new FakeClock();
    const workers: WorkerProcess[] = [];
    // Jest's process.env is a copy that no child inherits.
    const workerEnvironment = { ...process.env, NODE_OPTIONS: "", ...driver.env };
    const source = new NvmlSource({
      library: driver.library,
      mode: "nvml",
      timeoutMs: TIMEOUT_MS,
      energyIntervalMs: 0,
      retry: { attempts: 1, delayMs: 1 },
      clock,
      logger: silentLogger,
      workerEnvironment,
      startWorker: () => {
        const worker = new WorkerProcess(workerEnvironment);
        workers.push(worker);
        return worker;
      },
      ...options,
    });
    closing.push(
      () => {
        driver[Symbol.dispose]();
      },
      () => source.close(),
      () => {
        for (const worker of workers) worker.kill();
      },
    );
    const read = () => source.read(signal);
    /** A reading that is inside the named call when its time is over. */
    const readInto = async (name: string) => {
      const seen = driver.calls()[name] ?? 0;
      const reading = read();
      await until(() => (driver.calls()[name] ?? 0) > seen);
      await clock.advance(TIMEOUT_MS);
      return reading;
    };
    return { driver, clock, source, workers, read, readInto };
  }

  it("kills a hung worker at the deadline, but no second one within 30 s", async () => {
    const { driver, source, clock, read, readInto } = setUp();
    expect(await read()).toMatchObject({ status: "ok" });
    driver.update({ calls: { nvmlDeviceGetName: HANGS, nvmlDeviceGetUtilizationRates: HANGS } });
    expect(await readInto("nvmlDeviceGetUtilizationRates")).toMatchObject({ status: "failed", timedOut: true });
    expect(await readInto("nvmlDeviceGetName")).toMatchObject({ status: "failed", timedOut: true });
    expect(source.restarts).toBe(1);
    const busy = read();
    await clock.advance(30_000);
    expect(await busy).toMatchObject({ status: "failed", timedOut: true });
    driver.update({ calls: {} });
    expect(await read()).toMatchObject({ status: "ok", value: { gpus: [{ gpu: "0", up: true }] } });
    expect(source.restarts).toBe(2);
  });

  it("kills a worker that is stopped (SIGSTOP) at the deadline, and reads with another", async () => {
    const { source, clock, workers, read } = setUp();
    await read();
    process.kill(workers[0]?.pid ?? 0, "SIGSTOP");
    const reading = read();
    await clock.advance(TIMEOUT_MS);
    expect(await reading).toMatchObject({ status: "failed", timedOut: true });
    await workers[0]?.ended;
    expect(await read()).toMatchObject({ status: "ok" });
    expect(source.restarts).toBe(1);
  });

  it("starts no other worker while the kernel holds the killed one for the driver", async () => {
    const ended = Promise.withResolvers<undefined>();
    let started = 0;
    const held = (): Worker => {
      started += 1;
      return {
        dead: false,
        busy: undefined,
        ended: ended.promise.then(() => undefined),
        read: () => Promise.withResolvers<never>().promise,
        kill: () => undefined,
        close: () => undefined,
      };
    };
    const { clock, read } = setUp({}, { startWorker: held });
    const late = async () => {
      const reading = read();
      await clock.advance(TIMEOUT_MS);
      return reading;
    };
    expect(await late()).toMatchObject({ reason: expect.stringContaining("did not answer") as unknown });
    for (let reading = 0; reading < 10; reading++) {
      const reason = expect.stringContaining("holds a killed worker") as unknown;
      expect(await late()).toMatchObject({ status: "failed", timedOut: true, reason });
    }
    expect(started).toBe(1);
    ended.resolve(undefined);
    await settle();
    await late();
    expect(started).toBe(2);
  });

  it("waits longer from death to death, and at most 30 s", async () => {
    const { driver, source, clock, workers, read } = setUp();
    await read();
    driver.update({ calls: { nvmlDeviceGetName: { crash: true }, nvmlDeviceGetUtilizationRates: { crash: true } } });
    for (const waitMs of [0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      const died = expect.stringContaining("SIGSEGV") as unknown;
      expect(await read()).toMatchObject({ status: "failed", reason: died });
      if (waitMs > 0) {
        const waits = expect.stringContaining(`the next one is started in ${waitMs / 1000} s`) as unknown;
        expect(await read()).toMatchObject({ status: "failed", reason: waits });
      }
      await clock.advance(waitMs);
    }
    driver.update({ calls: {} });
    expect(await read()).toMatchObject({ status: "ok" });
    expect([source.restarts, workers.length]).toEqual([8, 9]);
  });

  it("says that the system gives it no process, counts no restart, and reads as soon as it does", async () => {
    const { driver, source, read } = setUp(undefined, {
      startWorker: () =>
        new WorkerProcess({ ...process.env, ...(isFull && { FULL: "x".repeat(4 << 20) }), ...driver.env }),
    });
    let isFull = true; // an environment beyond the kernel's limit: execve fails as it does for want of memory
    const reason = expect.stringMatching(/^The driver worker cannot be started: .*spawn/) as unknown;
    expect(await read()).toMatchObject({ status: "failed", reason });
    expect(await read()).toMatchObject({ status: "failed", reason });
    isFull = false;
    expect(await read()).toMatchObject({ status: "ok" });
    expect(source.restarts).toBe(0);
  });

  const CODES: readonly (readonly [code: number, words: string])[] = [
    [1, "NVML_ERROR_UNINITIALIZED (1)"],
    [2, "NVML_ERROR_INVALID_ARGUMENT (2)"],
    [3, "NVML_ERROR_NOT_SUPPORTED (3)"],
    [4, "NVML_ERROR_NO_PERMISSION (4); run the exporter as a user who may open /dev/nvidia*"],
    [6, "NVML_ERROR_NOT_FOUND (6)"],
    [7, "NVML_ERROR_INSUFFICIENT_SIZE (7)"],
    [9, "NVML_ERROR_DRIVER_NOT_LOADED (9); load the NVIDIA kernel module"],
    [10, "NVML_ERROR_TIMEOUT (10)"],
    [12, "NVML_ERROR_LIBRARY_NOT_FOUND (12); install the NVIDIA driver"],
    [13, "NVML_ERROR_FUNCTION_NOT_FOUND (13)"],
    [15, "NVML_ERROR_GPU_IS_LOST (15); the GPU fell off the bus"],
    [16, "NVML_ERROR_RESET_REQUIRED (16); the GPU needs a reset"],
    [17, "NVML_ERROR_OPERATING_SYSTEM (17); the container may have lost access"],
    [20, "NVML_ERROR_MEMORY (20)"],
    [21, "NVML_ERROR_NO_DATA (21)"],
    [23, "NVML_ERROR_INSUFFICIENT_RESOURCES (23)"],
    [25, "NVML_ERROR_ARGUMENT_VERSION_MISMATCH (25)"],
    [26, "NVML_ERROR_DEPRECATED (26)"],
    [27, "NVML_ERROR_NOT_READY (27)"],
    [28, "NVML_ERROR_GPU_NOT_FOUND (28)"],
    [29, "NVML_ERROR_INVALID_STATE (29)"],
    [999, "NVML_ERROR_UNKNOWN (999); see the kernel log"],
    [12345, "NVML_ERROR_12345 (12345)"],
  ];

  it("says what is wrong, and what to do, for each code that initialising may fail with, and recovers in the same worker", async () => {
    const { driver, source, workers, read } = setUp();
    for (const [rc, words] of CODES) {
      driver.update({ calls: { nvmlInit_v2: { rc } } });
      const reason = expect.stringContaining(`Cannot read the GPUs: nvmlInit_v2: ${words}`) as unknown;
      expect(await read()).toMatchObject({ status: "failed", timedOut: false, reason });
    }
    driver.update({ calls: {} });
    expect(await read()).toMatchObject({ status: "ok", value: { gpus: [{ gpu: "0", up: true }] } });
    expect([workers.length, source.restarts]).toEqual([1, 0]);
  });

  it("initialises again in the same worker when the driver forgot it (code 1)", async () => {
    const { driver, workers, read } = setUp();
    await read();
    driver.update({ calls: { nvmlDeviceGetUtilizationRates: { rc: 1 } } });
    expect(await read()).toMatchObject({ status: "failed" });
    driver.update({ calls: {} });
    expect(await read()).toMatchObject({ status: "ok" });
    expect(driver.calls()).toMatchObject({ nvmlInit_v2: 2 });
    expect(workers).toHaveLength(1);
  });

  it("loads a driver that was upgraded under it (code 18) in a new worker", async () => {
    const folder = mkdtempSync(join(tmpdir(), "upgraded-driver-"));
    closing.push(() => {
      rmSync(folder, { recursive: true });
    });
    const library = join(folder, "libnvidia-ml.so.1");
    const install = (from: string): void => {
      copyFileSync(from, `${library}.new`);
      renameSync(`${library}.new`, library);
    };
    install(withoutSymbols(["nvmlDeviceGetUtilizationRates"]));
    const { driver, source, clock, workers, read } = setUp(undefined, { library });
    const old = await read();
    expect(old.status === "ok" && old.value.gpus[0]).not.toHaveProperty("utilizationRatio");
    install(buildFakeNvml());
    driver.update({ calls: { "*": { rc: 18 } } });
    const reason = expect.stringContaining(
      "(18); the driver was upgraded while its kernel module was loaded",
    ) as unknown;
    expect(await read()).toMatchObject({ status: "failed", reason });
    await workers[0]?.ended;
    expect(await read()).toMatchObject({ status: "failed", reason });
    driver.update({ calls: {} });
    await clock.advance(1_000);
    const upgraded = await read();
    expect(upgraded.status === "ok" && upgraded.value.gpus[0]).toHaveProperty("utilizationRatio");
    expect([workers.length, source.restarts]).toEqual([3, 2]);
  });

  it("reads what there is with a driver that knows only the first version of NVML", async () => {
    const scenario: Scenario = { gpus: [h100({ processes: [{ pid: 42, memory: 7 }] })] };
    const whole = setUp(scenario);
    await whole.read();
    const essential = ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID"];
    const others = Object.keys(whole.driver.calls()).filter(
      (name) => ![...essential, "nvmlDeviceGetName"].includes(name),
    );
    expect(others.length).toBeGreaterThan(30);
    const { read } = setUp(scenario, { library: withoutSymbols(others) });
    const reading = await read();
    const processes = [{ pid: 42, memoryBytes: 7 }];
    expect(reading).toMatchObject({ status: "ok", value: { gpus: [{ gpu: "0", up: true, processes }] } });
    expect(reading.status === "ok" && reading.value.gpus[0]).not.toHaveProperty("utilizationRatio");
    const nothing = setUp(undefined, { library: withoutSymbols(["nvmlInit_v2"]) });
    const reason = expect.stringContaining("nvmlInit_v2: NVML_ERROR_FUNCTION_NOT_FOUND (13)") as unknown;
    expect(await nothing.read()).toMatchObject({ status: "failed", reason });
  });
});
