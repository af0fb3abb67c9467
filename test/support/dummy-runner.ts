import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

/** A process with the command line of an Ollama runner. */
export interface DummyRunner {
  readonly pid: number;
}

/** A process with the command line of `ollama serve`, listening and able to be a runner's parent. */
export interface DummyServer {
  readonly pid: number;
  readonly port: number;
  /** Ends it as `kill -9` does; resolves when its runners have been given to another parent. */
  kill(): Promise<void>;
}

/** Starts real processes with made-up command lines, and ends all of them, by PID, in `close`. */
export class DummyProcesses {
  readonly #folder = mkdtempSync(join(tmpdir(), "dummy-runner-"));
  readonly #children: ChildProcess[] = [];
  readonly #ended = new Set<number>();
  readonly #parents = new Map<
    number,
    { readonly child: ChildProcess; readonly lines: LineReader; readonly runners: number[] }
  >();

  readonly #env: Readonly<Record<string, string>>;

  /** @throws when there is no C compiler: tests that need real processes cannot pass without one. */
  constructor({ lifetimeSeconds = 300 }: { readonly lifetimeSeconds?: number } = {}) {
    this.#env = { DUMMY_SECONDS: lifetimeSeconds.toFixed(0) };
    execFileSync("cc", ["-O1", "-o", join(this.#folder, "dummy"), join(import.meta.dirname, "dummy-runner.c")]);
  }

  /** `argv[0]` may be any path; the name of the executable, and so the comm, is its last part. */
  async startRunner({ argv, parent }: { argv: readonly string[]; parent?: DummyServer }): Promise<DummyRunner> {
    if (parent) return this.#forkRunner(argv, parent);
    const { child, lines } = this.#spawn(argv, {});
    await lines.next();
    return { pid: pidOf(child) };
  }

  async startServer(argv: readonly string[] = ["/usr/local/bin/ollama", "serve"]): Promise<DummyServer> {
    const { child, lines } = this.#spawn(argv, { DUMMY_SERVER: "1" });
    const port = Number(await lines.next());
    const pid = pidOf(child);
    const runners: number[] = [];
    this.#parents.set(pid, { child, lines, runners });
    const kill = async (): Promise<void> => {
      const exited = once(child, "exit");
      await this.kill({ pid });
      await exited;
      for (const runner of runners) await until(() => parentOf(runner) !== pid);
    };
    return { pid, port, kill };
  }

  /** Ends one process at once and resolves when it is gone from the process table. */
  async kill({ pid }: DummyRunner): Promise<void> {
    if (this.#ended.has(pid)) return;
    this.#ended.add(pid);
    process.kill(pid, "SIGKILL");
    await until(() => isGone(pid));
    // The number may soon be somebody else's: `close` must not end that process.
    for (const { runners } of this.#parents.values())
      if (runners.includes(pid)) runners.splice(runners.indexOf(pid), 1);
  }

  /** Ends whatever still runs. */
  async close(): Promise<void> {
    const runners = [...this.#parents.values()].flatMap((parent) => parent.runners);
    for (const pid of [...this.#children.map(pidOf), ...runners]) if (!isGone(pid)) await this.kill({ pid });
    rmSync(this.#folder, { recursive: true });
  }

  async #forkRunner(argv: readonly string[], parent: DummyServer): Promise<DummyRunner> {
    const facts = this.#parents.get(parent.pid);
    if (!facts) throw new Error(`No dummy server has PID ${parent.pid}`);
    facts.child.stdin?.write(`${[this.#program(argv), ...argv].join("\t")}\n`);
    const pid = Number(await facts.lines.next());
    facts.runners.push(pid);
    this.#ended.delete(pid); // PIDs come round again
    const commandLine = argv.map((argument) => `${argument}\0`).join("");
    await until(() => readFileSync(`/proc/${pid}/cmdline`, "utf8") === commandLine);
    return { pid };
  }

  #spawn(argv: readonly string[], env: Readonly<Record<string, string>>): { child: ChildProcess; lines: LineReader } {
    const stdio: ["pipe", "pipe", "inherit"] = ["pipe", "pipe", "inherit"];
    const child = spawn(this.#program(argv), argv.slice(1), {
      argv0: argv[0] ?? "",
      env: { ...this.#env, ...env },
      stdio,
    });
    this.#children.push(child);
    return { child, lines: new LineReader(createInterface(child.stdout)) };
  }

  /** A copy of the executable under the name that the command line claims. */
  #program(argv: readonly string[]): string {
    const path = join(this.#folder, "named", basename(argv[0] ?? "") || "dummy");
    mkdirSync(dirname(path), { recursive: true });
    if (!existsSync(path)) copyFileSync(join(this.#folder, "dummy"), path);
    return path;
  }
}

class LineReader {
  readonly #lines: AsyncIterator<string>;

  constructor(lines: Interface) {
    this.#lines = lines[Symbol.asyncIterator]();
  }

  async next(): Promise<string> {
    const line = await this.#lines.next();
    if (line.done) throw new Error("The dummy process ended before it answered");
    return line.value;
  }
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error("The dummy process could not be started");
  return child.pid;
}

function statOf(pid: number): readonly string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function parentOf(pid: number): number {
  return Number(statOf(pid)[1]);
}

function isGone(pid: number): boolean {
  try {
    return statOf(pid)[0] === "Z";
  } catch {
    return true;
  }
}

/** The kernel tells nobody when it has moved a process to another parent or replaced its program. */
async function until(condition: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt += 1) {
    if (condition()) return;
    await delay(10);
  }
  throw new Error("The process table did not change within 5 s");
}
