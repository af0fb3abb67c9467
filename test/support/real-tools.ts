/** What the suites against real components share: where the programs are, free ports, waiting for one to answer. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const TOOLS = join(process.env.TOOLS_DIR ?? join(homedir(), ".cache/ollama-gpu-exporter-tools"), "bin");

/** Path of an installed program. Throws, rather than skip, when it is missing. */
export function tool(name: string): string {
  const path = join(TOOLS, name);
  if (!existsSync(path)) throw new Error(`${name} is missing: run bash test/real/provision.sh ${name}`);
  return path;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (typeof address !== "object" || !address) throw new Error("no port");
  return address.port;
}

/** Asks until the check holds; throws after the time, with what was last wrong. */
export async function eventually<T>(check: () => Promise<T>, { withinMs = 20_000, what = "" } = {}): Promise<T> {
  const until = Date.now() + withinMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > until) throw new Error(`not within ${withinMs} ms: ${what}`, { cause: error });
      await delay(100);
    }
  }
}

/** Resolves when the URL answers 200. */
export async function ready(url: string): Promise<void> {
  await eventually(
    async () => {
      const { status } = await fetch(url);
      if (status !== 200) throw new Error(`status ${status}`);
    },
    { what: url },
  );
}

/** Programs that a suite has started; all are ended together. */
export class Programs {
  readonly #running: ChildProcess[] = [];

  start(name: string, args: readonly string[]): ChildProcess {
    const child = spawn(tool(name), args, { stdio: "ignore" });
    this.#running.push(child);
    return child;
  }

  async end(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.map((child) => this.end(child, "SIGKILL")));
  }
}
