import { afterEach, describe, expect, it } from "@jest/globals";
import type { ServerResponse } from "node:http";
import { decodeOwnMetrics, OwnMetricsReader, type TextAnswer } from "../../src/sources/ollama/own-metrics.ts";
import { ProcTree } from "../processes/proc-tree.ts";
import { ExporterProcess, samplesOf } from "../support/exporter-process.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { FakeOllama } from "../support/fake-ollama.ts";
import { argvOf, FakeRunner } from "../support/fake-runner.ts";

const TYPE = "text/plain; version=0.0.4; charset=utf-8";
const BUILD = '# TYPE ollama_build_info gauge\nollama_build_info{version="0.40.0"} 1\n';
/** A family of counters as an exposition has it. */
const counters = (name: string, ...samples: readonly (readonly [labels: string, value: string])[]): string =>
  [
    `# HELP ${name} x`,
    `# TYPE ${name} counter`,
    ...samples.map(([labels, value]) => `${name}{${labels}} ${value}`),
    "",
  ].join("\n");

/** As ollama/ollama#18508 proposes. */
const NEWER = [
  BUILD,
  counters("ollama_requests_total", ['model="m:latest"', "2"]),
  counters("ollama_prompt_tokens_total", ['model="m:latest"', "15"]),
  counters("ollama_prompt_cached_tokens_total", ['model="m:latest"', "4"]),
  counters("ollama_generated_tokens_total", ['model="m:latest"', "50"], ['model="hf.co/a/b:q4"', "7"]),
  counters("ollama_prompt_eval_duration_seconds_total", ['model="m:latest"', "0.15"]),
  counters("ollama_eval_duration_seconds_total", ['model="m:latest"', "5"]),
  counters("ollama_load_duration_seconds_total", ['model="m:latest"', "0.5"]),
  '# TYPE ollama_loaded_model_size_bytes gauge\nollama_loaded_model_size_bytes{model="m:latest"} 8e+09\n',
].join("");

/** As ollama/ollama#16998 proposes. */
const OLDER = [
  "# TYPE ollama_requests_queued gauge\nollama_requests_queued 2\n",
  BUILD,
  counters("http_requests_total", ['action="chat",status="OK",status_code="200"', "1.000000"]),
  counters("ollama_total_duration_seconds", ['model="m",reason="stop"', "1.500000"]),
  counters("ollama_prompt_eval_total", ['model="m",reason="stop"', "131"]),
  counters("ollama_prompt_eval_duration_seconds", ['model="m",reason="stop"', "0.300000"]),
  counters(
    "ollama_eval_total",
    ['model="m",reason="stop"', "62"],
    ['model="m",reason="length"', "8"],
    ['model="n"', "1"],
  ),
  counters("ollama_eval_duration_seconds", ['model="m",reason="stop"', "0.450000"]),
].join("");

const decode = (text: string, contentType = TYPE, status = 200) => decodeOwnMetrics({ status, contentType, text });

describe("decoding an Ollama server's own /metrics", () => {
  it("maps what the newer proposal counts, and takes cached prompt tokens out of all of them", () => {
    expect(decode(NEWER)).toEqual({
      mapped: [
        "ollama_generated_tokens_total",
        "ollama_prompt_tokens_total",
        "ollama_prompt_cached_tokens_total",
        "ollama_prompt_eval_duration_seconds_total",
        "ollama_eval_duration_seconds_total",
      ],
      counters: {
        "m:latest": {
          generatedTokens: 50,
          promptTokens: 11,
          promptTokensCached: 4,
          promptSeconds: 0.15,
          generationSeconds: 5,
        },
        "hf.co/a/b:q4": { generatedTokens: 7 },
      },
    });
  });

  it("maps what the older proposal counts, summed over reasons, but not prompt tokens, which it does not tell apart", () => {
    expect(decode(OLDER)).toEqual({
      mapped: ["ollama_eval_total", "ollama_prompt_eval_duration_seconds", "ollama_eval_duration_seconds"],
      counters: {
        "m:latest": { generatedTokens: 70, promptSeconds: 0.3, generationSeconds: 0.45 },
        "n:latest": { generatedTokens: 1 },
      },
    });
  });

  it("knows an endpoint in which it knows nothing", () => {
    expect(decode(BUILD)).toEqual({ mapped: [], counters: {} });
  });

  const NONE: readonly (readonly [what: string, answer: ReturnType<typeof decode>])[] = [
    ["404", decode(NEWER, TYPE, 404)],
    ["401", decode(NEWER, TYPE, 401)],
    ["JSON", decode(NEWER, "application/json")],
    ["HTML", decode("<html>ollama_build_info</html>", "text/html")],
    ["another program's metrics", decode("# TYPE up gauge\nup 1\n")],
    ["nothing", decode("")],
  ];
  it.each(NONE)("takes %s for no such endpoint", (_what, answer) => {
    expect(answer).toBeUndefined();
  });

  const WRONG: readonly (readonly [what: string, family: string])[] = [
    ["a label that is in no proposal", counters("ollama_generated_tokens_total", ['model="m",user="u"', "1"])],
    ["the same series twice", counters("ollama_generated_tokens_total", ['model="m"', "1"], ['model="m"', "2"])],
    ["NaN", counters("ollama_generated_tokens_total", ['model="m"', "NaN"])],
    ["a negative count", counters("ollama_generated_tokens_total", ['model="m"', "-1"])],
    ["another type", '# TYPE ollama_generated_tokens_total gauge\nollama_generated_tokens_total{model="m"} 1\n'],
    ["no type", 'ollama_generated_tokens_total{model="m"} 1\n'],
    ["no model", counters("ollama_generated_tokens_total", ['model=""', "1"])],
    [
      "fewer prompt tokens than cached ones",
      counters("ollama_prompt_tokens_total", ['model="m"', "1"]) +
        counters("ollama_prompt_cached_tokens_total", ['model="m"', "2"]),
    ],
  ];
  it.each(WRONG)("leaves a family with %s", (_what, family) => {
    expect(
      Object.values(decode(BUILD + family)?.counters ?? {}).filter((counts) => Object.keys(counts).length > 0),
    ).toEqual([]);
  });

  it("reads names as the exposition escapes them", () => {
    const text = BUILD + counters("ollama_generated_tokens_total", [String.raw`model="we\"ird\\mo\ndel:1"`, "3"]);
    expect(decode(text)?.counters).toEqual({ 'we"ird\\mo\ndel:1': { generatedTokens: 3 } });
  });
});

describe("when a server is asked for its own /metrics", () => {
  const MINUTE = 60_000;

  function asking(answer: () => TextAnswer) {
    const clock = new FakeClock();
    let asked = 0;
    const ask = (): Promise<TextAnswer> => {
      asked += 1;
      return Promise.resolve(answer());
    };
    return { clock, reader: new OwnMetricsReader({ ask, intervalMs: MINUTE, clock }), asked: () => asked };
  }

  it("is at its interval while there is one, and what it last said counts until then", async () => {
    const { clock, reader, asked } = asking(() => ({ status: 200, contentType: TYPE, text: NEWER }));
    for (let reading = 0; reading < 3; reading++)
      expect((await reader.read())?.counters["m:latest"]?.generatedTokens).toBe(50);
    expect(asked()).toBe(1);
    await clock.advance(MINUTE);
    await reader.read();
    expect(asked()).toBe(2);
  });

  it("is an hour after it had none, or when the server has been away", async () => {
    const { clock, reader, asked } = asking(() => ({
      status: 404,
      contentType: "text/plain",
      text: "404 page not found",
    }));
    expect(await reader.read()).toBeUndefined();
    await clock.advance(59 * MINUTE);
    await reader.read();
    expect(asked()).toBe(1);
    await clock.advance(MINUTE);
    await reader.read();
    expect(asked()).toBe(2);
    reader.serverFailed();
    await clock.advance(MINUTE);
    await reader.read();
    expect(asked()).toBe(3);
  });

  it("is at the interval after no answer, and nothing counts meanwhile", async () => {
    let answer: TextAnswer = { status: 200, contentType: TYPE, text: NEWER };
    const { clock, reader } = asking(() => answer);
    await reader.read();
    answer = undefined;
    await clock.advance(MINUTE);
    expect(await reader.read()).toBeUndefined();
    answer = { status: 200, contentType: TYPE, text: NEWER };
    await clock.advance(MINUTE);
    expect(await reader.read()).toBeDefined();
  });
});

describe("the exporter beside a server with its own /metrics", () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  const HEX = "cd".repeat(32);
  const OLD_RUNNER = ["/usr/bin/ollama", "runner", "--model", `/m/blobs/sha256-${HEX}`, "--port", "1"];

  async function start(
    answer: (response: ServerResponse) => void,
    argv: readonly string[],
    ...args: readonly string[]
  ) {
    const ollama = new FakeOllama();
    closing.push(() => ollama.close());
    ollama.models = [{ name: "m:latest", blob: HEX, loaded: { size: 9, sizeVram: 9 } }];
    ollama.behaviours.set("/metrics", (_request, response) => {
      answer(response);
    });
    const address = await ollama.listen();
    const listeners = { 9001: Number(address.split(":")[1]) };
    const table = new ProcTree([
      { pid: 500, argv: ["/usr/bin/ollama", "serve"], listeners },
      { pid: 600, parentPid: 500, argv },
    ]);
    closing.push(() => {
      table.close();
    });
    const exporter = await ExporterProcess.start([
      "--gpu.backend=none",
      `--ollama.host=${address}`,
      "--cache.duration=0",
      `--path.procfs=${table.root}`,
      ...args,
    ]);
    closing.push(() => exporter.stop("SIGKILL"));
    const text = await exporter.scrape();
    const status = (await (await fetch(exporter.url("/api/v1/status"))).json()) as {
      servers: { ownMetrics?: string[] }[];
      hints: string[];
    };
    return { text, status, ollama, label: `{server="${address}",model="m:latest"}` };
  }

  const exposed =
    (text: string) =>
    (response: ServerResponse): void => {
      response.writeHead(200, { "content-type": TYPE }).end(text);
    };

  it("shows the counters of a model whose runner tells none, says so in the status, and relays nothing else", async () => {
    const { text, status, label, ollama } = await start(exposed(NEWER), OLD_RUNNER);
    expect(samplesOf(text, "ollama_model_generated_tokens_total")).toEqual({ [label]: 50 });
    expect(samplesOf(text, "ollama_model_prompt_tokens_total")).toEqual({
      [label.replace("}", ',cached="true"}')]: 4,
      [label.replace("}", ',cached="false"}')]: 11,
    });
    expect(samplesOf(text, "ollama_model_generation_seconds_total")).toEqual({ [label]: 5 });
    expect(status.servers[0]?.ownMetrics).toHaveLength(5);
    expect(text).not.toMatch(/^ollama_(requests|prompt|generated|eval|load|loaded|http)/m);
    expect(text).not.toContain("hf.co");
    expect(ollama.count("/metrics")).toBe(1);
  });

  const BESIDE: readonly (readonly [what: string, change: (runner: FakeRunner) => void, tokens: number | undefined])[] =
    [
      ["tells its own", () => undefined, 21],
      ["would tell its own but did not answer", ({ behaviours }) => void behaviours.set("/metrics", cut), undefined],
      ["has them switched off", (runner) => void (runner.metrics = false), 50],
    ];
  const cut = (response: ServerResponse): void => void response.destroy();
  it.each(BESIDE)("counts from one source where the runner %s", async (_what, change, tokens) => {
    const runner = new FakeRunner();
    closing.push(() => runner.close());
    change(runner);
    const { text, status, label } = await start(exposed(NEWER), argvOf(HEX, await runner.listen()));
    expect(samplesOf(text, "ollama_model_generated_tokens_total")).toEqual(
      tokens === undefined ? {} : { [label]: tokens },
    );
    expect(status.hints).toEqual([]);
  });

  const FAILING: readonly (readonly [what: string, answer: (response: ServerResponse) => void])[] = [
    ["404", (response) => void response.writeHead(404).end("404 page not found")],
    ["no answer", () => undefined],
    ["a body beyond a MiB", exposed(NEWER + "#".repeat(1 << 20))],
    ["a closed connection", (response) => response.destroy()],
  ];
  it.each(FAILING)("is unmoved by %s", async (_what, answer) => {
    const { text, status, label } = await start(answer, OLD_RUNNER);
    expect(samplesOf(text, "ollama_model_loaded")).toEqual({ [label]: 1 });
    expect(text).not.toMatch(/^ollama_model_(generated|prompt|generation)/m);
    expect(status.servers[0]).not.toHaveProperty("ownMetrics");
    expect(new Set(Object.values(samplesOf(text, "ollama_gpu_exporter_collector_success")))).toEqual(new Set([1]));
    for (const seconds of Object.values(samplesOf(text, "ollama_gpu_exporter_collector_duration_seconds")))
      expect(seconds).toBeLessThan(2.5);
  });

  it("does not ask with --ollama.runner-metrics=off", async () => {
    const { text, ollama } = await start(exposed(NEWER), OLD_RUNNER, "--ollama.runner-metrics=off");
    expect(text).not.toMatch(/^ollama_model_generated/m);
    expect(ollama.count("/metrics")).toBe(0);
  });
});
