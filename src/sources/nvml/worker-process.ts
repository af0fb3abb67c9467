/** The parent's end of one worker process. */
import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import { messageOf } from "../../errors.ts";
import { decodeReply } from "./decode-reply.ts";
import type { ReadRequest, WorkerReply } from "./protocol.ts";

/** The worker ended before it answered. */
export interface WorkerDeath {
  readonly type: "died";
  /** `SIGSEGV`, or `exit code 1`. */
  readonly cause: string;
}

/** The system did not give it a process: no descriptors, no memory. */
export interface WorkerNotStarted {
  readonly type: "notStarted";
  readonly reason: string;
}

export type WorkerAnswer = WorkerReply | WorkerDeath | WorkerNotStarted;

/** What the source asks of a worker. */
export interface Worker {
  /** It ended, or was told to. */
  readonly dead: boolean;
  /** The reading under way, if any. */
  readonly busy: Promise<WorkerAnswer> | undefined;
  /** Resolves when the system has taken its process away: not so long as the kernel waits for the driver. */
  readonly ended: Promise<void>;
  /** Asks for a reading; one at a time. Resolves also when the worker dies, or was not started. */
  read(request: Omit<ReadRequest, "id" | "parentPid">): Promise<WorkerAnswer>;
  /** Ends it at once, also inside a hanging call (but for one that the kernel does not interrupt). */
  kill(): void;
  /** Lets it end by itself when it is idle, else kills it. */
  close(): void;
}

/** Sources run as TypeScript, the package as JavaScript: the worker lies beside this file with the same ending. */
const ENTRY = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);

/** Neither the process nor its channel keeps the exporter alive. */
export class WorkerProcess implements Worker {
  readonly ended: Promise<void>;
  readonly #child: ChildProcess | undefined;
  #end: WorkerDeath | WorkerNotStarted | undefined;
  #pending:
    | { readonly id: number; readonly settle: (answer: WorkerAnswer) => void; readonly promise: Promise<WorkerAnswer> }
    | undefined;
  #lastId = 0;

  /** @param env - the whole environment of the worker */
  constructor(env: Readonly<NodeJS.ProcessEnv>) {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.ended = promise;
    try {
      this.#child = fork(ENTRY, [], {
        execArgv: [],
        stdio: ["ignore", "ignore", "ignore", "ipc"],
        env: { ...env },
      });
    } catch (error) {
      this.#finish({ type: "notStarted", reason: messageOf(error) });
      resolve(undefined);
      return;
    }
    const { pid } = this.#child;
    this.#child.on("message", (message) => {
      const reply = decodeReply(message);
      if (reply && reply.id === this.#pending?.id) this.#settle(reply);
    });
    this.#child.on("error", ({ message }) => {
      if (pid === undefined) resolve(undefined);
      this.#finish(pid === undefined ? { type: "notStarted", reason: message } : { type: "died", cause: message });
    });
    this.#child.on("exit", (code, signal) => {
      resolve(undefined);
      this.#die(signal ?? `exit code ${code ?? "unknown"}`);
    });
    this.#child.unref();
    this.#child.channel?.unref();
  }

  /** Absent when it was not started. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get dead(): boolean {
    return this.#end !== undefined;
  }

  get busy(): Promise<WorkerAnswer> | undefined {
    return this.#pending?.promise;
  }

  read(request: Omit<ReadRequest, "id" | "parentPid">): Promise<WorkerAnswer> {
    if (this.#end) return Promise.resolve(this.#end);
    const id = ++this.#lastId;
    const { promise, resolve } = Promise.withResolvers<WorkerAnswer>();
    this.#pending = { id, settle: resolve, promise };
    this.#keepAlive(true);
    // Without a process there is no channel either: its error is on the way.
    if (this.#child?.pid !== undefined)
      this.#child.send({ ...request, id, parentPid: process.pid }, (error) => {
        if (error) this.#die(error.message);
      });
    return promise;
  }

  kill(): void {
    this.#child?.kill("SIGKILL");
    this.#die("SIGKILL");
  }

  close(): void {
    if (this.#pending) this.kill();
    else if (this.#child?.connected) this.#child.disconnect();
  }

  /** Somebody awaits a reading: a program with nothing else to do must not end before its answer. */
  #keepAlive(wanted: boolean): void {
    if (wanted) this.#child?.channel?.ref();
    else this.#child?.channel?.unref();
  }

  #settle(answer: WorkerAnswer): void {
    const pending = this.#pending;
    this.#pending = undefined;
    this.#keepAlive(false);
    pending?.settle(answer);
  }

  #die(cause: string): void {
    this.#finish({ type: "died", cause });
  }

  #finish(end: WorkerDeath | WorkerNotStarted): void {
    this.#end ??= end;
    this.#settle(this.#end);
  }
}
