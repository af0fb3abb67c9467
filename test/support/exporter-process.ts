import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Default: the sources. */
  readonly cli?: string;
  /** A descriptor; default a pipe. */
  readonly stderr?: number;
}

export interface StartOptions extends Omit<RunOptions, "stderr"> {
  /** Default: a free port of 127.0.0.1. */
  readonly listen?: string;
}

/** The command line as a process, whatever the command. */
export function runCli(args: readonly string[], options: RunOptions = {}): ChildProcess {
  const { env = {}, cli = join(import.meta.dirname, "../../src/cli.ts"), stderr = "pipe" } = options;
  return spawn(process.execPath, [cli, ...args], {
    env: { ...process.env, NODE_OPTIONS: "", OLLAMA_HOST: "127.0.0.1:1", ...env },
    stdio: ["ignore", "pipe", stderr],
  });
}

/** The exporter as a real process on a free port. */
export class ExporterProcess {
  readonly child: ChildProcess;
  readonly stderr: string[] = [];
  stdout = "";
  #address = "";

  private constructor(child: ChildProcess) {
    this.child = child;
  }

  /** Starts `cli` (the sources by default) and waits until it listens; rejects with its stderr when it ends before. */
  static async start(
    args: readonly string[],
    { listen = "127.0.0.1:0", ...options }: StartOptions = {},
  ): Promise<ExporterProcess> {
    const child = runCli([`--web.listen-address=${listen}`, ...args], options);
    const { stdout, stderr } = child;
    if (!stdout || !stderr) throw new Error("the exporter has no pipes");
    const exporter = new ExporterProcess(child);
    stdout.on("data", (data: Buffer) => (exporter.stdout += data.toString()));
    const listening = new Promise<void>((resolve, reject) => {
      createInterface({ input: stderr }).on("line", (line) => {
        exporter.stderr.push(line);
        const address = /msg"?[=:]"?listening"?[ ,]"?address"?[=:]"?([^\s",]+)/.exec(line)?.[1];
        if (address === undefined) return;
        exporter.#address = address;
        resolve();
      });
      child.once("exit", () => {
        reject(new Error(`the exporter ended: ${exporter.stderr.join("\n")}`));
      });
    });
    await listening;
    return exporter;
  }

  url(path: string): string {
    return `http://${this.#address}${path}`;
  }

  get address(): string {
    return this.#address;
  }

  /** The text of /metrics. */
  async scrape(headers: Record<string, string> = {}): Promise<string> {
    return (await fetch(this.url("/metrics"), { headers })).text();
  }

  /** Asks it to end; returns its exit code and how long it took. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<{ code: number | null; ms: number }> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return { code: this.child.exitCode, ms: 0 };
    const startedAt = performance.now();
    const exited = once(this.child, "exit");
    this.child.kill(signal);
    await exited;
    return { code: this.child.exitCode, ms: performance.now() - startedAt };
  }
}

/** Samples of a family in a text exposition: label text -> value. */
export function samplesOf(text: string, family: string): Record<string, number> {
  const lines = text.split("\n").filter((line) => line.startsWith(`${family}{`) || line.startsWith(`${family} `));
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(family.length, at), Number(line.slice(at + 1))];
    }),
  );
}
