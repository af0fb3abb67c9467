/** An exporter on a host where a little of everything is wrong: what the demo never shows. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { DummyProcesses } from "./dummy-runner.ts";
import { ExporterProcess } from "./exporter-process.ts";
import { FakeOllama } from "./fake-ollama.ts";
import { FakeDriver, h100 } from "./nvml/fake-nvml.ts";
import { ROOT } from "./tool-run.ts";

const CACHE_MS = 1000;
/** Of this run alone: other tests' runners are in the same process table. */
const HEX = randomBytes(32).toString("hex");

/** One GPU with errors and a failing driver call, a model that idles, one that has crashed, nobody who takes its pushes. */
export class AilingHost {
  readonly driver = new FakeDriver();
  readonly #ollama = new FakeOllama();
  readonly #processes = new DummyProcesses();
  #exporter: ExporterProcess | undefined;

  async start(): Promise<void> {
    const { pid } = await this.#processes.startRunner({
      argv: ["/usr/local/bin/ollama", "runner", "--model", `/m/blobs/sha256-${HEX}`, "--port", "1"],
      parent: await this.#processes.startServer(),
    });
    const loaded = { size: 5e9, sizeVram: 5e9 };
    this.#ollama.models = [
      { name: "idle:latest", blob: HEX, loaded },
      { name: "crashed:latest", blob: randomBytes(32).toString("hex"), loaded },
    ];
    this.driver.write({
      driverVersion: "570.86.15",
      gpus: [h100({ processes: [{ pid, memory: 5_000_000_000 }], samples: [] })],
      calls: { nvmlDeviceGetPowerUsage: { rc: 999, latencyMs: 100 } },
    });
    const server = await this.#ollama.listen();
    this.#exporter = await ExporterProcess.start(
      [
        `--gpu.nvml-library=${this.driver.library}`,
        `--ollama.host=${server}`,
        `--cache.duration=${CACHE_MS}ms`,
        "--web.max-requests=1",
        "--otlp.endpoint=http://127.0.0.1:1",
        "--otlp.interval=1s",
      ],
      { env: this.driver.env, cli: join(ROOT, "dist/cli.js") },
    );
    await this.#exporter.scrape();
    for (const xid of [79, 31]) this.driver.addXid(0, xid);
  }

  get address(): string {
    if (!this.#exporter) throw new Error("start() first");
    return this.#exporter.address;
  }

  /** More scrapes at a time than it takes; throws when it took them all the same. */
  async crowd(): Promise<void> {
    const url = `http://${this.address}/metrics`;
    // An older reading is served at once, so that none would have to wait for another.
    await delay(CACHE_MS);
    const answers = await Promise.all(Array.from({ length: 8 }, async () => (await fetch(url)).status));
    if (!answers.includes(503)) throw new Error(`no scrape was rejected: ${answers.join()}`);
  }

  async close(): Promise<void> {
    await this.#exporter?.stop("SIGKILL");
    await this.#processes.close();
    await this.#ollama.close();
    this.driver[Symbol.dispose]();
  }
}
