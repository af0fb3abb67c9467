import { createServer, type ServerResponse } from "node:http";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const CAPTURES = join(import.meta.dirname, "../captures/ollama/v0.33.2/llama-server");

/** A recording of a real runner of Ollama 0.33.2. */
export const recording = (name: string): string => readFileSync(join(CAPTURES, name), "utf8");

export type RunnerBehaviour = (response: ServerResponse) => void;

/**
 * What a runner of Ollama 0.30 and later says over its own port: the recordings, until a test sets a misbehaviour by path.
 * The process that claims the port is another one: see DummyProcesses and `argvOf`.
 */
export class FakeRunner {
  /** A request is under way. */
  busy = true;
  /** The server was started with LLAMA_ARG_ENDPOINT_METRICS=1. */
  metrics = true;
  readonly behaviours = new Map<string, RunnerBehaviour>();
  /** Paths asked for, in order. */
  readonly requests: string[] = [];
  readonly #server = createServer((request, response) => {
    const path = request.url ?? "";
    this.requests.push(path);
    const behaviour = this.behaviours.get(path);
    if (behaviour) behaviour(response);
    else this.#answer(path, response);
  });
  #port = 0;

  get port(): number {
    return this.#port;
  }

  /** Listens on a free port of 127.0.0.1 and returns it. */
  async listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const address = this.#server.address();
    this.#port = typeof address === "object" && address ? address.port : 0;
    return this.#port;
  }

  /** The command line of the runner that has this port, as Ollama 0.33 writes it. */
  argv(blob: string): readonly string[] {
    return argvOf(blob, this.#port);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    if (this.#server.listening) await once(this.#server.close(), "close");
  }

  #answer(path: string, response: ServerResponse): void {
    const state = this.busy ? "-while-busy" : "";
    if (path === "/slots") {
      response.setHeader("content-type", "application/json; charset=utf-8");
      response.end(recording(`slots${state}.json`));
    } else if (path === "/metrics" && this.metrics) {
      response.setHeader("content-type", "text/plain; version=0.0.4");
      response.end(recording(`metrics${state}.prom`));
    } else if (path === "/metrics") {
      response.writeHead(501, { "content-type": "application/json; charset=utf-8" });
      response.end(recording("metrics-disabled.json"));
    } else response.writeHead(404).end();
  }
}

export const argvOf = (blob: string, port: number | string): readonly string[] => [
  "/usr/local/lib/ollama/llama-server",
  "--model",
  `/m/blobs/sha256-${blob}`,
  "--port",
  String(port),
  "--host",
  "127.0.0.1",
  "--no-webui",
  "--offline",
];
