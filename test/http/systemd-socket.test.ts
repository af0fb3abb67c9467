/** Socket activation of the exporter as a process: sockets are opened here and passed as descriptors, as systemd does. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { endpoint, exchange } from "../support/raw-http.ts";

const CLI = join(import.meta.dirname, "../../src/cli.ts");
/** The process number is known only to the process: a shell sets it, and becomes the exporter. */
const SHELL = ["-c", 'LISTEN_PID=$$ exec "$0" "$@"', process.execPath, CLI, "--demo", "--web.systemd-socket"];
const environment = (sockets: number, names = ""): NodeJS.ProcessEnv => ({
  ...process.env,
  NODE_OPTIONS: "",
  LISTEN_FDS: String(sockets),
  LISTEN_FDNAMES: names,
});

describe("the exporter with sockets that it did not open", () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function open(): Promise<Server> {
    const server = createServer().listen(0, "127.0.0.1");
    closing.push(() => server.close());
    await once(server, "listening");
    return server;
  }

  const descriptorOf = (server: Server): number => (server as unknown as { _handle: { fd: number } })._handle.fd;

  const portOf = (server: Server): number => {
    const address = server.address();
    return address !== null && typeof address === "object" ? address.port : 0;
  };

  it("serves on all of them, and ends as usual", async () => {
    const sockets = [await open(), await open()];
    const ports = sockets.map(portOf);
    const child = spawn("/bin/sh", SHELL, {
      env: environment(2, "web:local"),
      stdio: ["ignore", "ignore", "pipe", ...sockets.map(descriptorOf)],
    });
    closing.push(() => child.kill("SIGKILL"));
    for (const socket of sockets) socket.close(); // from here on they are the exporter's alone
    const lines: string[] = [];
    if (!child.stderr) throw new Error("no stderr");
    for await (const line of createInterface({ input: child.stderr })) if (lines.push(line) === 2) break;
    const addresses = lines.map((line) => /msg=listening address=(\S+)/.exec(line)?.[1] ?? line);
    expect(addresses).toEqual(ports.map((port) => `127.0.0.1:${port}`));
    for (const address of addresses) {
      const { statuses, text } = await exchange(endpoint(address), "GET /metrics HTTP/1.0\r\n\r\n");
      expect(statuses).toEqual([200]);
      expect(text).toContain("\nollama_gpu_exporter_build_info{");
    }
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
  });

  it.each([
    ["fewer descriptors than announced", ["ignore", "ignore", "pipe"]],
    ["a file instead of a socket", ["ignore", "ignore", "pipe", "ignore"]],
  ] as const)("says in one line that it was passed %s, and ends with 1", (_what, stdio) => {
    const { status, stderr } = spawnSync("/bin/sh", SHELL, {
      env: environment(1),
      stdio: [...stdio],
      encoding: "utf8",
      timeout: 4_000,
    });
    expect([status, stderr]).toEqual([
      1,
      "ollama-gpu-exporter: Cannot listen on systemd:3: no socket was passed there; check the socket unit\n",
    ]);
  });
});
