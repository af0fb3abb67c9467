/** The machine under the exporter: boards, servers, models and their runners, and what was true of it when. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { join } from "node:path";
import { DummyProcesses, type DummyServer } from "../../test/support/dummy-runner.ts";
import { FakeOllama } from "../../test/support/fake-ollama.ts";
import { a100Mig, type CallRule, FakeDriver, type Gpu, h100, rtx4090 } from "../../test/support/nvml/fake-nvml.ts";

export const SERVERS = 3;
export const MODELS_PER_SERVER = 4;
/** Boards that models run on; the fourth is cut into instances and only read. */
const PLAIN_BOARDS = 3;
/** Of this run alone: other runs' runners are in the same process table. */
const RUN = randomBytes(30).toString("hex");
const CAPTURES = join(import.meta.dirname, "../../test/captures/ollama/v0.33.2/llama-server");

export interface WorldModel {
  readonly server: number;
  readonly name: string;
  readonly blob: string;
  readonly gpu: number;
  readonly bytes: number;
  readonly loaded: boolean;
  /** Absent for a loaded model whose runner was killed. */
  readonly runnerPid?: number;
}

/** What was true between two changes. */
export interface WorldState {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly models: readonly WorldModel[];
  readonly lostBoards: ReadonlySet<number>;
  /** Nothing is broken, and the exporter has recovered from what was. */
  readonly calm: boolean;
}

export class World {
  readonly #processes: DummyProcesses;
  /** A runner's own port, by model; whoever runs the model has it. */
  readonly #runnerPorts = new Map<string, Server>();
  readonly ollamas = Array.from({ length: SERVERS }, () => new FakeOllama());
  addresses: readonly string[] = [];
  driver = new FakeDriver();
  #parents: readonly DummyServer[] = [];
  #models: readonly WorldModel[] = [];
  #faults: Readonly<Record<string, CallRule | readonly CallRule[]>> = {};
  #lostBoards: ReadonlySet<number> = new Set();
  #calm = false;
  #states: WorldState[] = [];
  #changing: Promise<void> = Promise.resolve();
  readonly #startedAtMs = Date.now();

  constructor({ lifetimeSeconds }: { readonly lifetimeSeconds: number }) {
    this.#processes = new DummyProcesses({ lifetimeSeconds });
  }

  async start(): Promise<void> {
    this.addresses = await Promise.all(this.ollamas.map((ollama) => ollama.listen()));
    this.#parents = await Promise.all(this.ollamas.map(() => this.#processes.startServer()));
    this.#models = Array.from({ length: SERVERS * MODELS_PER_SERVER }, (_, index) => ({
      server: Math.floor(index / MODELS_PER_SERVER),
      name: `soak-${index}:latest`,
      blob: RUN + index.toString(16).padStart(4, "0"),
      gpu: index % PLAIN_BOARDS,
      bytes: 2_000_000_000 + index * 1_000_003,
      loaded: false,
    }));
    for (const { name } of this.#models) this.#runnerPorts.set(name, await this.#openRunnerPort());
    for (const { name } of this.#models.filter((_, index) => index % 2 === 0)) await this.load(name);
  }

  get models(): readonly WorldModel[] {
    return this.#models;
  }

  /** The state that a reading between these times saw; undefined when something changed meanwhile. */
  during(fromMs: number, untilMs: number): WorldState | undefined {
    return this.#states.findLast((state) => state.fromMs <= fromMs && state.untilMs >= untilMs);
  }

  async load(name: string): Promise<void> {
    const { server, blob } = this.#find(name);
    const address = this.#runnerPorts.get(name)?.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const argv = ["/usr/local/lib/ollama/llama-server", "--model", `/m/blobs/sha256-${blob}`, "--port", `${port}`];
    const parent = this.#parents[server];
    if (!parent) throw new Error(`no server ${server}`);
    await this.#change(async () => {
      const { pid } = await this.#processes.startRunner({ argv: [...argv, "--no-webui", "--offline"], parent });
      this.#replace(name, (model) => ({ ...model, loaded: true, runnerPid: pid }));
    });
  }

  async unload(name: string): Promise<void> {
    await this.#change(async () => {
      await this.#endRunner(name);
      this.#replace(name, (model) => ({ ...withoutRunner(model), loaded: false }));
    });
  }

  /** The runner dies; its server still lists the model. */
  async killRunner(name: string): Promise<void> {
    await this.#change(async () => {
      await this.#endRunner(name);
      this.#replace(name, withoutRunner);
    });
  }

  breakDriver(faults: Readonly<Record<string, CallRule>>, lost: readonly number[] = []): Promise<void> {
    return this.#change(() => {
      this.#faults = faults;
      this.#lostBoards = new Set(lost);
    });
  }

  /** From now on every part must be well, or no longer. */
  declare(calm: boolean): Promise<void> {
    return this.#change(() => {
      this.#calm = calm;
    });
  }

  /** Counters move on; no series comes or goes by it. */
  tick(): void {
    this.#apply();
    for (const ollama of this.ollamas) ollama.requests.length = 0;
  }

  async close(): Promise<void> {
    await this.#processes.close();
    await Promise.all(this.ollamas.map((ollama) => ollama.close()));
    for (const server of this.#runnerPorts.values()) {
      server.closeAllConnections();
      server.close();
    }
    this.driver[Symbol.dispose]();
  }

  /** One after the other, though faults of two groups begin together: every state ends where the next begins. */
  #change(change: () => void | Promise<void>): Promise<void> {
    const changed = this.#changing.then(() => this.#changeNow(change));
    this.#changing = changed;
    return changed;
  }

  async #changeNow(change: () => void | Promise<void>): Promise<void> {
    const last = this.#states.at(-1);
    if (last) this.#states[this.#states.length - 1] = { ...last, untilMs: Math.min(last.untilMs, Date.now()) };
    await change();
    this.#apply();
    const [models, lostBoards, calm] = [this.#models, this.#lostBoards, this.#calm];
    this.#states.push({ fromMs: Date.now(), untilMs: Infinity, models, lostBoards, calm });
    this.#states = this.#states.slice(-200);
  }

  #apply(): void {
    for (const [server, ollama] of this.ollamas.entries()) {
      ollama.models = this.#models
        .filter((model) => model.server === server)
        .map(({ name, blob, bytes, loaded }) => ({
          name,
          blob,
          ...(loaded && { loaded: { size: bytes, sizeVram: bytes } }),
        }));
    }
    this.driver.write({
      driverVersion: "570.86.15",
      cudaVersion: 13000,
      gpus: [h100, h100, rtx4090, a100Mig].map((board, gpu) => board(this.#boardNow(gpu))),
      calls: this.#faults,
    });
  }

  #boardNow(gpu: number): Partial<Gpu> {
    const seconds = Math.floor((Date.now() - this.#startedAtMs) / 1000);
    const running = this.#models.filter((model) => model.gpu === gpu && model.runnerPid !== undefined);
    return {
      uuid: `GPU-50a50a50-0000-0000-0000-00000000000${gpu}`,
      energy: 1_000_000_000 + seconds * 200_000,
      processes: running.map(({ runnerPid = 0, bytes }) => ({ pid: runnerPid, kind: "compute", memory: bytes })),
      ...(gpu < PLAIN_BOARDS && {
        samples: seconds % 20 < 4 ? [] : running.map(({ runnerPid = 0 }) => ({ pid: runnerPid, sm: 30 })),
      }),
    };
  }

  async #openRunnerPort(): Promise<Server> {
    const server = createServer((request, response) => {
      response.end(request.url === "/slots" ? slots : this.#runnerMetrics());
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
  }

  #runnerMetrics(): string {
    const tokens = Date.now() - this.#startedAtMs;
    return metrics.replace(/(tokens_predicted_total) \d+$/m, `$1 ${tokens}`);
  }

  async #endRunner(name: string): Promise<void> {
    const { runnerPid } = this.#find(name);
    if (runnerPid !== undefined) await this.#processes.kill({ pid: runnerPid });
  }

  #find(name: string): WorldModel {
    const model = this.#models.find((candidate) => candidate.name === name);
    if (!model) throw new Error(`no model ${name}`);
    return model;
  }

  #replace(name: string, change: (model: WorldModel) => WorldModel): void {
    this.#models = this.#models.map((model) => (model.name === name ? change(model) : model));
  }
}

function withoutRunner({ server, name, blob, gpu, bytes, loaded }: WorldModel): WorldModel {
  return { server, name, blob, gpu, bytes, loaded };
}

const slots = readFileSync(join(CAPTURES, "slots.json"), "utf8");
const metrics = readFileSync(join(CAPTURES, "metrics.prom"), "utf8");
