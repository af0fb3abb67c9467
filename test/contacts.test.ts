/** Who is contacted: the configured servers and nobody else, wherever an answer or a variable points. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "../src/lib/clock.ts";
import { silentLogger } from "../src/logger.ts";
import { producerOf } from "../src/outputs/otel/producer.ts";
import { startPush } from "../src/outputs/otel/push.ts";
import type { Snapshot } from "../src/snapshot.ts";
import { createOllamaClient } from "../src/sources/ollama/client.ts";
import { parseServer } from "../src/sources/ollama/host.ts";
import { RunnerEndpointsSource } from "../src/sources/runner-endpoints/source.ts";
import { DummyProcesses } from "./support/dummy-runner.ts";
import { ExporterProcess, samplesOf } from "./support/exporter-process.ts";
import { FakeOllama } from "./support/fake-ollama.ts";
import { FakeOtlp } from "./support/fake-otlp.ts";
import { Trap } from "./support/trap.ts";

const REDIRECTS = [301, 302, 303, 307, 308];

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function setTrap(): Promise<Trap> {
  const trap = await Trap.set();
  closing.push(() => trap.close());
  return trap;
}

/** A process with the arguments of a runner that listens on this port. */
async function runnerOn(port: number) {
  const table = new DummyProcesses();
  closing.push(() => table.close());
  const hex = randomBytes(32).toString("hex");
  const argv = ["/usr/local/lib/ollama/llama-server", "--model", `/m/blobs/sha256-${hex}`, "--port", String(port)];
  const { pid } = await table.startRunner({ argv: [...argv, "--no-webui", "--offline"] });
  return { pid, parentPid: 1, kind: "blob", blobDigest: hex, orphaned: false, hasEndpoints: true, port } as const;
}

const BUILD = { version: "0", revision: "", nodeVersion: "v24", httpRequests: [] };
const EMPTY: Snapshot = {
  ...{ startedAtMs: 1, takenAtMs: 2, gpus: [], owners: [], energy: [], processes: [], servers: [], models: [] },
  ...{ transitions: [], collectors: [], nvmlRestarts: 0, nvmlCallErrors: [], dropped: { models: 0, processes: 0 } },
};

describe("a redirect is not followed", () => {
  it.each(REDIRECTS)("when an Ollama server answers %i, whatever it was asked", async (status) => {
    const trap = await setTrap();
    const ollama = new FakeOllama();
    closing.push(() => ollama.close());
    for (const path of ["/api/ps", "/api/tags", "/api/version", "/api/show"])
      ollama.behaviours.set(path, (request, response) => {
        response.writeHead(status, { location: `${trap.url}${request.url ?? ""}` }).end();
      });
    const client = createOllamaClient({
      target: parseServer(await ollama.listen(), new Set()),
      headers: [{ name: "Authorization", value: "Bearer x" }],
      timeoutMs: 5_000,
      retry: { attempts: 2, delayMs: 1 },
      clock: systemClock,
    });
    closing.push(() => client.close());
    for (const ask of [client.ps(), client.list(), client.version(), client.show({ model: "m" })])
      await expect(ask).rejects.toThrow(`answered ${status}`);
    expect(ollama.requests).toHaveLength(8);
    expect(trap.connections).toBe(0);
  });

  it.each(REDIRECTS.flatMap((status) => (["http/json", "http/protobuf"] as const).map((p) => [status, p] as const)))(
    "when an OTLP receiver answers %i over %s",
    async (status, protocol) => {
      const trap = await setTrap();
      const receiver = new FakeOtlp();
      closing.push(() => receiver.close());
      receiver.answer = (response) => {
        response.writeHead(status, { location: `${trap.url}/v1/metrics` }).end();
      };
      let said = "";
      const push = await startPush({
        url: `${await receiver.listen()}/v1/metrics`,
        ...{
          protocol,
          intervalMs: 10_000,
          timeoutMs: 10_000,
          headers: { authorization: "x" },
          compression: "none",
          tls: {},
        },
        resource: { "service.name": "x" },
        producer: producerOf({ snapshot: () => Promise.resolve(EMPTY), state: () => BUILD }),
        clock: systemClock,
        logger: {
          ...silentLogger,
          warn: (_message, fields) => {
            said = String(fields?.error);
          },
        },
      });
      await push.close(5_000); // with a last push
      expect(said).toContain(`status ${status}`);
      expect(receiver.pushes).toHaveLength(1);
      expect(push.state()).toMatchObject({ ok: 0, failed: 1 });
      expect(trap.connections).toBe(0);
    },
  );

  it.each(REDIRECTS)("when a runner answers %i", async (status) => {
    const trap = await setTrap();
    let asked = 0;
    const server = createServer((request, response) => {
      asked += 1;
      response.writeHead(status, { location: `${trap.url}${request.url ?? ""}` }).end();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    closing.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    const source = new RunnerEndpointsSource({ procfs: "/proc", clock: systemClock });
    closing.push(() => source.close());
    const runner = await runnerOn(port);
    expect((await source.read([runner])).get(runner.pid)).toEqual({});
    expect(asked).toBe(2);
    expect(trap.connections).toBe(0);
  });
});

describe("a proxy of the environment", () => {
  const VARIABLES = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
  const proxied = (url: string) => ({
    ...Object.fromEntries(VARIABLES.map((name) => [name, url])),
    ...{ NO_PROXY: "", no_proxy: "", NODE_USE_ENV_PROXY: "1" },
  });

  it("is not used for Ollama, for OTLP over HTTP, nor for runners", async () => {
    const trap = await setTrap();
    const ollama = new FakeOllama();
    const receiver = new FakeOtlp();
    closing.push(
      () => ollama.close(),
      () => receiver.close(),
    );
    const address = await ollama.listen();
    const exporter = await ExporterProcess.start(
      [
        ...["--gpu.backend=none", `--ollama.host=${address}`, "--otlp.interval=50ms"],
        `--otlp.endpoint=${await receiver.listen()}`,
      ],
      { env: proxied(trap.url) },
    );
    closing.push(() => exporter.stop("SIGKILL"));
    expect(samplesOf(await exporter.scrape(), "ollama_up")).toEqual({ [`{server="${address}"}`]: 1 });
    await receiver.next();
    expect(trap.connections).toBe(0);
  });

  it("is used for OTLP over gRPC, as its library does and docs/opentelemetry.md says", async () => {
    const trap = await setTrap();
    const exporter = await ExporterProcess.start(
      [
        ...["--gpu.backend=none", "--ollama.host=none", "--otlp.interval=50ms", "--otlp.protocol=grpc"],
        "--otlp.endpoint=http://receiver.invalid:4317",
      ],
      { env: proxied(trap.url) },
    );
    closing.push(() => exporter.stop("SIGKILL"));
    while (trap.heard.length === 0) await exporter.scrape();
    expect(trap.heard[0]).toMatch(/^CONNECT receiver\.invalid:4317 HTTP/);
  });
});
