import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OllamaReading } from "../../src/snapshot.ts";
import { silentLogger } from "../../src/logger.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { createOllamaClient, type Header } from "../../src/sources/ollama/client.ts";
import { parseServer } from "../../src/sources/ollama/host.ts";
import { OllamaSource } from "../../src/sources/ollama/source.ts";
import type { SourceResult } from "../../src/sources/source.ts";
import { type Behaviour, FakeOllama, json } from "../support/fake-ollama.ts";

const HEX = "ab".repeat(32);

describe("OllamaSource over HTTP", () => {
  let ollama: FakeOllama;
  let address: string;
  const closing: (() => unknown)[] = [];
  const signal = new AbortController().signal;

  beforeEach(async () => {
    ollama = new FakeOllama();
    ollama.models = [{ name: "a:latest", blob: HEX, loaded: { size: 100, sizeVram: 80 } }, { name: "b:latest" }];
    address = await ollama.listen();
    closing.push(() => ollama.close());
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  function sourceFor(
    host = address,
    options: {
      headers?: readonly Header[];
      timeoutMs?: number;
      tagsIntervalMs?: number;
      attempts?: number;
      readsOwnMetrics?: boolean;
    } = {},
  ): OllamaSource {
    const target = parseServer(host, new Set());
    const { headers = [], timeoutMs = 2_000, tagsIntervalMs = 60_000, attempts = 1, readsOwnMetrics = false } = options;
    const client = createOllamaClient({
      target,
      headers,
      timeoutMs,
      retry: { attempts, delayMs: 1 },
      clock: systemClock,
    });
    const source = new OllamaSource({
      identity: target.identity,
      client,
      timeoutMs,
      tagsIntervalMs,
      readsOwnMetrics,
      clock: systemClock,
      logger: silentLogger,
    });
    closing.push(() => source.close());
    return source;
  }

  const valueOf = (result: SourceResult<OllamaReading>): OllamaReading => {
    if (result.status !== "ok") throw new Error(result.reason);
    return result.value;
  };

  it("reads version, loaded and installed models, and the blob of what is loaded", async () => {
    const reading = valueOf(await sourceFor().read(signal));
    expect(reading).toMatchObject({
      version: "0.33.2",
      loadedCount: 1,
      installedCount: 2,
      loaded: [{ name: "a:latest", sizeBytes: 100, sizeVramBytes: 80, blobDigest: HEX }],
    });
  });

  it("asks for /api/show once per model and for /api/tags at its own interval", async () => {
    const source = sourceFor();
    for (let reading = 0; reading < 3; reading++) await source.read(signal);
    expect([ollama.count("/api/ps"), ollama.count("/api/show"), ollama.count("/api/tags")]).toEqual([3, 1, 1]);
  });

  const failures: readonly (readonly [string, Behaviour, RegExp])[] = [
    ["500", (_request, response) => response.writeHead(500).end("boom"), /answered 500/],
    ["HTML", (_request, response) => response.end("<html></html>"), /HTML that is not JSON/],
    ["truncated JSON", (_request, response) => response.end('{"models":['), /not JSON/],
    [
      "another outline",
      (_request, response) => {
        json(response, { hello: 1 });
      },
      /no list of models/,
    ],
    [
      "a redirect",
      (_request, response) => response.writeHead(302, { location: "http://127.0.0.1:1/" }).end(),
      /answered 302/,
    ],
    ["a closed connection", (request) => request.socket.destroy(), /failed/],
  ];
  it.each(failures)("fails in words on %s", async (_title, behaviour, reason) => {
    ollama.behaviours.set("/api/ps", behaviour);
    expect(await sourceFor().read(signal)).toMatchObject({ status: "failed", reason: expect.stringMatching(reason) });
  });

  it("gives up a server that does not answer, at the deadline", async () => {
    ollama.behaviours.set("/api/ps", () => undefined);
    expect(await sourceFor(address, { timeoutMs: 100 }).read(signal)).toMatchObject({
      status: "failed",
      timedOut: true,
    });
  });

  it("holds the deadline against a body that drips", async () => {
    ollama.behaviours.set("/api/ps", (_request, response) => {
      const drip = setInterval(() => response.write(" "), 20);
      response.on("close", () => {
        clearInterval(drip);
      });
    });
    expect(await sourceFor(address, { timeoutMs: 200 }).read(signal)).toMatchObject({
      status: "failed",
      timedOut: true,
    });
  });

  it("stops reading a body without end at 16 MiB", async () => {
    let sent = 0;
    ollama.behaviours.set("/api/ps", (_request, response) => {
      const block = Buffer.alloc(1 << 20, " ");
      const pump = () => {
        while (!response.destroyed && sent < 1 << 30) {
          sent += block.length;
          if (!response.write(block)) return;
        }
      };
      response.on("drain", pump);
      pump();
    });
    expect(await sourceFor(address, { timeoutMs: 5_000 }).read(signal)).toMatchObject({
      reason: expect.stringContaining("16 MiB"),
    });
    expect(sent).toBeLessThan(64 << 20);
  });

  it("tries again within the deadline", async () => {
    let calls = 0;
    ollama.behaviours.set("/api/ps", (_request, response) => {
      if (++calls < 3) response.writeHead(500).end();
      else json(response, { models: [] });
    });
    expect(await sourceFor(address, { attempts: 3 }).read(signal)).toMatchObject({ status: "ok" });
  });

  it("keeps up and loses only its own families when /api/tags fails, and asks again at once", async () => {
    const source = sourceFor();
    ollama.behaviours.set("/api/tags", (_request, response) => response.writeHead(500).end());
    const result = await source.read(signal);
    expect(result).toMatchObject({ status: "ok", degraded: expect.stringContaining("/api/tags") });
    expect(valueOf(result).installed).toBeUndefined();
    ollama.behaviours.clear();
    expect(await source.read(signal)).not.toHaveProperty("degraded");
  });

  it("is degraded while /api/show fails", async () => {
    ollama.behaviours.set("/api/show", (_request, response) => response.writeHead(404).end("{}"));
    expect(await sourceFor().read(signal)).toMatchObject({
      status: "ok",
      degraded: expect.stringContaining("/api/show"),
    });
  });

  it("keeps at most 1,000 models, the loaded ones first", async () => {
    const many = Array.from({ length: 1_500 }, (_, index) => ({ name: `z${String(index).padStart(4, "0")}` }));
    ollama.models = [...many, { name: "zz:loaded", blob: HEX, loaded: { size: 1, sizeVram: 1 } }];
    const reading = valueOf(await sourceFor().read(signal));
    expect(reading).toMatchObject({ loadedCount: 1, installedCount: 1_501, dropped: 501 });
    expect(reading.installed?.map(({ name }) => name)).toContain("zz:loaded");
    expect(reading.installed).toHaveLength(1_000);
  });

  it("speaks over a unix socket, below a path, and with headers from a file read anew each time", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ollama-source-"));
    closing.push(() => {
      rmSync(folder, { recursive: true });
    });
    const behind = new FakeOllama();
    behind.version = "0.24.0";
    await behind.listen(join(folder, "ollama.sock"));
    closing.push(() => behind.close());
    const file = join(folder, "token");
    writeFileSync(file, "Bearer one\n");
    const source = sourceFor(`unix:${folder}/ollama.sock`, { headers: [{ name: "Authorization", file }] });
    expect(valueOf(await source.read(signal)).version).toBe("0.24.0");
    writeFileSync(file, "Bearer two\n");
    await source.read(signal);
    const sent = behind.requests.filter(({ path }) => path === "/api/ps").map(({ headers }) => headers.authorization);
    expect(sent).toEqual(["Bearer one", "Bearer two"]);
    await sourceFor(`http://${address}/prefix`).read(signal);
    expect(ollama.count("/prefix/api/ps")).toBe(1);
  });

  it("says who does not listen, and prints nothing by itself", async () => {
    const written = [jest.spyOn(console, "log"), jest.spyOn(console, "warn"), jest.spyOn(console, "error")];
    const result = await sourceFor("127.0.0.1:1").read(signal);
    ollama.behaviours.set("/api/ps", (_request, response) => response.writeHead(500).end("no JSON"));
    await sourceFor().read(signal);
    expect(result).toMatchObject({
      status: "failed",
      reason: expect.stringMatching(/ECONNREFUSED.*is Ollama running\?/),
    });
    for (const spy of written) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
  });

  it("does not ask an injected client again while its last call has not settled", async () => {
    let calls = 0;
    const client = {
      ps: () => {
        calls++;
        return new Promise(() => undefined);
      },
      list: () => Promise.resolve({ models: [] }),
      show: () => Promise.resolve({}),
      version: () => Promise.resolve({ version: "1" }),
    };
    const { identity } = parseServer("", new Set());
    const source = new OllamaSource({
      identity,
      client,
      timeoutMs: 30,
      tagsIntervalMs: 1,
      readsOwnMetrics: true,
      clock: systemClock,
      logger: silentLogger,
    });
    expect(await source.read(signal)).toMatchObject({ status: "failed", timedOut: true });
    expect(await source.read(signal)).toMatchObject({ status: "failed", timedOut: true });
    expect(calls).toBe(1);
  });
});
