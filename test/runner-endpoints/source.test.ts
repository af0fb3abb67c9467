import { afterEach, describe, expect, it } from "@jest/globals";
import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { systemClock } from "../../src/lib/clock.ts";
import type { Runner, RunnerEndpoints } from "../../src/snapshot.ts";
import { RunnerEndpointsSource } from "../../src/sources/runner-endpoints/source.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { DummyProcesses } from "../support/dummy-runner.ts";
import { type FakeProcess, ProcTree } from "../processes/proc-tree.ts";
import { argvOf, FakeRunner, recording, type RunnerBehaviour } from "../support/fake-runner.ts";

const HEX = randomBytes(32).toString("hex");
const BOOT = 1_700_000_000;
/** Of the recordings. */
const SLOTS = { slots: 1, slotsBusy: 1, activeTokens: 2210 };

describe("asking runners", () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function fakeRunner(behaviours: Readonly<Record<string, RunnerBehaviour>> = {}): Promise<FakeRunner> {
    const fake = new FakeRunner();
    for (const [path, behaviour] of Object.entries(behaviours)) fake.behaviours.set(path, behaviour);
    await fake.listen();
    closing.push(() => fake.close());
    return fake;
  }

  /** A table of this test alone: exporters of other tests ask every runner in the real one. */
  function tableOf(...processes: FakeProcess[]): ProcTree {
    const tree = new ProcTree(processes, BOOT);
    closing.push(() => {
      tree.close();
    });
    return tree;
  }

  function sourceOn(procfs: string): RunnerEndpointsSource {
    const source = new RunnerEndpointsSource({ procfs, clock: systemClock });
    closing.push(() => source.close());
    return source;
  }

  const runnerOf = (pid: number, port: number, change: Partial<Runner> = {}): Runner => ({
    pid,
    parentPid: 1,
    kind: "blob",
    blobDigest: HEX,
    port,
    hasEndpoints: true,
    orphaned: false,
    ...change,
  });

  /** What the fake says for a process with its port in the arguments. */
  async function ask(fake: FakeRunner, change: Partial<Runner> = {}): Promise<RunnerEndpoints | undefined> {
    const tree = tableOf({ pid: 77, argv: fake.argv(HEX) }, { pid: 78, argv: ["/usr/bin/python3", "llama.py"] });
    const runner = runnerOf(77, fake.port, change);
    return (await sourceOn(tree.root).read([runner])).get(runner.pid);
  }

  it("reads slots and metrics, and nothing else", async () => {
    const fake = await fakeRunner();
    expect(await ask(fake)).toEqual({
      ...SLOTS,
      answersMetrics: true,
      generatedTokens: 21,
      promptTokens: 41,
      promptTokensCached: 8,
      promptSeconds: 0.004697,
      generationSeconds: 0.007497,
      requestsProcessing: 1,
      requestsDeferred: 0,
    });
    expect([...fake.requests].sort()).toEqual(["/metrics", "/slots"]);
  });

  it("knows a runner whose request metrics are switched off", async () => {
    const fake = await fakeRunner();
    fake.metrics = false;
    expect(await ask(fake)).toEqual({ ...SLOTS, answersMetrics: false });
  });

  const answering =
    (status: number, body = "", headers: Readonly<Record<string, string>> = {}) =>
    (response: ServerResponse): void => {
      response.writeHead(status, headers).end(body);
    };
  const dripping = (response: ServerResponse): void => {
    const timer = setInterval(() => response.write(" "), 20);
    response.on("close", () => {
      clearInterval(timer);
    });
  };
  const cutOff = (response: ServerResponse): void => {
    response.writeHead(200, { "content-length": "1000" });
    response.write("llamacpp:prompt_tokens_total 3\n", () => response.destroy());
  };
  const METRICS: readonly (readonly [what: string, behaviour: RunnerBehaviour, expected: RunnerEndpoints])[] = [
    ["404", answering(404), {}],
    ["401", answering(401), {}],
    ["500", answering(500, recording("metrics.prom")), {}],
    ["503 while loading", answering(503, '{"error":{"message":"Loading model"}}'), {}],
    ["a redirect, which is not followed", answering(302, "", { location: "/slots" }), {}],
    ["HTML", answering(200, "<html>"), {}],
    ["nothing", answering(200), {}],
    ["501 without a body", answering(501), { answersMetrics: false }],
    ["a body beyond a MiB", answering(200, `llamacpp:prompt_tokens_total 3\n${"#".repeat(1 << 20)}`), {}],
    ["a drip without end", dripping, {}],
    ["no answer", () => undefined, {}],
    ["half an answer", cutOff, {}],
    ["a closed connection", (response) => response.destroy(), {}],
  ];
  it.each(METRICS)(
    "takes %s on /metrics for what it is, and the slots as they are",
    async (_what, behaviour, expected) => {
      expect(await ask(await fakeRunner({ "/metrics": behaviour }))).toEqual({ ...SLOTS, ...expected });
    },
  );

  const NO_SLOTS: readonly (readonly [what: string, behaviour: RunnerBehaviour])[] = [
    ["501, switched off", answering(501, recording("metrics-disabled.json"))],
    ["half a list", answering(200, recording("slots.json").slice(0, 200))],
    ["HTML", answering(200, "<html>")],
    ["a body beyond a MiB", answering(200, `[${" ".repeat(1 << 20)}]`)],
    ["a drip without end", dripping],
  ];
  it.each(NO_SLOTS)("takes %s on /slots as unknown, and the metrics as they are", async (_what, behaviour) => {
    const answer = await ask(await fakeRunner({ "/slots": behaviour }));
    expect(answer).toMatchObject({ answersMetrics: true, generatedTokens: 21 });
    expect(answer).not.toHaveProperty("slots");
  });

  it("waits half a second for all of them together, whatever each does", async () => {
    const fakes = await Promise.all([
      fakeRunner(),
      fakeRunner({ "/slots": () => undefined, "/metrics": dripping }),
      fakeRunner({ "/slots": dripping, "/metrics": () => undefined }),
    ]);
    const tree = tableOf(...fakes.map((fake, index) => ({ pid: 77 + index, argv: fake.argv(HEX) })));
    const runners = fakes.map(({ port }, index) => runnerOf(77 + index, port));
    const startedAt = performance.now();
    const answers = await sourceOn(tree.root).read(runners);
    const ms = performance.now() - startedAt;
    expect(runners.map(({ pid }) => answers.get(pid)?.slots)).toEqual([1, undefined, undefined]);
    expect(ms).toBeGreaterThanOrEqual(450);
    expect(ms).toBeLessThan(900);
  });

  it("asks no port whose process is another one by now", async () => {
    const fake = await fakeRunner();
    expect(await ask(fake, { pid: 78 })).toBeUndefined();
    expect(await ask(fake, { pid: 79 })).toBeUndefined();
    expect(await ask(fake, { startTimeSeconds: BOOT + 3 })).toBeUndefined();
    expect(await ask(fake, { port: fake.port - 1 })).toBeUndefined();
    expect(await ask(fake, { blobDigest: "ab".repeat(32) })).toBeUndefined();
    expect(fake.requests).toEqual([]);
  });

  it("does not trust an answer when the process ended meanwhile", async () => {
    const processes = new DummyProcesses();
    closing.push(() => processes.close());
    let pid = 0;
    const fake = await fakeRunner({
      "/slots": (response) => {
        void processes.kill({ pid }).then(() => response.end("[]"));
      },
    });
    ({ pid } = await processes.startRunner({ argv: fake.argv(HEX) }));
    expect((await sourceOn("/proc").read([runnerOf(pid, fake.port)])).size).toBe(0);
  });

  it("does not trust an answer when the PID was given to an equal process meanwhile", async () => {
    const fake = await fakeRunner();
    const process = { pid: 77, argv: fake.argv(HEX), startTicks: 100 };
    const tree = tableOf(process);
    const source = sourceOn(tree.root);
    const runner = runnerOf(77, fake.port, { startTimeSeconds: BOOT + 1 });
    expect((await source.read([runner])).get(77)).toMatchObject(SLOTS);
    fake.behaviours.set("/slots", (response) => {
      tree.add({ ...process, startTicks: 101 });
      response.end("[]");
    });
    expect((await source.read([runner])).size).toBe(0);
  });

  it("asks none of two runners that claim the same port", async () => {
    const fake = await fakeRunner();
    const tree = tableOf({ pid: 77, argv: fake.argv(HEX) }, { pid: 78, argv: fake.argv(HEX) });
    const runners = [runnerOf(77, fake.port), runnerOf(78, fake.port)];
    expect((await sourceOn(tree.root).read(runners)).size).toBe(0);
    expect(fake.requests).toEqual([]);
  });

  it("asks 32 of very many runners at once, and gives up on all of them together", async () => {
    const clock = new FakeClock();
    let asked = 0;
    const enough = Promise.withResolvers<undefined>();
    const hang = (): void => {
      if (++asked === 64) enough.resolve(undefined);
    };
    const many = Array.from({ length: 40 }, () => fakeRunner({ "/slots": hang, "/metrics": hang }));
    const fakes = await Promise.all(many);
    const tree = tableOf(...fakes.map((fake, index) => ({ pid: 100 + index, argv: fake.argv(HEX) })));
    const source = new RunnerEndpointsSource({ procfs: tree.root, clock });
    closing.push(() => source.close());
    const reading = source.read(fakes.map(({ port }, index) => runnerOf(100 + index, port)));
    await enough.promise;
    expect(clock.sleeping).toBe(1);
    await clock.advance(500);
    expect(await reading).toEqual(new Map(fakes.slice(0, 32).map((_, index) => [100 + index, {}])));
    expect(asked).toBe(64);
  });

  it("asks no runner of an older generation, without a port, or whose server is gone", async () => {
    const fake = await fakeRunner();
    const tree = tableOf({ pid: 77, argv: fake.argv(HEX) });
    const older: Runner = { pid: 77, parentPid: 1, kind: "blob", blobDigest: HEX, port: fake.port, orphaned: false };
    const portless: Runner = {
      pid: 77,
      parentPid: 1,
      kind: "blob",
      blobDigest: HEX,
      hasEndpoints: true,
      orphaned: false,
    };
    const answers = await sourceOn(tree.root).read([older, portless, runnerOf(77, fake.port, { orphaned: true })]);
    expect(answers.size).toBe(0);
    expect(fake.requests).toEqual([]);
  });

  it("trusts no port of a runner that listens on another address than 127.0.0.1", async () => {
    const fake = await fakeRunner();
    const argv = argvOf(HEX, fake.port).map((word) => (word === "127.0.0.1" ? "::1" : word));
    const tree = tableOf({ pid: 77, argv });
    expect((await sourceOn(tree.root).read([runnerOf(77, fake.port)])).size).toBe(0);
    expect(fake.requests).toEqual([]);
  });
});
