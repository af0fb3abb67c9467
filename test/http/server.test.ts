import { afterEach, describe, expect, it } from "@jest/globals";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StartupError } from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import { text } from "../../src/outputs/http/answer.ts";
import type { Route } from "../../src/outputs/http/routes.ts";
import { HttpServer, type ListenAddress } from "../../src/outputs/http/server.ts";

const LOOPBACK: ListenAddress = { host: "127.0.0.1", port: 0 };

describe("HttpServer", () => {
  const servers: HttpServer[] = [];
  const requests: string[] = [];

  afterEach(async () => {
    requests.length = 0;
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });

  async function serve(routes: Record<string, Route["answer"]>, addresses = [LOOPBACK]): Promise<string> {
    const server = new HttpServer({
      addresses,
      routes: new Map(Object.entries(routes).map(([path, answer]) => [path, { name: path.slice(1), answer }])),
      logger: silentLogger,
      onRequest: (handler, code) => requests.push(`${handler} ${code}`),
    });
    servers.push(server);
    const [address = ""] = await server.listen();
    return address;
  }

  const hello: Route["answer"] = () => text(200, "hello");

  it("answers GET, and HEAD with the same headers but no body", async () => {
    const url = `http://${await serve({ "/a": hello })}/a`;
    const got = await fetch(url);
    const head = await fetch(url, { method: "HEAD" });
    expect([got.status, await got.text()]).toEqual([200, "hello\n"]);
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect(head.headers.get("content-length")).toBe(got.headers.get("content-length"));
    expect(requests).toEqual(["a 200", "a 200"]);
  });

  it.each(["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])("answers %s with 405 and what is allowed", async (method) => {
    const answer = await fetch(`http://${await serve({ "/a": hello })}/a`, { method });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });

  it("answers an unknown path with 404, without repeating it", async () => {
    const answer = await fetch(`http://${await serve({ "/a": hello })}/%3Cscript%3E`);
    expect([answer.status, await answer.text()]).toEqual([404, "404 page not found\n"]);
    expect(requests).toEqual(["other 404"]);
  });

  it("ignores the query when it looks for the route", async () => {
    expect((await fetch(`http://${await serve({ "/a": hello })}/a?collect[]=x`)).status).toBe(200);
  });

  it("answers 503 when a route throws", async () => {
    const address = await serve({ "/a": () => Promise.reject(new Error("a secret reason")) });
    const answer = await fetch(`http://${address}/a`);
    expect(answer.status).toBe(503);
    expect(await answer.text()).not.toContain("secret");
  });

  it("refuses a 10 MB header with 431 and goes on", async () => {
    const address = await serve({ "/a": hello });
    const [host = "", port = ""] = address.split(":");
    const status = await new Promise<string>((resolve) => {
      const socket = connect(Number(port), host, () => {
        socket.write(`GET /a HTTP/1.1\r\nHost: x\r\nX-Big: ${"a".repeat(10_000_000)}\r\n\r\n`);
      });
      socket.once("data", (data) => {
        resolve(data.toString().slice(0, 12));
        socket.destroy();
      });
      socket.on("error", () => undefined);
    });
    expect(status).toBe("HTTP/1.1 431");
    expect((await fetch(`http://${address}/a`)).status).toBe(200);
  });

  it("listens on a unix socket that only its user and group can open", async () => {
    const folder = mkdtempSync(join(tmpdir(), "http-server-"));
    const socketPath = join(folder, "exporter.sock");
    try {
      expect(await serve({ "/a": hello }, [{ socketPath }])).toBe(`unix:${socketPath}`);
      expect((statSync(socketPath).mode & 0o777).toString(8)).toBe("660");
      const status = await new Promise<number | undefined>((resolve, reject) => {
        httpRequest({ socketPath, path: "/a" }, (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        })
          .on("error", reject)
          .end();
      });
      expect(status).toBe(200);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("says which address is taken, and then listens on none", async () => {
    const taken = await serve({ "/a": hello });
    const port = Number(taken.split(":")[1]);
    const listening = serve({ "/a": hello }, [LOOPBACK, { host: "127.0.0.1", port }]);
    await expect(listening).rejects.toThrow(StartupError);
    await expect(listening).rejects.toThrow(`Cannot listen on 127.0.0.1:${port}`);
  });

  it("finishes a request under way when it is closed, and accepts no other", async () => {
    let finish: () => void = () => undefined;
    const started = new Promise<void>((resolve) => {
      finish = resolve;
    });
    let arrived: () => void = () => undefined;
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const address = await serve({
      "/slow": async () => {
        arrived();
        await started;
        return text(200, "done");
      },
    });
    const slow = fetch(`http://${address}/slow`);
    await arrival;
    const closed = servers[0]?.close();
    await expect(fetch(`http://${address}/slow`)).rejects.toThrow();
    finish();
    expect(await (await slow).text()).toBe("done\n");
    await closed;
  });
});
