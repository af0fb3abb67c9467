import { afterEach, describe, expect, it } from "@jest/globals";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import { systemClock } from "../../src/lib/clock.ts";
import type { Runner, RunnerEndpoints } from "../../src/snapshot.ts";
import { decodeMetrics, decodeSlots } from "../../src/sources/runner-endpoints/decode.ts";
import { RunnerEndpointsSource } from "../../src/sources/runner-endpoints/source.ts";
import { DummyProcesses } from "../support/dummy-runner.ts";
import { ExporterProcess, samplesOf } from "../support/exporter-process.ts";
import { FakeOllama } from "../support/fake-ollama.ts";

const CAPTURES = join(import.meta.dirname, "../captures/ollama/v0.33.2/llama-server");
const capture = (name: string): string => readFileSync(join(CAPTURES, name), "utf8");
/** Of this run alone: other tests' runners are in the same process table. */
const HEX = randomBytes(32).toString("hex");

describe("decoding", () => {
  it("reads the recordings of a real runner, idle and at work", () => {
    expect(decodeSlots(JSON.parse(capture("slots.json")))).toEqual({ slots: 1, slotsBusy: 0, activeTokens: 0 });
    expect(decodeSlots(JSON.parse(capture("slots-while-busy.json")))).toEqual({
      slots: 1,
      slotsBusy: 1,
      activeTokens: 2210,
    });
    expect(decodeMetrics(capture("metrics-while-busy.prom"))).toEqual({
      generatedTokens: 21,
      promptTokens: 41,
      promptTokensCached: 8,
      promptSeconds: 0.004697,
      generationSeconds: 0.007497,
      requestsProcessing: 1,
      requestsDeferred: 0,
    });
  });

  const NONSENSE: readonly (readonly [unknown, ReturnType<typeof decodeSlots>])[] = [
    [undefined, {}],
    [{}, {}],
    ["slots", {}],
    [[1], {}],
    [[{ is_processing: "yes" }], {}],
    [[{ is_processing: true }], { slots: 1, slotsBusy: 1 }],
    [[{ is_processing: true, next_token: [{ n_decoded: -1 }] }], { slots: 1, slotsBusy: 1 }],
    [[{ is_processing: true, next_token: { n_decoded: 3 } }], { slots: 1, slotsBusy: 1, activeTokens: 3 }],
    [[], { slots: 0, slotsBusy: 0, activeTokens: 0 }],
  ];
  it.each(NONSENSE)("takes %j as %j", (answer, expected) => {
    expect(decodeSlots(answer)).toEqual(expected);
  });

  it("leaves out what is no number, and knows nothing of a text that is not llama.cpp's", () => {
    expect(decodeMetrics("llamacpp:tokens_predicted_total NaN\nllamacpp:prompt_tokens_total 3\n")).toEqual({
      promptTokens: 3,
    });
    for (const text of ["", "<html>", "ollama_up 1\n", "llamacpp:toString 1", "llamacpp:n_decode_total 3"])
      expect(decodeMetrics(text)).toBeUndefined();
  });

  it("never throws, whatever comes", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (answer, text) => {
        decodeSlots(answer);
        decodeMetrics(`llamacpp:${text}`);
      }),
    );
  });
});

type Answers = Readonly<Record<string, (response: ServerResponse) => void>>;
const REPLAYED: Answers = {
  "/slots": (response) => void response.end(capture("slots-while-busy.json")),
  "/metrics": (response) => void response.end(capture("metrics-while-busy.prom")),
};

describe("asking runners", () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function endpoints(answers: Answers): Promise<number> {
    const server: Server = createServer((request, response) => {
      const answer = answers[request.url ?? ""];
      if (answer) answer(response);
      else response.writeHead(404).end();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    closing.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return (server.address() as { port: number }).port;
  }

  function table(): DummyProcesses {
    const processes = new DummyProcesses();
    closing.push(() => processes.close());
    return processes;
  }

  const argv = (port: number): readonly string[] => [
    "/usr/local/lib/ollama/llama-server",
    "--model",
    `/m/blobs/sha256-${HEX}`,
    "--port",
    String(port),
    "--no-webui",
    "--offline",
  ];

  /** A process that was started with this port, and what it says over it. */
  async function ask(
    port: number,
    change: Partial<Runner> = {},
    processes = table(),
  ): Promise<RunnerEndpoints | undefined> {
    const { pid } = await processes.startRunner({ argv: argv(port) });
    const runner: Runner = {
      pid,
      parentPid: 1,
      kind: "blob",
      blobDigest: HEX,
      port,
      hasEndpoints: true,
      orphaned: false,
      ...change,
    };
    const source = new RunnerEndpointsSource({ procfs: "/proc", clock: systemClock });
    closing.push(() => source.close());
    return (await source.read([runner])).get(runner.pid);
  }

  it("reads slots and metrics", async () => {
    expect(await ask(await endpoints(REPLAYED))).toMatchObject({
      slotsBusy: 1,
      generatedTokens: 21,
      answersMetrics: true,
    });
  });

  const DISABLED = (response: ServerResponse): void => {
    response.writeHead(501).end(capture("metrics-disabled.json"));
  };
  const CASES: readonly (readonly [what: string, answers: Answers, expected: RunnerEndpoints])[] = [
    [
      "metrics switched off",
      { "/slots": (r) => void r.end("[]"), "/metrics": DISABLED },
      { slots: 0, slotsBusy: 0, activeTokens: 0, answersMetrics: false },
    ],
    ["nothing known", {}, {}],
    ["nonsense", { "/slots": (r) => void r.end("{"), "/metrics": (r) => void r.end("<html>") }, {}],
    ["a redirect", { "/metrics": (r) => void r.writeHead(302, { location: "/slots" }).end() }, {}],
    ["an endless body", { "/slots": (r) => void r.end(`[${" ".repeat(2 << 20)}]`) }, {}],
    ["a hanging answer", { "/slots": () => undefined, "/metrics": DISABLED }, { answersMetrics: false }],
  ];
  it.each(CASES)("takes %s for what it is", async (_what, answers, expected) => {
    expect(await ask(await endpoints(answers))).toEqual(expected);
  });

  it("asks no port whose process is another one by now", async () => {
    const port = await endpoints({
      "/slots": () => {
        throw new Error("asked");
      },
    });
    expect(await ask(port, { pid: process.pid })).toBeUndefined();
    expect(await ask(port, { startTimeSeconds: 1 })).toBeUndefined();
    expect(await ask(port, { port: port === 1 ? 2 : port - 1 })).toBeUndefined();
  });

  it("does not trust an answer when the process ended meanwhile", async () => {
    const processes = table();
    let pid = 0;
    const port = await endpoints({
      "/slots": (response) => {
        void processes.kill({ pid }).then(() => response.end("[]"));
      },
    });
    ({ pid } = await processes.startRunner({ argv: argv(port) }));
    const source = new RunnerEndpointsSource({ procfs: "/proc", clock: systemClock });
    closing.push(() => source.close());
    const runner: Runner = { pid, parentPid: 1, kind: "blob", port, hasEndpoints: true, orphaned: false };
    expect((await source.read([runner])).size).toBe(0);
  });

  it("asks no runner of an older generation", async () => {
    const source = new RunnerEndpointsSource({ procfs: "/proc", clock: systemClock });
    closing.push(() => source.close());
    expect((await source.read([{ pid: 1, parentPid: 0, kind: "blob", port: 1, orphaned: false }])).size).toBe(0);
  });

  async function scraped(answers: Answers, ...more: readonly string[]): Promise<{ text: string; label: string }> {
    const processes = table();
    const ollama = new FakeOllama();
    closing.push(() => ollama.close());
    ollama.models = [{ name: "m:latest", blob: HEX, loaded: { size: 9, sizeVram: 9 } }];
    const address = await ollama.listen();
    await processes.startRunner({ argv: argv(await endpoints(answers)), parent: await processes.startServer() });
    const exporter = await ExporterProcess.start(["--gpu.backend=none", `--ollama.host=${address}`, ...more]);
    closing.push(() => exporter.stop("SIGKILL"));
    return { text: await exporter.scrape(), label: `{server="${address}",model="m:latest"}` };
  }

  it("fills the families of the model, and keeps no text of a request", async () => {
    const { text, label } = await scraped({
      ...REPLAYED,
      "/slots": (response) =>
        void response.end(capture("slots-while-busy.json").replace('"params"', '"prompt":"SECRET","params"')),
    });
    expect(samplesOf(text, "ollama_model_slots")).toEqual({ [label]: 1 });
    expect(samplesOf(text, "ollama_model_active_tokens")).toEqual({ [label]: 2210 });
    expect(samplesOf(text, "ollama_model_generated_tokens_total")).toEqual({ [label]: 21 });
    const cached = (value: boolean) => label.replace("}", `,cached="${value}"}`);
    expect(samplesOf(text, "ollama_model_prompt_tokens_total")).toEqual({ [cached(true)]: 8, [cached(false)]: 41 });
    expect(samplesOf(text, "ollama_model_request_metrics")).toEqual({ [label]: 1 });
    expect(text).not.toContain("SECRET");
  });

  it("changes nothing else when a runner hangs, and asks none with --ollama.runner-metrics=off", async () => {
    const hung = await scraped({ "/slots": () => undefined, "/metrics": () => undefined });
    expect(samplesOf(hung.text, "ollama_model_loaded")).toEqual({ [hung.label]: 1 });
    expect(hung.text).not.toContain("ollama_model_slots");
    expect(samplesOf(hung.text, "ollama_gpu_exporter_collector_success")).toMatchObject({
      '{collector="processes",target="local"}': 1,
    });
    const off = await scraped(REPLAYED, "--ollama.runner-metrics=off");
    expect(off.text).not.toMatch(/ollama_model_(slots|generated|request_metrics)/);
    expect(samplesOf(off.text, "ollama_model_loaded")).toEqual({ [off.label]: 1 });
  });
});
