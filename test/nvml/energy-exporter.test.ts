import { afterEach, describe, expect, it } from "@jest/globals";
import { setTimeout as delay } from "node:timers/promises";
import { ExporterProcess, samplesOf } from "../support/exporter-process.ts";
import { a100Mig, FakeDriver, h100, rtx4090, type Scenario } from "../support/nvml/fake-nvml.ts";

const ENERGY = "nvmlDeviceGetTotalEnergyConsumption";
const UTILIZATION = "nvmlDeviceGetProcessUtilization";

describe("the energy of the exporter's worker process", () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function start(
    scenario: Scenario,
    ...args: readonly string[]
  ): Promise<{ readonly driver: FakeDriver; readonly exporter: ExporterProcess }> {
    const driver = new FakeDriver(scenario);
    closing.push(() => {
      driver[Symbol.dispose]();
    });
    const exporter = await ExporterProcess.start(
      [`--gpu.nvml-library=${driver.library}`, "--ollama.host=none", ...args],
      { env: { ...driver.env } },
    );
    closing.push(() => exporter.stop("SIGKILL"));
    return { driver, exporter };
  }

  const energyOf = async (exporter: ExporterProcess) =>
    ((await (await fetch(exporter.url("/api/v1/status"))).json()) as { energy: Record<string, unknown>[] }).energy;

  it("is sampled at --energy.interval without any scrape", async () => {
    const { driver, exporter } = await start({ gpus: [h100()] }, "--energy.interval=50ms", "--cache.duration=1h");
    await exporter.scrape();
    const before = driver.calls()[ENERGY] ?? 0;
    const startedAt = performance.now();
    let sampled = 0;
    while (sampled < 5) {
      await delay(10);
      sampled = (driver.calls()[ENERGY] ?? 0) - before;
    }
    // A machine under load is later, never earlier; the first may be due at once.
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual((sampled - 1) * 50 - 10);
  });

  it("is not sampled, and has no families, with --energy.interval=0", async () => {
    const { driver, exporter } = await start({ gpus: [h100()] }, "--energy.interval=0", "--cache.duration=0");
    await exporter.scrape();
    const before = driver.calls();
    const READINGS = 5;
    let text = "";
    for (let reading = 0; reading < READINGS; reading++) text = await exporter.scrape();
    expect((driver.calls()[ENERGY] ?? 0) - (before[ENERGY] ?? 0)).toBe(READINGS);
    expect((driver.calls()[UTILIZATION] ?? 0) - (before[UTILIZATION] ?? 0)).toBe(READINGS);
    expect(Object.keys(samplesOf(text, "gpu_energy_joules_total"))).toHaveLength(1);
    expect(text).not.toMatch(/^(gpu_attributed_energy|ollama_model_energy|ollama_model_power)/m);
    expect(await energyOf(exporter)).toEqual([]);
  });

  it("comes from the power of a board without a counter, which the status says", async () => {
    const { exporter } = await start(
      { gpus: [rtx4090({ energy: { rc: 3 } }), h100()] },
      "--energy.interval=50ms",
      "--cache.duration=0",
    );
    await exporter.scrape();
    const text = await exporter.scrape();
    expect((await energyOf(exporter)).map(({ source }) => source)).toEqual(["power", "counter"]);
    expect(Object.keys(samplesOf(text, "gpu_attributed_energy_joules_total"))).toHaveLength(6);
  });

  it("is other's on a board in MIG mode, also when its driver tells a utilisation of processes", async () => {
    const board = (energy: number) => ({ ...a100Mig({ uuid: "GPU-m" }), energy, samples: [{ pid: 7, sm: 50 }] });
    const { driver, exporter } = await start(
      { gpus: [board(1_000_000)] },
      "--energy.interval=1h",
      "--cache.duration=0",
    );
    await exporter.scrape();
    driver.update({ gpus: [board(3_500_000)] });
    expect(samplesOf(await exporter.scrape(), "gpu_attributed_energy_joules_total")).toEqual({
      '{gpu="0",uuid="GPU-m",owner="ollama"}': 0,
      '{gpu="0",uuid="GPU-m",owner="other"}': 2_500,
      '{gpu="0",uuid="GPU-m",owner="idle"}': 0,
    });
  });

  it("teaches an idle floor, which the status shows", async () => {
    const board = (energy: number) => h100({ uuid: "GPU-i", energy, samples: [] });
    const startedAt = performance.now();
    const { driver, exporter } = await start({ gpus: [board(0)] }, "--energy.interval=1h", "--cache.duration=0");
    await exporter.scrape();
    let floor: unknown;
    while (floor === undefined) {
      await delay(20);
      driver.update({ gpus: [board(Math.round((performance.now() - startedAt) * 80))] });
      await exporter.scrape();
      floor = (await energyOf(exporter))[0]?.idleFloorWatts;
    }
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(500);
    expect(floor).toBeGreaterThan(0);
  });
});
