import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { DummyProcesses } from "./dummy-runner.ts";
import { ExporterProcess } from "./exporter-process.ts";
import { FakeOllama } from "./fake-ollama.ts";
import { a100Mig, FakeDriver, h100, rtx4090 } from "./nvml/fake-nvml.ts";

/** Of this run alone: other tests' runners are in the same process table. */
const HEX = randomBytes(32).toString("hex");

/** Three boards, one of them split, a server with an odd model name and one model that is split over two boards. */
export class FakeMachine {
  /** Bytes of `m:latest` by GPU. */
  static readonly splitBytes = { "0": 5_000_000_001, "2": 4_000_000_003 };
  readonly #processes = new DummyProcesses();
  readonly #ollama = new FakeOllama();
  readonly #exporters: ExporterProcess[] = [];
  #driver: FakeDriver | undefined;
  #address = "";

  async start(): Promise<void> {
    const argv = ["/usr/local/lib/ollama/llama-server", "--model", `/m/blobs/sha256-${HEX}`, "--port", "1"];
    const { pid } = await this.#processes.startRunner({
      argv: [...argv, "--host", "127.0.0.1", "--no-webui", "--offline"],
      parent: await this.#processes.startServer(),
    });
    this.#ollama.models = [
      { name: "m:latest", blob: HEX, loaded: { size: 9_000_000_000, sizeVram: 8_000_000_000 } },
      { name: 'odd "name"\\with\nlines', blob: "ef".repeat(32) },
    ];
    this.#driver = new FakeDriver({
      driverVersion: "570.86.15",
      cudaVersion: 13000,
      gpus: [
        h100({ processes: [{ pid, kind: "compute", memory: FakeMachine.splitBytes["0"] }] }),
        a100Mig(),
        rtx4090({ processes: [{ pid, kind: "compute", memory: FakeMachine.splitBytes["2"] }] }),
      ],
    });
    this.#address = await this.#ollama.listen();
  }

  /** The built exporter on this machine. */
  async exporter(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<ExporterProcess> {
    if (!this.#driver) throw new Error("start() first");
    const exporter = await ExporterProcess.start(
      [`--gpu.nvml-library=${this.#driver.library}`, `--ollama.host=${this.#address}`, ...args],
      { env: { ...this.#driver.env, ...env }, cli: join(import.meta.dirname, "../../dist/cli.js") },
    );
    this.#exporters.push(exporter);
    return exporter;
  }

  async close(): Promise<void> {
    await Promise.all(this.#exporters.map((exporter) => exporter.stop("SIGKILL")));
    await this.#processes.close();
    await this.#ollama.close();
    this.#driver?.[Symbol.dispose]();
  }
}
