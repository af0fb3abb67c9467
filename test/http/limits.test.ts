import { afterEach, describe, expect, it } from "@jest/globals";
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { silentLogger } from "../../src/logger.ts";
import { type Answer, text } from "../../src/outputs/http/answer.ts";
import { HTTP_LIMITS, type HttpLimits } from "../../src/outputs/http/limits.ts";
import type { Route } from "../../src/outputs/http/routes.ts";
import { HttpServer } from "../../src/outputs/http/server.ts";
import { endpoint, exchange } from "../support/raw-http.ts";

const REQUEST = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
/** More than the buffers between two sockets hold. */
const LARGE: Answer = { ...text(200, ""), body: Buffer.alloc(32 * 1024 * 1024) };

describe("the limits of the HTTP server", () => {
  const servers: HttpServer[] = [];
  const clients: Socket[] = [];
  const codes: number[] = [];
  afterEach(async () => {
    codes.length = 0;
    for (const client of clients.splice(0)) client.destroy();
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });

  async function serve(limits: Partial<HttpLimits>, answer: Route["answer"] = () => text(200, "hello")) {
    const server = new HttpServer({
      addresses: [{ host: "127.0.0.1", port: 0 }],
      routes: new Map([["/a", { name: "a", answer }]]),
      logger: silentLogger,
      onRequest: (_handler, code) => codes.push(code),
      limits,
    });
    servers.push(server);
    const [address = ""] = await server.listen();
    return endpoint(address);
  }

  function client(to: { host: string; port: number }, bytes = ""): Socket {
    const socket = connect(to, () => socket.write(bytes));
    socket.on("error", () => undefined);
    clients.push(socket);
    return socket;
  }

  it("are these in production", () => {
    expect(HTTP_LIMITS).toEqual({
      headersMs: 10_000,
      requestMs: 30_000,
      checkMs: 1_000,
      handshakeMs: 10_000,
      keepAliveMs: 65_000,
      idleMs: 120_000,
      responseMs: 60_000,
      lingerMs: 500,
      drainMs: 1_500,
      headerBytes: 16_384,
      headerCount: 100,
      targetBytes: 8_000,
      bodyBytes: 65_536,
      pipelined: 100,
      connections: 2_000,
    });
  });

  const SHORT = { headersMs: 30, requestMs: 60, checkMs: 5 };

  it.each([
    ["no byte", ""],
    ["half a request line", "GET /a HT"],
    ["headers without an end", "GET /a HTTP/1.1\r\nHost: x\r\n"],
    ["half a body", "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe"],
    ["half a chunk", "GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"],
  ])("answer 408 to who sends %s, and close", async (_what, bytes) => {
    const { statuses, text } = await exchange(await serve(SHORT), bytes);
    expect(statuses).toEqual([408]);
    expect(text).toMatch(/^Connection: close\r$/m);
    expect(codes).toEqual([408]);
  });

  it("answer 408 to who sends a header byte by byte", async () => {
    const socket = client(await serve(SHORT), "GET /a HTTP/1.1\r\nX: ");
    const drip = setInterval(() => socket.write("a"), 5);
    const [data] = (await once(socket, "data")) as [Buffer];
    clearInterval(drip);
    expect(data.toString()).toMatch(/^HTTP\/1\.1 408 /);
  });

  it("answer 408 to a second request that does not end", async () => {
    const { statuses } = await exchange(await serve(SHORT), `${REQUEST}GET /a HT`);
    expect(statuses).toEqual([200, 408]);
  });

  it("close a connection without another request, without a word", async () => {
    const { statuses } = await exchange(await serve({ keepAliveMs: 1 }), REQUEST);
    expect(statuses).toEqual([200]);
  });

  it.each([
    ["on which no byte moves", { idleMs: 40 }],
    ["whose answer is not read in time", { responseMs: 40 }],
  ])("cut a connection %s", async (_what, limits) => {
    const { promise, resolve } = Promise.withResolvers<Socket>();
    const to = await serve(limits, (request) => {
      resolve(request.socket);
      return LARGE;
    });
    client(to, REQUEST).pause();
    await once(await promise, "close");
    expect(codes).toEqual([200]);
  });

  it("let no more than so many connections in, and the next when one has gone", async () => {
    const to = await serve({ connections: 2 });
    const [first] = [client(to), client(to)];
    await Promise.all(clients.map((socket) => once(socket, "connect")));
    const third = await exchange(to, REQUEST).catch(() => ({ statuses: ["reset"] }));
    expect([[], ["reset"]]).toContainEqual(third.statuses);
    expect(codes).toEqual([]);
    first.end();
    first.resume();
    await once(first, "close");
    const { statuses } = await exchange(to, REQUEST.replace("Host", "Connection: close\r\nHost"));
    expect(statuses).toEqual([200]);
  });

  it("answer so many pipelined requests, and cut a connection with more", async () => {
    const last = REQUEST.replace("Host", "Connection: close\r\nHost");
    const to = await serve({});
    expect((await exchange(to, REQUEST.repeat(99) + last)).statuses).toEqual(Array.from({ length: 100 }, () => 200));
    codes.length = 0;
    const { statuses } = await exchange(to, REQUEST.repeat(5_000)).catch(() => ({ statuses: [] }));
    expect([statuses, codes]).toEqual([[], []]);
  });

  it("give a client that is refused in the middle of its flood the time to read why", async () => {
    const flood = `GET /a HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(4_000_000)}`;
    const { statuses } = await exchange(await serve({ lingerMs: 90 }), flood);
    expect(statuses).toEqual([431]);
  });
});
