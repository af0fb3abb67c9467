/** Every bad input of the outer interface that reaches the exporter as a whole; each line: what goes wrong, what a scraper sees. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { once } from "node:events";
import { connect } from "node:net";
import { gunzipSync } from "node:zlib";
import { ExporterProcess, samplesOf } from "./support/exporter-process.ts";
import { type Behaviour, FakeOllama, json } from "./support/fake-ollama.ts";
import { FakeDriver, h100 } from "./support/nvml/fake-nvml.ts";

const HOSTILE = 'a"b\\c\nd{e}=π😀:latest';
const loaded = { size: 1_000, sizeVram: 1_000 };

describe("a server that misbehaves beside one that does not", () => {
  const good = new FakeOllama();
  const bad = new FakeOllama();
  let goodAddress = "";
  let badAddress = "";
  let exporter: ExporterProcess;

  beforeAll(async () => {
    good.models = [{ name: HOSTILE, loaded }];
    goodAddress = await good.listen();
    badAddress = await bad.listen();
    exporter = await ExporterProcess.start([
      "--gpu.backend=none",
      "--cache.duration=0",
      "--retry.attempts=1",
      "--ollama.timeout=400ms",
      `--ollama.host=${goodAddress}`,
      `--ollama.host=${badAddress}`,
    ]);
  });
  afterEach(() => {
    bad.behaviours.clear();
  });
  afterAll(async () => {
    await exporter.stop("SIGKILL");
    await good.close();
    await bad.close();
  });

  const BEHAVIOURS: readonly (readonly [what: string, behaviour: Behaviour])[] = [
    ["hangs", () => undefined],
    ["answers 500", (_, response) => void response.writeHead(500).end('{"error":"x"}')],
    ["answers HTML", (_, response) => void response.writeHead(200, { "content-type": "text/html" }).end("<html>")],
    ["truncates its JSON", (_, response) => void response.end('{"models":[{"name":"x"')],
    ["cuts the connection", (_, response) => void response.socket?.destroy()],
    ["redirects", (_, response) => void response.writeHead(302, { location: `http://${goodAddress}/api/ps` }).end()],
    [
      "answers a list",
      (_, response) => {
        json(response, []);
      },
    ],
    [
      "answers models that are no list",
      (_, response) => {
        json(response, { models: 7 });
      },
    ],
    ["sends a body without end", endless],
  ];

  it.each(BEHAVIOURS)("that %s is down, and alone", async (_what, behaviour) => {
    bad.behaviours.set("/api/ps", behaviour);
    const text = await exporter.scrape();
    expect(samplesOf(text, "ollama_up")).toEqual({
      [`{server="${goodAddress}"}`]: 1,
      [`{server="${badAddress}"}`]: 0,
    });
    expect(samplesOf(text, "ollama_models_loaded")).toEqual({ [`{server="${goodAddress}"}`]: 1 });
    bad.behaviours.clear();
    expect(samplesOf(await exporter.scrape(), "ollama_up")).toMatchObject({ [`{server="${badAddress}"}`]: 1 });
  });

  it("that answers wrong types loses only those fields", async () => {
    bad.behaviours.set("/api/ps", (_, response) => {
      json(response, { models: [{ name: "x:latest", size: "big", size_vram: 7, expires_at: 3 }, "no object"] });
    });
    const text = await exporter.scrape();
    const label = `{server="${badAddress}",model="x:latest"}`;
    expect(samplesOf(text, "ollama_up")).toMatchObject({ [`{server="${badAddress}"}`]: 1 });
    expect(samplesOf(text, "ollama_model_reported_vram_bytes")).toMatchObject({ [label]: 7 });
    expect(samplesOf(text, "ollama_model_size_bytes")).not.toHaveProperty([label]);
    expect(samplesOf(text, "ollama_model_expires_timestamp_seconds")).not.toHaveProperty([label]);
  });

  it("escapes hostile model names in every format, on one line", async () => {
    const escaped = String.raw`model="a\"b\\c\nd{e}=π😀:latest"`;
    for (const accept of ["text/plain", "application/openmetrics-text; version=1.0.0"]) {
      const text = await exporter.scrape({ accept });
      expect(text).toContain(`ollama_model_loaded{server="${goodAddress}",${escaped}} 1\n`);
    }
  });

  it.each([
    ["", "text/plain; version=0.0.4; charset=utf-8"],
    [";;;q=,,/", "text/plain; version=0.0.4; charset=utf-8"],
    ["image/png", "text/plain; version=0.0.4; charset=utf-8"],
    ["text/plain;version=1.0.0;escaping=allow-utf-8", "text/plain; version=1.0.0; charset=utf-8"],
    [
      "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
      "application/openmetrics-text; version=1.0.0; charset=utf-8",
    ],
  ])("answers Accept %j as %s", async (accept, contentType) => {
    const answer = await fetch(exporter.url("/metrics"), { headers: { accept } });
    expect([answer.status, answer.headers.get("content-type")?.replace(/; escaping=\S+/, "")]).toEqual([
      200,
      contentType,
    ]);
  });

  it("compresses for who accepts it", async () => {
    const socket = connect(Number(exporter.address.split(":")[1]), "127.0.0.1");
    socket.write("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    const answer = Buffer.concat(chunks);
    const head = answer.indexOf("\r\n\r\n");
    expect(answer.subarray(0, head).toString()).toMatch(/content-encoding: gzip/i);
    expect(gunzipSync(answer.subarray(head + 4)).toString()).toContain("ollama_up{");
  });

  it("serves others while a client does not read and another does not finish its request", async () => {
    const port = Number(exporter.address.split(":")[1]);
    const deaf = connect(port, "127.0.0.1").pause();
    deaf.write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(30));
    const slow = connect(port, "127.0.0.1");
    slow.write("GET /metrics HTTP/1.1\r\nHost:");
    await Promise.all([once(deaf, "connect"), once(slow, "connect")]);
    expect(await exporter.scrape()).toContain("ollama_up{");
    deaf.destroy();
    slow.destroy();
  });
});

describe("the exporter under", () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<ExporterProcess> {
    const started = await ExporterProcess.start(["--cache.duration=0", ...args], { env });
    closing.push(() => started.stop("SIGKILL"));
    return started;
  }

  /** Whose /api/ps never answers. */
  async function hangingOllama(): Promise<{ address: string; asked: () => Promise<void> }> {
    const fake = new FakeOllama();
    closing.push(() => fake.close());
    let asked = (): void => undefined;
    const first = new Promise<void>((resolve) => (asked = resolve));
    fake.behaviours.set("/api/ps", () => {
      asked();
    });
    return { address: await fake.listen(), asked: () => first };
  }

  it("a hanging Ollama: what has finished is answered within the scrape's deadline, more scrapes get 503", async () => {
    const { address, asked } = await hangingOllama();
    const running = await start([
      "--gpu.backend=none",
      `--ollama.host=${address}`,
      "--ollama.timeout=30s",
      "--web.max-requests=1",
    ]);
    await asked();
    const first = fetch(running.url("/metrics"), { headers: { "X-Prometheus-Scrape-Timeout-Seconds": "1.5" } });
    let second = 200;
    while (second === 200)
      second = (await fetch(running.url("/metrics"), { headers: { "X-Prometheus-Scrape-Timeout-Seconds": "0.001" } }))
        .status;
    expect(second).toBe(503);
    const answer = await first;
    const text = await answer.text();
    expect(samplesOf(text, "ollama_gpu_exporter_collector_success")).toEqual({
      [`{collector="ollama",target="${address}"}`]: 0,
      '{collector="processes",target="local"}': 1,
    });
  });

  it("a second signal: ends at once", async () => {
    const { address, asked } = await hangingOllama();
    const running = await start(["--gpu.backend=none", `--ollama.host=${address}`, "--ollama.timeout=30s"]);
    await asked();
    void fetch(running.url("/metrics")).catch(() => undefined);
    const ended = running.stop("SIGINT");
    while (!running.stderr.some((line) => line.includes("SIGINT") || line.includes("shutting down")))
      await once(running.child.stderr ?? running.child, "data");
    running.child.kill("SIGINT");
    expect((await ended).ms).toBeLessThan(1_000);
  });

  it("a process that exits between listing and reading: its bytes stay, its name is empty", async () => {
    const driver = new FakeDriver({ gpus: [h100({ processes: [{ pid: 4_194_000, kind: "compute", memory: 77 }] })] });
    closing.push(() => {
      driver[Symbol.dispose]();
    });
    const text = await (
      await start([`--gpu.nvml-library=${driver.library}`, "--ollama.host=none", "--processes=all"], { ...driver.env })
    ).scrape();
    expect(samplesOf(text, "gpu_process_memory_bytes")).toEqual({ '{gpu="0",pid="4194000",process=""}': 77 });
  });

  it("an unreadable /proc: the GPUs are there, nothing is attributed", async () => {
    const driver = new FakeDriver({ gpus: [h100()] });
    closing.push(() => {
      driver[Symbol.dispose]();
    });
    const text = await (
      await start(
        [
          `--gpu.nvml-library=${driver.library}`,
          "--ollama.host=none",
          "--path.procfs=/nonexistent",
          "--retry.attempts=1",
        ],
        { ...driver.env },
      )
    ).scrape();
    expect(samplesOf(text, "ollama_gpu_exporter_collector_success")).toEqual({
      '{collector="nvml",target="local"}': 1,
      '{collector="processes",target="local"}': 0,
    });
    expect(text).toMatch(/^gpu_memory_used_bytes\{/m);
    expect(text).not.toMatch(/^gpu_memory_owner_bytes\{/m);
  });
});

function endless(...[, response]: Parameters<Behaviour>): void {
  const block = Buffer.alloc(1 << 20, "[");
  const more = (): void => {
    while (!response.destroyed && response.write(block));
    if (!response.destroyed) response.once("drain", more);
  };
  more();
}
