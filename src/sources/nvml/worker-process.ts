/** The parent's end of one worker process. */
import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import type { ReadRequest, WorkerReply } from "./protocol.ts";

/** The worker ended before it answered. */
export interface WorkerDeath {
  readonly type: "died";
  /** `SIGSEGV`, or `exit code 1`. */
  readonly cause: string;
}

export type WorkerAnswer = WorkerReply | WorkerDeath;

/** Sources run as TypeScript, the package as JavaScript: the worker lies beside this file with the same ending. */
const ENTRY = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);

/** Neither the process nor its channel keeps the exporter alive. */
export class WorkerProcess {
  readonly #child: ChildProcess;
  #death: WorkerDeath | undefined;
  #pending:
    | { readonly id: number; readonly settle: (answer: WorkerAnswer) => void; readonly promise: Promise<WorkerAnswer> }
    | undefined;
  #lastId = 0;

  /** @param env - environment of the worker; undefined = this process's own */
  constructor(env?: NodeJS.ProcessEnv) {
    this.#child = fork(ENTRY, [], {
      execArgv: [],
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      ...(env && { env }),
    });
    this.#child.on("message", (reply: WorkerReply) => {
      if (reply.id === this.#pending?.id) this.#settle(reply);
    });
    this.#child.on("error", (error) => {
      this.#die(error.message);
    });
    this.#child.on("exit", (code, signal) => {
      this.#die(signal ?? `exit code ${code ?? "unknown"}`);
    });
    this.#child.unref();
    this.#child.channel?.unref();
  }

  get dead(): boolean {
    return this.#death !== undefined;
  }

  /** The reading under way, if any. */
  get busy(): Promise<WorkerAnswer> | undefined {
    return this.#pending?.promise;
  }

  /** Asks for a reading; one at a time. Resolves also when the worker dies. */
  read(request: Omit<ReadRequest, "id">): Promise<WorkerAnswer> {
    if (this.#death) return Promise.resolve(this.#death);
    const id = ++this.#lastId;
    const { promise, resolve } = Promise.withResolvers<WorkerAnswer>();
    this.#pending = { id, settle: resolve, promise };
    this.#keepAlive(true);
    this.#child.send({ ...request, id }, (error) => {
      if (error) this.#die(error.message);
    });
    return promise;
  }

  /** Ends it at once, also inside a hanging call (but for one that the kernel does not interrupt). */
  kill(): void {
    this.#child.kill("SIGKILL");
    this.#die("SIGKILL");
  }

  /** Lets it end by itself when it is idle, else kills it. */
  close(): void {
    if (this.#pending) this.kill();
    else if (this.#child.connected) this.#child.disconnect();
  }

  /** Somebody awaits a reading: a program with nothing else to do must not end before its answer. */
  #keepAlive(wanted: boolean): void {
    if (wanted) this.#child.channel?.ref();
    else this.#child.channel?.unref();
  }

  #settle(answer: WorkerAnswer): void {
    const pending = this.#pending;
    this.#pending = undefined;
    this.#keepAlive(false);
    pending?.settle(answer);
  }

  #die(cause: string): void {
    this.#death ??= { type: "died", cause };
    this.#settle(this.#death);
  }
}
