/** Ollama servers that come and go, are slow, or send too much: the real exporter on fake servers and real processes. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { DummyProcesses } from "../support/dummy-runner.ts";
import { ExporterProcess, samplesOf } from "../support/exporter-process.ts";
import { FakeOllama } from "../support/fake-ollama.ts";
import { FakeDriver, h100 } from "../support/nvml/fake-nvml.ts";
import { recovery } from "../support/recovery.ts";
import { memoryOf } from "../support/system.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<ExporterProcess> {
  const started = await ExporterProcess.start(["--cache.duration=0", "--retry.attempts=1", ...args], { env });
  closing.push(() => started.stop("SIGKILL"));
  return started;
}

function server(models: FakeOllama["models"] = []): FakeOllama {
  const fake = new FakeOllama();
  fake.models = models;
  closing.push(() => fake.close());
  return fake;
}

const loaded = { size: 9, sizeVram: 9 };

describe("an Ollama that is restarted under load", () => {
  it("is down while it is away and up with the first reading after; no scrape fails", async () => {
    // An address of this test alone: nobody else is given the port while the server is away.
    const host = `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}`;
    const first = server([{ name: "m:latest", loaded }]);
    const address = await first.listenOn(host);
    const port = Number(address.split(":")[1]);
    const exporter = await start(["--gpu.backend=none", `--ollama.host=${address}`]);
    const codes = new Set<number>();
    let loading = true;
    const scraper = async (): Promise<void> => {
      while (loading) {
        const answer = await fetch(exporter.url("/metrics"));
        codes.add(answer.status);
        await answer.arrayBuffer();
      }
    };
    const load = Array.from({ length: 8 }, scraper);
    await recovery(exporter, "start", /^ollama_up\{.*\} 1$/m);
    for (let restart = 0; restart < 3; restart++) {
      await first.close();
      await recovery(exporter, "away", /^ollama_up\{.*\} 0$/m);
      await first.listenOn(host, port);
      const { text } = await recovery(exporter, "Ollama restarted under load", /^ollama_up\{.*\} 1$/m);
      expect(samplesOf(text, "ollama_models_loaded")).toEqual({ [`{server="${address}"}`]: 1 });
      expect(samplesOf(text, "ollama_model_loads_total")).toEqual({ [`{server="${address}",model="m:latest"}`]: 0 });
    }
    loading = false;
    await Promise.all(load);
    expect([...codes]).toEqual([200]);
  });
});

describe("a body of 1 GB", () => {
  it.each([
    ["that says so", { "content-length": String(2 ** 30) }],
    ["that does not say so", {}],
  ])("%s is not read: it costs the server its reading and the exporter no memory", async (_title, headers) => {
    let sent = 0;
    const fake = server();
    fake.behaviours.set("/api/ps", (_, response) => {
      response.writeHead(200, { "content-type": "application/json", ...headers });
      const block = Buffer.alloc(1 << 20, " ");
      const more = (): void => {
        while (!response.destroyed && sent < 2 ** 30) {
          sent += block.length;
          if (!response.write(block)) break;
        }
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    });
    const address = await fake.listen();
    const exporter = await start(["--gpu.backend=none", `--ollama.host=${address}`]);
    await exporter.scrape();
    const before = memoryOf(exporter.child.pid ?? 0, "VmHWM");
    sent = 0;
    expect(samplesOf(await exporter.scrape(), "ollama_up")).toEqual({ [`{server="${address}"}`]: 0 });
    expect(sent).toBeLessThan(64 << 20);
    expect(memoryOf(exporter.child.pid ?? 0, "VmHWM") - before).toBeLessThan(64 << 20);
    fake.behaviours.clear();
    await recovery(exporter, "a body of 1 GB", /^ollama_up\{.*\} 1$/m);
  });
});

describe("an Ollama that is slow to say what is loaded, with a runner that hangs", () => {
  it("is left out at the scrape's deadline; GPUs and processes are in that answer, and all of it is in the next", async () => {
    const hex = randomBytes(32).toString("hex");
    const runner = createServer(() => undefined).listen(0, "127.0.0.1");
    await once(runner, "listening");
    closing.push(() => {
      runner.closeAllConnections();
      runner.close();
    });
    const table = new DummyProcesses();
    closing.push(() => table.close());
    const { pid } = await table.startRunner({
      argv: [
        ...["/usr/local/lib/ollama/llama-server", "--model", `/m/blobs/sha256-${hex}`],
        ...["--port", String((runner.address() as AddressInfo).port), "--no-webui", "--offline"],
      ],
      parent: await table.startServer(),
    });
    const fake = server([{ name: "m:latest", blob: hex, loaded }]);
    const address = await fake.listen();
    const gpus = new FakeDriver({ gpus: [h100({ processes: [{ pid, memory: 7_000_000_007 }] })] });
    closing.push(() => {
      gpus[Symbol.dispose]();
    });
    const exporter = await start(
      [`--gpu.nvml-library=${gpus.library}`, `--ollama.host=${address}`, "--ollama.timeout=30s"],
      { ...gpus.env },
    );
    await recovery(exporter, "start", /^ollama_model_vram_bytes\{/m);
    const answers: (() => void)[] = [];
    fake.behaviours.set("/api/ps", (request, response) => {
      answers.push(() => {
        fake.usual(request, response);
      });
    });
    const partial = await exporter.scrape({ "X-Prometheus-Scrape-Timeout-Seconds": "1.5" });
    expect(answers).toHaveLength(1); // and has not been given
    expect(samplesOf(partial, "ollama_up")).toEqual({ [`{server="${address}"}`]: 0 });
    expect(samplesOf(partial, "gpu_process_memory_bytes")).toEqual({
      [`{gpu="0",pid="${pid}",process="llama-server"}`]: 7_000_000_007,
    });
    fake.behaviours.clear();
    for (const answer of answers) answer();
    const { text } = await recovery(exporter, "slow /api/ps with a hung runner", /^ollama_up\{.*\} 1$/m);
    expect(samplesOf(text, "ollama_model_vram_bytes")).toEqual({
      [`{server="${address}",model="m:latest",gpu="0"}`]: 7_000_000_007,
    });
    expect(samplesOf(text, "ollama_model_slots")).toEqual({});
  });
});
