import { afterEach, describe, expect, it } from "@jest/globals";
import { randomBytes } from "node:crypto";
import { DummyProcesses } from "./support/dummy-runner.ts";
import { ExporterProcess, samplesOf } from "./support/exporter-process.ts";
import { FakeOllama } from "./support/fake-ollama.ts";
import { FakeOtlp, metricsOf } from "./support/fake-otlp.ts";
import { a100Mig, FakeDriver, h100, rtx4090 } from "./support/nvml/fake-nvml.ts";

/** Of this run alone: other tests' runners are in the same process table. */
const HEX = randomBytes(32).toString("hex");
const OTHER_HEX = randomBytes(32).toString("hex");
const BLOBS = "/usr/share/ollama/.ollama/models/blobs";

const RUNNERS: readonly (readonly [generation: string, argv: readonly string[]])[] = [
  [
    "0.1.3x to 0.5.6",
    [
      "/tmp/ollama1/runners/cuda_v12/ollama_llama_server",
      "--model",
      `${BLOBS}/sha256-${HEX}`,
      "--ctx-size",
      "8192",
      "--parallel",
      "4",
      "--port",
      "34567",
    ],
  ],
  [
    "0.5.7 to 0.24",
    ["/usr/local/bin/ollama", "runner", "--ollama-engine", "--model", `${BLOBS}/sha256-${HEX}`, "--port", "34567"],
  ],
  [
    "0.30 and later",
    [
      "/usr/local/lib/ollama/llama-server",
      "--model",
      `${BLOBS}/sha256-${HEX}`,
      "--port",
      "34567",
      "--host",
      "127.0.0.1",
      "--no-webui",
      "--offline",
      "-c",
      "4096",
      "-np",
      "1",
    ],
  ],
  ["MLX", ["/usr/local/bin/ollama", "runner", "--mlx-engine", "--model", "m:latest", "--port", "34567"]],
];

describe("the exporter as a process", () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  function processes(): DummyProcesses {
    const all = new DummyProcesses();
    closing.push(() => all.close());
    return all;
  }

  async function ollama(models: FakeOllama["models"]): Promise<{ fake: FakeOllama; address: string }> {
    const fake = new FakeOllama();
    fake.models = models;
    closing.push(() => fake.close());
    return { fake, address: await fake.listen() };
  }

  function driver(...parameters: ConstructorParameters<typeof FakeDriver>): FakeDriver {
    const made = new FakeDriver(...parameters);
    closing.push(() => {
      made[Symbol.dispose]();
    });
    return made;
  }

  async function exporter(fake: FakeDriver | undefined, args: readonly string[]): Promise<ExporterProcess> {
    const gpu = fake ? [`--gpu.nvml-library=${fake.library}`] : ["--gpu.backend=none"];
    const started = await ExporterProcess.start(
      [...gpu, "--cache.duration=0", ...args],
      fake ? { env: { ...fake.env } } : {},
    );
    closing.push(() => started.stop("SIGKILL"));
    return started;
  }

  const loaded = { size: 9_000_000_000, sizeVram: 9_000_000_000 };

  it.each(RUNNERS)("gives a split model's bytes to each GPU, runner of %s", async (_generation, argv) => {
    const table = processes();
    const { pid } = await table.startRunner({ argv, parent: await table.startServer() });
    const { address } = await ollama([{ name: "m:latest", blob: HEX, loaded }]);
    const fake = driver({
      driverVersion: "570.86.15",
      gpus: [
        h100({ processes: [{ pid, kind: "compute", memory: 5_000_000_001 }] }),
        rtx4090({ processes: [{ pid, kind: "compute", memory: 4_000_000_003 }] }),
      ],
    });
    const text = await (await exporter(fake, [`--ollama.host=${address}`])).scrape();
    expect(samplesOf(text, "ollama_model_vram_bytes")).toEqual({
      [`{server="${address}",model="m:latest",gpu="0"}`]: 5_000_000_001,
      [`{server="${address}",model="m:latest",gpu="1"}`]: 4_000_000_003,
    });
  });

  it("tells two servers and a MIG instance apart, to the byte", async () => {
    const table = processes();
    const runner = async (hex: string) =>
      table.startRunner({
        argv: ["/usr/bin/ollama", "runner", "--model", `${BLOBS}/sha256-${hex}`, "--port", "1"],
        parent: await table.startServer(),
      });
    const [one, two] = [await runner(HEX), await runner(OTHER_HEX)];
    const first = await ollama([{ name: "m:latest", blob: HEX, loaded }]);
    const second = await ollama([{ name: "m:latest", blob: OTHER_HEX, loaded }]);
    const mig = a100Mig();
    const [instance, ...others] = mig.mig ?? [];
    const fake = driver({
      gpus: [
        h100({ processes: [{ pid: one.pid, kind: "compute", memory: 7_000_000_007 }] }),
        {
          ...mig,
          mig: [
            {
              ...instance,
              mig: instance?.mig ?? 0,
              processes: [{ pid: two.pid, kind: "compute", memory: 3_000_000_019 }],
            },
            ...others,
          ],
        },
      ],
    });
    const text = await (
      await exporter(fake, [`--ollama.host=${first.address}`, `--ollama.host=${second.address}`])
    ).scrape();
    expect(samplesOf(text, "ollama_model_vram_bytes")).toEqual({
      [`{server="${first.address}",model="m:latest",gpu="0"}`]: 7_000_000_007,
      [`{server="${second.address}",model="m:latest",gpu="1:0"}`]: 3_000_000_019,
    });
  });

  it("answers a scrape within its own deadline while the driver hangs, and heals by itself", async () => {
    const fake = driver({ gpus: [h100()] });
    const running = await exporter(fake, ["--ollama.host=none", "--gpu.timeout=4s"]);
    while (!(await running.scrape()).includes("gpu_up{")); // the hang is to meet a worker that has been started
    fake.update({ calls: { nvmlDeviceGetUtilizationRates: { hang: "forever" } } });
    const startedAt = performance.now();
    const hung = await running.scrape({ "X-Prometheus-Scrape-Timeout-Seconds": "0.8" });
    expect(performance.now() - startedAt).toBeLessThan(4_000); // the driver's own limit; the scrape's is 0.3 s
    expect(samplesOf(hung, "gpu_up")).toEqual({});
    expect(samplesOf(hung, "ollama_gpu_exporter_collector_success")).toMatchObject({
      '{collector="nvml",target="local"}': 0,
    });
    fake.update({ calls: {} });
    let healed = "";
    while (!healed.includes("gpu_up{")) healed = await running.scrape();
    expect(samplesOf(healed, "ollama_gpu_exporter_nvml_restarts_total")).toEqual({ "": 1 });
    expect((await running.stop()).code).toBe(0);
  });

  it("ends within three seconds with a hung driver", async () => {
    const fake = driver({ gpus: [h100()] });
    const running = await exporter(fake, ["--ollama.host=none", "--gpu.timeout=60s"]);
    fake.update({ calls: { nvmlDeviceGetUtilizationRates: { hang: "forever" } } });
    void running.scrape().catch(() => undefined);
    await running.scrape({ "X-Prometheus-Scrape-Timeout-Seconds": "0.6" });
    const { code, ms } = await running.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(3_000);
  });

  it("publishes everything else with no GPU, and everything else with Ollama down", async () => {
    const text = await (await exporter(undefined, ["--ollama.host=127.0.0.1:1", "--retry.attempts=1"])).scrape();
    expect(samplesOf(text, "ollama_up")).toEqual({ '{server="127.0.0.1:1"}': 0 });
    expect(samplesOf(text, "ollama_gpu_exporter_collector_success")).toEqual({
      '{collector="ollama",target="127.0.0.1:1"}': 0,
      '{collector="processes",target="local"}': 1,
    });
  });

  it("finds a driver library that is missing at start absent, without series", async () => {
    const started = await ExporterProcess.start([
      "--gpu.nvml-library=/nonexistent/libnvidia-ml.so.1",
      "--ollama.host=none",
    ]);
    closing.push(() => started.stop("SIGKILL"));
    const text = await started.scrape();
    expect(text).not.toMatch(/^gpu_/m);
    expect(text).not.toContain('collector="nvml"');
  });

  it("serves the same snapshot on /metrics/otel, under OpenTelemetry's names", async () => {
    const fake = driver({ gpus: [h100({ processes: [] })] });
    const running = await exporter(fake, ["--ollama.host=none", "--cache.duration=1h"]);
    const pull = await running.scrape();
    const answer = await fetch(running.url("/metrics/otel"));
    const text = await answer.text();
    expect([answer.status, answer.headers.get("content-type")]).toEqual([
      200,
      "text/plain; version=0.0.4; charset=utf-8",
    ]);
    expect(answer.headers.get("content-encoding")).toBe("gzip");
    expect(samplesOf(text, "gpu_memory_used")).toEqual(samplesOf(pull, "gpu_memory_used_bytes"));
    expect(samplesOf(text, "gpu_energy_total")).toEqual(samplesOf(pull, "gpu_energy_joules_total"));
    expect(text).toMatch(/^target_info\{service_name="ollama-gpu-exporter",/m);
  });

  it("pushes what a scrape shows, from one reading, and flushes at the end", async () => {
    const receiver = new FakeOtlp();
    closing.push(() => receiver.close());
    const url = await receiver.listen();
    const fake = driver({ gpus: [h100({ processes: [] })] });
    const running = await exporter(fake, [
      "--ollama.host=none",
      "--cache.duration=1h",
      `--otlp.endpoint=${url}`,
      "--otlp.protocol=http/json",
      "--otlp.interval=1h",
    ]);
    const pull = await running.scrape();
    const calls = fake.calls();
    expect(await running.stop()).toMatchObject({ code: 0 });
    const [push] = receiver.pushes;
    const energy = push && metricsOf(push).find(({ name }) => name === "gpu.energy");
    expect(energy?.sum?.dataPoints.map(({ asDouble }) => asDouble)).toEqual(
      Object.values(samplesOf(pull, "gpu_energy_joules_total")),
    );
    expect(fake.calls().nvmlDeviceGetTotalEnergyConsumption).toBe(calls.nvmlDeviceGetTotalEnergyConsumption);
  });

  it("ends within three seconds with a hanging collector, which never delayed a scrape", async () => {
    const receiver = new FakeOtlp();
    closing.push(() => receiver.close());
    receiver.answer = () => undefined;
    const url = await receiver.listen();
    const running = await exporter(undefined, [
      "--ollama.host=none",
      `--otlp.endpoint=${url}`,
      "--otlp.interval=100ms",
    ]);
    await receiver.next();
    const startedAt = performance.now();
    await running.scrape();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    const { code, ms } = await running.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(3_000);
  });

  it("attributes energy between two scrapes, also over a worker that was killed; the parts sum to the counter", async () => {
    const table = processes();
    const [, , [, argv]] = RUNNERS as [unknown, unknown, readonly [string, readonly string[]]];
    const { pid } = await table.startRunner({ argv, parent: await table.startServer() });
    const { address } = await ollama([{ name: "m:latest", blob: HEX, loaded }]);
    const gpu = (energy: number, busy: boolean) => ({
      ...h100({ processes: [{ pid, kind: "compute" as const, memory: 1e9 }] }),
      uuid: "GPU-e",
      energy,
      samples: busy
        ? [
            { pid, sm: 60 },
            { pid: 77, sm: 20 },
          ]
        : [],
    });
    const fake = driver({ gpus: [gpu(1_000_000, true)] });
    const running = await exporter(fake, [`--ollama.host=${address}`, "--energy.interval=20ms"]);
    const owner = (name: string) => `{gpu="0",uuid="GPU-e",owner="${name}"}`;
    const label = `{server="${address}",model="m:latest",gpu="0"}`;
    const first = await running.scrape();
    expect(samplesOf(first, "ollama_model_energy_joules_total")).toEqual({ [label]: 0 });
    const base = samplesOf(first, "gpu_energy_joules_total")['{gpu="0",uuid="GPU-e"}'] ?? NaN;
    expect(base).toBe(1_000);
    fake.update({ gpus: [gpu(1_800_000, true)] });
    const busy = await running.scrape();
    expect(samplesOf(busy, "gpu_attributed_energy_joules_total")).toEqual({
      [owner("ollama")]: 600,
      [owner("other")]: 200,
      [owner("idle")]: 0,
    });
    expect(samplesOf(busy, "ollama_model_energy_joules_total")).toEqual({ [label]: 600 });
    expect(samplesOf(busy, "ollama_model_power_watts")[label]).toBeGreaterThan(0);
    fake.update({ calls: { nvmlDeviceGetName: { crash: true }, nvmlDeviceGetUtilizationRates: { crash: true } } });
    let text = await running.scrape();
    fake.update({ calls: {}, gpus: [gpu(2_800_000, true)] });
    while (!text.includes("gpu_up{")) text = await running.scrape();
    const parts = Object.values(samplesOf(text, "gpu_attributed_energy_joules_total"));
    expect(parts.reduce((a, b) => a + b)).toBeCloseTo(1_800, 6);
  });
});
