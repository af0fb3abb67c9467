/** Machines larger than real ones: series are bounded and what is left out is counted. bench/event-loop.ts has the times. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { ProcTree } from "../processes/proc-tree.ts";
import { ExporterProcess, samplesOf } from "../support/exporter-process.ts";
import { FakeOllama } from "../support/fake-ollama.ts";
import { a100Mig, FakeDriver, h100, type Scenario } from "../support/nvml/fake-nvml.ts";
import { recovery } from "../support/recovery.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(args: readonly string[], scenario: Scenario): Promise<ExporterProcess> {
  const driver = new FakeDriver(scenario);
  const started = await ExporterProcess.start(
    [`--gpu.nvml-library=${driver.library}`, "--cache.duration=0", "--ollama.timeout=15s", ...args],
    { env: { ...driver.env } },
  );
  closing.push(
    () => {
      driver[Symbol.dispose]();
    },
    () => started.stop("SIGKILL"),
  );
  return started;
}

async function ollama(models: FakeOllama["models"]): Promise<string> {
  const fake = new FakeOllama();
  fake.models = models;
  closing.push(() => fake.close());
  return fake.listen();
}

const hexOf = (index: number): string => index.toString(16).padStart(64, "0");
const count = (values: Record<string, number>): number => Object.keys(values).length;
const warnings = (exporter: ExporterProcess, words: string): number =>
  exporter.stderr.filter((line) => line.includes(words)).length;

it("1,200 models: 1,000 become series, loaded ones first; the others are counted at every reading and named once", async () => {
  const loaded = { size: 9, sizeVram: 9 };
  const address = await ollama(
    Array.from({ length: 1_200 }, (_, index) => ({
      name: `m${String(index).padStart(4, "0")}:latest`,
      blob: hexOf(index),
      ...(index >= 1_190 && { loaded }),
    })),
  );
  const exporter = await start([`--ollama.host=${address}`], { gpus: [] });
  const first = (await recovery(exporter, "start", /^ollama_up\{.*\} 1$/m)).text;
  const text = await exporter.scrape();
  const series = samplesOf(text, "ollama_model_loaded");
  expect([count(series), Object.values(series).filter((value) => value === 1).length]).toEqual([1_000, 10]);
  expect(series).toHaveProperty([`{server="${address}",model="m0989:latest"}`], 0);
  expect(series).not.toHaveProperty([`{server="${address}",model="m0990:latest"}`]);
  expect(samplesOf(text, "ollama_models_installed")).toEqual({ [`{server="${address}"}`]: 1_200 });
  const dropped = (of: string): number => samplesOf(of, "ollama_gpu_exporter_dropped_total")['{kind="models"}'] ?? NaN;
  expect(dropped(text) - dropped(first)).toBe(200);
  expect(warnings(exporter, "more models than series")).toBe(1);
});

it("1,100 GPU processes: 1,000 become series; the others are counted and named once, their bytes stay in the sums", async () => {
  const processes = Array.from({ length: 1_100 }, (_, index) => ({ pid: 5_000_000 + index, memory: 1_000 }));
  const exporter = await start(["--ollama.host=none", "--processes=all"], { gpus: [h100({ processes })] });
  await recovery(exporter, "start", /^gpu_up\{.*\} 1$/m);
  const text = await exporter.scrape();
  expect(count(samplesOf(text, "gpu_process_memory_bytes"))).toBe(1_000);
  expect(Object.values(samplesOf(text, "gpu_processes"))).toContain(1_100);
  const owners = Object.entries(samplesOf(text, "gpu_memory_owner_bytes"));
  expect(owners.find(([labels]) => labels.includes('owner="other"'))?.[1]).toBe(1_100_000);
  expect(samplesOf(text, "ollama_gpu_exporter_dropped_total")['{kind="processes"}'] ?? 0).toBeGreaterThanOrEqual(100);
  expect(warnings(exporter, "more GPU processes than series")).toBe(1);
});

it("16 GPUs with 7 MIG instances each, a model on each: every byte is with its model on its instance", async () => {
  const at = (gpu: number, mig: number): number => gpu * 7 + mig;
  const board = a100Mig();
  const [pattern] = board.mig ?? [];
  const gpus = Array.from({ length: 16 }, (_, gpu) => ({
    ...board,
    uuid: `GPU-${gpu}`,
    maxMigDevices: 7,
    mig: Array.from({ length: 7 }, (_, mig) => ({
      ...pattern,
      mig,
      uuid: `MIG-${gpu}-${mig}`,
      processes: [{ pid: 100 + at(gpu, mig), memory: 1_000_000 + at(gpu, mig) }],
    })),
  }));
  const table = new ProcTree([
    { pid: 2, argv: ["/usr/local/bin/ollama", "serve"] },
    ...Array.from({ length: 112 }, (_, index) => ({
      pid: 100 + index,
      parentPid: 2,
      argv: ["/usr/local/bin/ollama", "runner", "--model", `/m/blobs/sha256-${hexOf(index)}`, "--port", "1"],
    })),
  ]);
  closing.push(() => {
    table.close();
  });
  const address = await ollama(
    Array.from({ length: 112 }, (_, index) => ({
      name: `m${index}:latest`,
      blob: hexOf(index),
      loaded: { size: 9, sizeVram: 9 },
    })),
  );
  const exporter = await start([`--ollama.host=${address}`, `--path.procfs=${table.root}`], { gpus });
  const { text } = await recovery(exporter, "start", /^ollama_model_vram_bytes\{/m);
  expect(count(samplesOf(text, "gpu_up"))).toBe(16 + 112);
  const expected = gpus.flatMap((_, gpu) =>
    Array.from({ length: 7 }, (__, mig) => [
      `{server="${address}",model="m${at(gpu, mig)}:latest",gpu="${gpu}:${mig}"}`,
      1_000_000 + at(gpu, mig),
    ]),
  );
  expect(samplesOf(text, "ollama_model_vram_bytes")).toEqual(Object.fromEntries(expected));
});

describe("a PID that the kernel gives to another process between two readings", () => {
  const RUNNER = 4_242;
  const argv = (hex: string): readonly string[] => [
    ...["/usr/local/bin/ollama", "runner", "--model", `/m/blobs/sha256-${hex}`, "--port", "1"],
  ];

  it("takes its bytes along: to nobody, to another model, and to the same model loaded anew", async () => {
    const table = new ProcTree([
      { pid: 2, argv: ["/usr/local/bin/ollama", "serve"] },
      { pid: RUNNER, parentPid: 2, startTicks: 100, argv: argv(hexOf(1)) },
    ]);
    closing.push(() => {
      table.close();
    });
    const loaded = { size: 9, sizeVram: 9 };
    const address = await ollama([
      { name: "a:latest", blob: hexOf(1), loaded },
      { name: "b:latest", blob: hexOf(2), loaded },
    ]);
    const exporter = await start([`--ollama.host=${address}`, `--path.procfs=${table.root}`], {
      gpus: [h100({ processes: [{ pid: RUNNER, memory: 7_000 }] })],
    });
    const label = (name: string): string => `{server="${address}",model="${name}:latest"}`;
    const bytes = (text: string) => samplesOf(text, "ollama_model_vram_bytes");
    const on = (name: string) => ({ [label(name).replace("}", ',gpu="0"}')]: 7_000 });
    const first = (await recovery(exporter, "start", /^ollama_model_vram_bytes\{/m)).text;
    expect(bytes(first)).toEqual(on("a"));

    table.add({ pid: RUNNER, parentPid: 1, startTicks: 500, argv: ["/usr/bin/python3", "train.py"] });
    const stranger = await exporter.scrape();
    expect(bytes(stranger)).toEqual({});
    expect(samplesOf(stranger, "ollama_model_runner_up")).toEqual({ [label("a")]: 0, [label("b")]: 0 });

    table.add({ pid: RUNNER, parentPid: 2, startTicks: 900, argv: argv(hexOf(2)) });
    expect(bytes(await exporter.scrape())).toEqual(on("b"));

    table.add({ pid: RUNNER, parentPid: 2, startTicks: 1_300, argv: argv(hexOf(2)) });
    const again = await exporter.scrape();
    expect(bytes(again)).toEqual(on("b"));
    expect(samplesOf(again, "ollama_model_loads_total")).toEqual({ [label("a")]: 0, [label("b")]: 1 });
  });
});
