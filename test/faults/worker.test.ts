/** What happens to the driver's worker process from outside, in each of its phases: the real exporter on the fake driver. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { ExporterProcess, samplesOf } from "../support/exporter-process.ts";
import { type CallRule, FakeDriver, h100 } from "../support/nvml/fake-nvml.ts";
import { recovery, until } from "../support/recovery.ts";
import { childrenOf, limit, memoryOf } from "../support/system.ts";

const GPU_IS_THERE = /^gpu_up\{gpu="0".*\} 1$/m;
const HANGS: CallRule = { hang: "while-set" };

describe("the driver worker", () => {
  const driver = new FakeDriver({ gpus: [h100({ processes: [] })] });
  let exporter: ExporterProcess;

  beforeAll(async () => {
    exporter = await ExporterProcess.start(
      [
        `--gpu.nvml-library=${driver.library}`,
        ...["--ollama.host=none", "--cache.duration=0", "--energy.interval=20ms", "--gpu.timeout=30s"],
      ],
      { env: { ...driver.env } },
    );
  });
  afterEach(() => {
    driver.update({ calls: {} });
  });
  afterAll(async () => {
    await exporter.stop("SIGKILL");
    driver[Symbol.dispose]();
  });

  const worker = (): number => {
    const [pid, another] = childrenOf(exporter.child.pid ?? 0);
    if (pid === undefined || another !== undefined) throw new Error("not exactly one worker");
    return pid;
  };
  const killIdle = async (): Promise<void> => {
    process.kill(worker(), "SIGKILL");
    await until(() => childrenOf(exporter.child.pid ?? 0).length === 0);
  };
  const restarts = (text: string): number => samplesOf(text, "ollama_gpu_exporter_nvml_restarts_total")[""] ?? NaN;
  const isInside = (name: string, seen = driver.calls()[name] ?? 0): Promise<void> =>
    until(() => (driver.calls()[name] ?? 0) > seen);
  const nvmlSuccess = (text: string): number | undefined =>
    samplesOf(text, "ollama_gpu_exporter_collector_success")['{collector="nvml",target="local"}'];

  it("that is killed while it is idle costs no reading, and is counted", async () => {
    const before = await recovery(exporter, "start", GPU_IS_THERE);
    const pid = worker();
    await killIdle();
    const after = await recovery(exporter, "worker killed while idle", GPU_IS_THERE);
    expect(after.scrapes).toBe(1);
    expect(restarts(after.text)).toBe(restarts(before.text) + 1);
    expect(worker()).not.toBe(pid);
  });

  it.each([
    ["while it starts", "nvmlInit_v2", true],
    ["in the middle of a reading", "nvmlDeviceGetUtilizationRates", false],
  ])("that is killed %s costs that reading, and the next one is good", async (phase, name, anew) => {
    const before = restarts(await exporter.scrape());
    if (anew) await killIdle();
    const seen = driver.calls()[name];
    driver.update({ calls: { [name]: HANGS } });
    const lost = exporter.scrape();
    await isInside(name, seen);
    process.kill(worker(), "SIGKILL");
    expect(nvmlSuccess(await lost)).toBe(0);
    driver.update({ calls: {} });
    const { text, scrapes } = await recovery(exporter, `worker killed ${phase}`, GPU_IS_THERE);
    expect(scrapes).toBe(1);
    expect(restarts(text)).toBe(before + (anew ? 2 : 1));
  });

  it("that is killed while it samples energy between two readings loses none that was counted", async () => {
    const parts = (text: string): number =>
      Object.values(samplesOf(text, "gpu_attributed_energy_joules_total")).reduce((a, b) => a + b);
    const before = await exporter.scrape();
    const seen = driver.calls().nvmlDeviceGetTotalEnergyConsumption;
    driver.update({ calls: { nvmlDeviceGetTotalEnergyConsumption: HANGS } });
    await isInside("nvmlDeviceGetTotalEnergyConsumption", seen);
    process.kill(worker(), "SIGKILL");
    driver.update({ calls: {} });
    const { text } = await recovery(exporter, "worker killed while it samples energy", GPU_IS_THERE);
    expect(parts(text)).toBeGreaterThanOrEqual(parts(before));
  });

  it("that gets no more memory dies alone; the exporter says so and starts another", async () => {
    const before = await exporter.scrape();
    const pid = worker();
    limit(pid, "as", memoryOf(pid, "VmSize"));
    // What it has set free before may be enough for a while.
    for (let success: number | undefined = 1, length = 30_000; success !== 0; length *= 2) {
      expect(length).toBeLessThan(1_000_000);
      const many = Array.from({ length }, (_, index) => ({ pid: 5_000_000 + index, memory: 1 }));
      driver.update({ gpus: [h100({ processes: many })] });
      success = nvmlSuccess(await exporter.scrape());
    }
    expect(exporter.stderr.join("\n")).toMatch(/collector failed.*The driver worker ended in the middle of a reading/);
    driver.update({ gpus: [h100({ processes: [] })] });
    const { text } = await recovery(exporter, "worker out of memory", GPU_IS_THERE);
    expect(restarts(text)).toBe(restarts(before) + 1);
  });
});
