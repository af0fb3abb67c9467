/** Socket activation by systemd's own systemd-socket-activate, and the socket unit before systemd-analyze. */
import { afterAll, afterEach, describe, expect, it } from "@jest/globals";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { exchange } from "../support/raw-http.ts";
import { eventually, freePort } from "../support/real-tools.ts";

const ROOT = join(import.meta.dirname, "../..");
const CLI = join(ROOT, "dist/cli.js");
const UNITS = join(ROOT, "deploy/systemd");
const GET = "GET /metrics HTTP/1.0\r\n\r\n";

/** A program of Debian's package systemd. */
function need(program: string): string {
  if (spawnSync(program, ["--version"]).error) throw new Error(`${program} is missing: apt-get install systemd`);
  return program;
}

describe("systemd-socket-activate", () => {
  const folder = mkdtempSync(join(tmpdir(), "real-systemd-"));
  const running: ChildProcess[] = [];
  afterEach(() => {
    for (const child of running.splice(0)) child.kill("SIGKILL");
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  function activate(...args: readonly string[]) {
    const command = [...args, process.execPath, CLI, "--demo", "--web.systemd-socket"];
    const child = spawn(need("systemd-socket-activate"), command, { stdio: ["ignore", "ignore", "pipe"] });
    running.push(child);
    const said = { text: "" };
    child.stderr.on("data", (data: Buffer) => (said.text += data.toString()));
    return { child, said };
  }

  /** The first connection starts the exporter and waits for it. */
  const scrape = (to: Parameters<typeof exchange>[0]) => eventually(() => exchange(to, GET));

  it("starts the exporter with the first scrape, which is answered, on a port and on a unix socket", async () => {
    const port = await freePort();
    const path = join(folder, "exporter.sock");
    const { child, said } = activate("-l", `127.0.0.1:${port}`, "-l", path, "--fdname=web:local");
    for (const to of [{ host: "127.0.0.1", port }, { path }]) {
      const { statuses, text } = await scrape(to);
      expect(statuses).toEqual([200]);
      expect(text).toContain("\nollama_gpu_exporter_build_info{");
    }
    expect([...said.text.matchAll(/msg=listening address=(\S+)/g)].map(([, address]) => address)).toEqual([
      `127.0.0.1:${port}`,
      "systemd:local",
    ]);
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
  });

  const REFUSED = /^ollama-gpu-exporter: Cannot listen on systemd:3: .+; check the socket unit$/m;

  it("is told in one line when it passes a socket per connection (Accept=yes)", async () => {
    const port = await freePort();
    const { said } = activate("--accept", "-l", `127.0.0.1:${port}`);
    await eventually(async () => {
      await exchange({ host: "127.0.0.1", port }, GET).catch(() => undefined);
      expect(said.text).toMatch(REFUSED);
    });
  });

  it("is told in one line when it passes a datagram socket, and ends with 1", async () => {
    const port = await freePort();
    const { child, said } = activate("--datagram", "-l", `127.0.0.1:${port}`);
    const exited = once(child, "exit");
    const sender = createSocket("udp4");
    const sending = setInterval(() => {
      sender.send("x", port, "127.0.0.1");
    }, 50);
    expect(await exited).toEqual([1, null]);
    clearInterval(sending);
    sender.close();
    expect(said.text).toMatch(REFUSED);
  });
});

describe("the socket unit", () => {
  it("passes systemd-analyze verify beside its service, and names the service's port and option", () => {
    const unit = readFileSync(join(UNITS, "ollama-gpu-exporter.socket"), "utf8");
    expect(unit).toMatch(/^ListenStream=9434$/m);
    expect(unit).toContain("OLLAMA_GPU_EXPORTER_WEB_SYSTEMD_SOCKET=true");
    const root = mkdtempSync(join(tmpdir(), "systemd-"));
    const service = readFileSync(join(UNITS, "ollama-gpu-exporter.service"), "utf8");
    const program = join(root, /^ExecStart=(\S+)/m.exec(service)?.[1] ?? "");
    mkdirSync(dirname(program), { recursive: true });
    writeFileSync(program, "#!/bin/sh\n");
    chmodSync(program, 0o755);
    cpSync("/lib/systemd/system", join(root, "lib/systemd/system"), { recursive: true, verbatimSymlinks: true });
    for (const name of ["ollama-gpu-exporter.service", "ollama-gpu-exporter.socket"])
      cpSync(join(UNITS, name), join(root, "etc/systemd/system", name));
    const { status, stdout, stderr } = spawnSync(
      need("systemd-analyze"),
      ["verify", `--root=${root}`, "ollama-gpu-exporter.socket"],
      { encoding: "utf8" },
    );
    rmSync(root, { recursive: true });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
  });
});
