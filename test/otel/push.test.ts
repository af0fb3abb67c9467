import { afterEach, describe, expect, it } from "@jest/globals";
import { once } from "node:events";
import { createServer } from "node:net";
import { systemClock } from "../../src/lib/clock.ts";
import type { LogFields, Logger } from "../../src/logger.ts";
import { producerOf } from "../../src/outputs/otel/producer.ts";
import { type OtlpPush, type PushOptions, startPush } from "../../src/outputs/otel/push.ts";
import type { Snapshot } from "../../src/snapshot.ts";
import { FakeOtlp, metricsOf, ok } from "../support/fake-otlp.ts";

const SECRET = "hunter2-token";

describe("pushing over OTLP", () => {
  const closing: (() => unknown)[] = [];
  const lines: string[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    lines.length = 0;
  });

  const write = (level: string) => (message: string, fields?: LogFields) => {
    lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`);
  };
  const logger: Logger = { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };

  let loads = 0;
  const snapshot = (): Snapshot => ({
    startedAtMs: 1_000,
    takenAtMs: Date.now(),
    gpus: [],
    owners: [],
    energy: [],
    processes: [],
    servers: [],
    models: [{ server: "s", name: "m", loaded: { name: "m", expiresAtMs: Infinity } }],
    transitions: [{ server: "s", name: "m", loads: ++loads, unloads: 0 }],
    collectors: [],
    nvmlRestarts: 0,
    nvmlCallErrors: [],
    dropped: { models: 0, processes: 0 },
  });

  async function receiver(): Promise<{ fake: FakeOtlp; url: string }> {
    const fake = new FakeOtlp();
    closing.push(() => fake.close());
    return { fake, url: await fake.listen() };
  }

  async function push(url: string, options: Partial<PushOptions> = {}): Promise<OtlpPush> {
    const build = { version: "0.1.0", revision: "", nodeVersion: "v24.0.0", httpRequests: [] };
    const started = await startPush({
      url: `${url}/v1/metrics`,
      protocol: "http/json",
      intervalMs: 20,
      timeoutMs: 20,
      headers: { authorization: SECRET },
      compression: "gzip",
      tls: {},
      resource: { "service.name": "x" },
      producer: producerOf({ snapshot: () => Promise.resolve(snapshot()), state: () => build }),
      clock: systemClock,
      logger,
      ...options,
    });
    closing.push(() => started.close(200));
    return started;
  }

  /** Waits for the exporter's own view of the next result. */
  async function until(started: OtlpPush, reached: (state: ReturnType<OtlpPush["state"]>) => boolean): Promise<void> {
    while (!reached(started.state())) await new Promise(setImmediate);
  }

  it.each(["http/json", "http/protobuf"] as const)(
    "sends %s, gzipped, with its headers and resource",
    async (protocol) => {
      const { fake, url } = await receiver();
      const started = await push(url, { protocol, timeoutMs: 5_000, intervalMs: 5_000 });
      await started.close(5_000);
      const [sent] = fake.pushes;
      expect(sent?.headers).toMatchObject({
        authorization: SECRET,
        "content-encoding": "gzip",
        "content-type": protocol === "http/json" ? "application/json" : "application/x-protobuf",
      });
      expect(sent?.path).toBe("/v1/metrics");
      expect(sent?.body.toString("latin1")).toContain("ollama.model.loads");
      expect(started.state()).toMatchObject({ ok: 1, failed: 0 });
      expect(started.state().lastSuccessTimestampSeconds).toBeGreaterThan(1.7e9);
    },
  );

  it("sends plainly when told to, and an expiry that never comes as JSON's text for infinity", async () => {
    const { fake, url } = await receiver();
    await (await push(url, { compression: "none", intervalMs: 5_000, timeoutMs: 5_000 })).close(5_000);
    const [sent] = fake.pushes;
    expect(sent?.headers).not.toHaveProperty("content-encoding");
    const expires = sent && metricsOf(sent).find(({ name }) => name === "ollama.model.expires.timestamp");
    expect(expires?.gauge?.dataPoints.map(({ asDouble }) => asDouble)).toEqual(["Infinity"]);
  });

  it("reads anew for every push, and says that all is well only after it was not", async () => {
    const { fake, url } = await receiver();
    const started = await push(url);
    const values = [];
    for (let round = 0; round < 3; round++) {
      const sum = metricsOf(await fake.next()).find(({ name }) => name === "ollama.model.loads")?.sum;
      values.push(Number(sum?.dataPoints[0]?.asDouble));
      expect(sum).toMatchObject({ isMonotonic: true, aggregationTemporality: 2 });
    }
    expect(new Set(values).size).toBe(3);
    expect(lines).toEqual([expect.stringContaining("info pushing over OTLP")]);
    expect(started.state().failed).toBe(0);
  });

  const FAILURES: readonly (readonly [what: string, answer: FakeOtlp["answer"]])[] = [
    ["400", (response) => void response.writeHead(400, SECRET).end(SECRET)],
    ["401", (response) => void response.writeHead(401).end(SECRET)],
    ["500", (response) => void response.writeHead(500).end()],
    ["503", (response) => void response.writeHead(503).end()],
    ["429 and Retry-After", (response) => void response.writeHead(429, { "retry-after": "30" }).end()],
    ["302", (response) => void response.writeHead(302, { location: "http://127.0.0.1:1/" }).end()],
    ["nothing", () => undefined],
    ["a cut connection", (response) => void response.socket?.destroy()],
    ["bytes that drip", drip],
  ];

  it.each(FAILURES)(
    "counts and says once that the receiver answers %s, and that it recovered",
    async (_what, answer) => {
      const { fake, url } = await receiver();
      fake.answer = answer;
      const started = await push(url);
      await until(started, ({ failed }) => failed >= 3);
      fake.answer = ok;
      await until(started, (state) => state.ok >= 1);
      const said = lines.filter((line) => !line.includes("pushing over OTLP"));
      expect(said).toEqual([
        expect.stringMatching(/^warn OTLP push failed/),
        expect.stringMatching(/^info OTLP push recovered/),
      ]);
      expect(lines.join("\n")).not.toContain(SECRET);
    },
  );

  it("counts a receiver that is not there", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    server.close();
    const started = await push(`http://user:${SECRET}@127.0.0.1:${port}`);
    await until(started, ({ failed }) => failed >= 2);
    expect(lines.join("\n")).toContain("ECONNREFUSED");
    expect(lines.join("\n")).not.toContain(SECRET);
  });

  it("has one push in flight, however long a reading takes", async () => {
    const { fake, url } = await receiver();
    let running = 0;
    let most = 0;
    let waiting: () => void = () => undefined;
    const started = await push(url, {
      producer: {
        collect: async () => {
          most = Math.max(most, ++running);
          await new Promise<void>((resolve) => (waiting = resolve));
          running -= 1;
          return { resourceMetrics: { resource: { attributes: {} } as never, scopeMetrics: [] }, errors: [] };
        },
      },
    });
    const alsoAlive = await push(url);
    await until(alsoAlive, (state) => state.ok >= 5);
    expect([most, started.state().ok]).toEqual([1, 0]);
    waiting();
    expect(fake.pushes.length).toBeGreaterThanOrEqual(5);
  });

  it("says when a receiver took only a part", async () => {
    const { fake, url } = await receiver();
    fake.answer = (response) => {
      response.end('{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"too old"}}');
    };
    const started = await push(url);
    await until(started, (state) => state.ok >= 3);
    expect(lines.filter((line) => line.includes("took only a part"))).toHaveLength(1);
  });

  it("ends within its time when the receiver hangs", async () => {
    const { fake, url } = await receiver();
    fake.answer = () => undefined;
    const started = await push(url, { intervalMs: 60_000, timeoutMs: 500 });
    const startedAt = performance.now();
    await started.close(100);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});

function drip(...[response]: Parameters<FakeOtlp["answer"]>): void {
  response.writeHead(200);
  const timer = setInterval(() => response.write(" "), 2);
  response.on("close", () => {
    clearInterval(timer);
  });
}
