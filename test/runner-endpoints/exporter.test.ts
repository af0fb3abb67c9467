import { afterEach, describe, expect, it } from "@jest/globals";
import { ProcTree } from "../processes/proc-tree.ts";
import { ExporterProcess, samplesOf } from "../support/exporter-process.ts";
import { FakeOllama } from "../support/fake-ollama.ts";
import { FakeRunner, recording } from "../support/fake-runner.ts";

const HEX = "cd".repeat(32);
const SERVER = 500;
/** PID of the first runner. */
const FIRST = 600;

describe("the families of a model's runners", () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  interface Machine {
    readonly exporter: ExporterProcess;
    /** Of this machine alone: exporters of other tests ask every runner in the real process table. */
    readonly table: ProcTree;
    /** Labels of the model's families. */
    readonly label: string;
  }

  async function runner(): Promise<FakeRunner> {
    const fake = new FakeRunner();
    await fake.listen();
    closing.push(() => fake.close());
    return fake;
  }

  /** The exporter beside one server whose one model is run by these. */
  async function machine(runners: readonly FakeRunner[], ...args: readonly string[]): Promise<Machine> {
    const ollama = new FakeOllama();
    closing.push(() => ollama.close());
    ollama.models = [{ name: "m:latest", blob: HEX, loaded: { size: 9, sizeVram: 9 } }];
    const address = await ollama.listen();
    const port = Number(address.split(":")[1]);
    const table = new ProcTree([{ pid: SERVER, argv: ["/usr/bin/ollama", "serve"], listeners: { 9001: port } }]);
    closing.push(() => {
      table.close();
    });
    runners.forEach((fake, index) => {
      table.add({ pid: FIRST + index, parentPid: SERVER, argv: fake.argv(HEX) });
    });
    const exporter = await ExporterProcess.start([
      "--gpu.backend=none",
      `--ollama.host=${address}`,
      "--cache.duration=0",
      `--path.procfs=${table.root}`,
      ...args,
    ]);
    closing.push(() => exporter.stop("SIGKILL"));
    return { exporter, table, label: `{server="${address}",model="m:latest"}` };
  }

  const cached = (label: string, value: boolean) => label.replace("}", `,cached="${value}"}`);

  it("are what the recordings say, and no text of a request is anywhere", async () => {
    const fake = await runner();
    const secret = recording("slots-while-busy.json")
      .replace('"params"', '"prompt":"SECRET","params"')
      .replace('"generation_prompt":""', '"generation_prompt":"SECRET"');
    expect(secret.match(/SECRET/g)).toHaveLength(2);
    fake.behaviours.set("/slots", (response) => void response.end(secret));
    const { exporter, label } = await machine([fake], "--log.level=debug");
    const text = await exporter.scrape();
    const expected: Readonly<Record<string, Readonly<Record<string, number>>>> = {
      ollama_model_slots: { [label]: 1 },
      ollama_model_slots_busy: { [label]: 1 },
      ollama_model_active_tokens: { [label]: 2210 },
      ollama_model_generated_tokens_total: { [label]: 21 },
      ollama_model_prompt_tokens_total: { [cached(label, true)]: 8, [cached(label, false)]: 41 },
      ollama_model_prompt_seconds_total: { [label]: 0.004697 },
      ollama_model_generation_seconds_total: { [label]: 0.007497 },
      ollama_model_requests_processing: { [label]: 1 },
      ollama_model_requests_deferred: { [label]: 0 },
      ollama_model_request_metrics: { [label]: 1 },
    };
    for (const [family, samples] of Object.entries(expected))
      expect([family, samplesOf(text, family)]).toEqual([family, samples]);
    const status = await (await fetch(exporter.url("/api/v1/status"))).text();
    expect(status).toContain('"activeTokens":2210');
    for (const shown of [text, status, ...exporter.stderr]) expect(shown).not.toContain("SECRET");
  });

  it("sum over two runners of a model; a part that is unknown makes the sum unknown", async () => {
    const [one, two] = [await runner(), await runner()];
    two.busy = false;
    const { exporter, label } = await machine([one, two]);
    const text = await exporter.scrape();
    expect(samplesOf(text, "ollama_model_slots")).toEqual({ [label]: 2 });
    expect(samplesOf(text, "ollama_model_slots_busy")).toEqual({ [label]: 1 });
    expect(samplesOf(text, "ollama_model_generated_tokens_total")).toEqual({ [label]: 21 + 257 });
    two.behaviours.set("/metrics", (response) => void response.writeHead(500).end());
    const half = await exporter.scrape();
    expect(samplesOf(half, "ollama_model_slots")).toEqual({ [label]: 2 });
    expect(half).not.toMatch(/^ollama_model_(generated_tokens_total|request_metrics)\{/m);
  });

  it("begin anew with a new runner", async () => {
    const fake = await runner();
    fake.busy = false;
    const { exporter, table, label } = await machine([fake]);
    expect(samplesOf(await exporter.scrape(), "ollama_model_generated_tokens_total")).toEqual({ [label]: 257 });
    table.remove(String(FIRST));
    expect(await exporter.scrape()).not.toMatch(/^ollama_model_(generated|slots|request_metrics)/m);
    fake.busy = true;
    table.add({ pid: FIRST + 1, parentPid: SERVER, argv: fake.argv(HEX) });
    const text = await exporter.scrape();
    expect(samplesOf(text, "ollama_model_generated_tokens_total")).toEqual({ [label]: 21 });
    expect(samplesOf(text, "ollama_model_unloads_total")).toEqual({ [label]: 1 });
  });

  it("are 0 for request metrics that are off; the status and the landing page say how to switch them on", async () => {
    const fake = await runner();
    fake.metrics = false;
    const { exporter, label } = await machine([fake]);
    const text = await exporter.scrape();
    expect(samplesOf(text, "ollama_model_request_metrics")).toEqual({ [label]: 0 });
    expect(samplesOf(text, "ollama_model_slots")).toEqual({ [label]: 1 });
    expect(text).not.toMatch(/^ollama_model_(generated|prompt|requests)/m);
    for (const path of ["/", "/api/v1/status"])
      expect(await (await fetch(exporter.url(path))).text()).toContain("LLAMA_ARG_ENDPOINT_METRICS=1");
    fake.metrics = true;
    await exporter.scrape();
    for (const path of ["/", "/api/v1/status"])
      expect(await (await fetch(exporter.url(path))).text()).not.toContain("LLAMA_ARG_ENDPOINT_METRICS=1");
  });

  it("change nothing else when a runner hangs", async () => {
    const fake = await runner();
    for (const path of ["/slots", "/metrics"]) fake.behaviours.set(path, () => undefined);
    const { exporter, label } = await machine([fake]);
    const text = await exporter.scrape();
    expect(fake.requests).not.toEqual([]);
    expect(samplesOf(text, "ollama_model_loaded")).toEqual({ [label]: 1 });
    expect(samplesOf(text, "ollama_model_runner_up")).toEqual({ [label]: 1 });
    expect(text).not.toMatch(/^ollama_model_(slots|active|generated|prompt|generation|request)/m);
    expect(new Set(Object.values(samplesOf(text, "ollama_gpu_exporter_collector_success")))).toEqual(new Set([1]));
  });

  it("are absent, and no runner is asked at all, with --ollama.runner-metrics=off", async () => {
    const fake = await runner();
    const { exporter, label } = await machine([fake], "--ollama.runner-metrics=off");
    const text = await exporter.scrape();
    expect(samplesOf(text, "ollama_model_loaded")).toEqual({ [label]: 1 });
    expect(text).not.toMatch(/^ollama_model_(slots|active|generated|prompt|generation|request)/m);
    expect(fake.requests).toEqual([]);
  });
});
