import { afterEach, describe, expect, it } from "@jest/globals";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StartupError } from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import { text } from "../../src/outputs/http/answer.ts";
import type { Route } from "../../src/outputs/http/routes.ts";
import type { ListenAddress } from "../../src/outputs/http/listen.ts";
import { HttpServer } from "../../src/outputs/http/server.ts";
import { exchange } from "../support/raw-http.ts";

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

  it("replaces the socket file of a process that is gone, and removes its own when it ends", async () => {
    const folder = mkdtempSync(join(tmpdir(), "http-server-"));
    const socketPath = join(folder, "exporter.sock");
    try {
      const killed = spawnSync(process.execPath, [
        "-e",
        `require("node:net").createServer().listen(${JSON.stringify(socketPath)}, () => process.kill(process.pid, "SIGKILL"))`,
      ]);
      expect([killed.signal, existsSync(socketPath)]).toEqual(["SIGKILL", true]);
      await serve({ "/a": hello }, [{ socketPath }]);
      const { statuses } = await exchange({ path: socketPath }, "GET /a HTTP/1.0\r\n\r\n");
      expect(statuses).toEqual([200]);
      await servers[0]?.close();
      expect(existsSync(socketPath)).toBe(false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("leaves alone the socket of a process that answers, and a file that is no socket", async () => {
    const folder = mkdtempSync(join(tmpdir(), "http-server-"));
    const [socketPath, file] = [join(folder, "exporter.sock"), join(folder, "notes.txt")];
    try {
      writeFileSync(file, "mine");
      await serve({ "/a": hello }, [{ socketPath }]);
      await expect(serve({ "/b": hello }, [{ socketPath }])).rejects.toThrow(
        `Cannot listen on unix:${socketPath}: another process answers there; choose another --web.listen-address`,
      );
      await expect(serve({ "/b": hello }, [{ socketPath: file }])).rejects.toThrow(`Cannot listen on unix:${file}`);
      expect(readFileSync(file, "utf8")).toBe("mine");
      const { statuses } = await exchange({ path: socketPath }, "GET /a HTTP/1.0\r\n\r\n");
      expect(statuses).toEqual([200]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("binds a unix socket with its mode under any mask, and leaves the process's mask as it was", async () => {
    const folder = mkdtempSync(join(tmpdir(), "http-server-"));
    const socketPath = join(folder, "exporter.sock");
    const before = process.umask(0);
    try {
      await serve({ "/a": hello }, [{ socketPath }]);
      expect((statSync(socketPath).mode & 0o777).toString(8)).toBe("660");
      expect(process.umask(before)).toBe(0);
    } finally {
      process.umask(before);
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
