/** The driver as a source: asks the worker process under a deadline, and replaces it when it hangs or dies. */
import { existsSync } from "node:fs";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../logger.ts";
import type { EnergySample, Gpu, NvmlCallError, NvmlReading } from "../../snapshot.ts";
import { failed, type Source, type SourceResult } from "../source.ts";
import { RC } from "./abi.ts";
import { explain, remedyFor } from "./faults.ts";
import type { WorkerReading } from "./session.ts";
import { type Worker, type WorkerAnswer, WorkerProcess } from "./worker-process.ts";
import { XidCounts } from "./xid-counts.ts";

export interface NvmlSourceOptions {
  /** File name or path of libnvidia-ml. */
  readonly library: string;
  /** auto = absent while the library does not load; nvml = failed then. */
  readonly mode: "auto" | "nvml";
  /** For one whole reading. */
  readonly timeoutMs: number;
  /** Indices, MIG labels or UUIDs; default all. */
  readonly include?: readonly string[];
  /** Between two energy samples of the worker; 0 = none. */
  readonly energyIntervalMs: number;
  readonly retry: { readonly attempts: number; readonly delayMs: number };
  readonly clock: Clock;
  readonly logger: Logger;
  /** All that the worker process gets of an environment. */
  readonly workerEnvironment: Readonly<NodeJS.ProcessEnv>;
  /** Default: a process of its own. */
  readonly startWorker?: () => Worker;
}

/** A library that does not load is looked for again after this time, so that it is found within a minute. */
const LIBRARY_RETRY_MS = 55_000;
/** Killing a client inside the driver can wedge a GPU: never in a loop. */
const BETWEEN_KILLS_MS = 30_000;
const LONGEST_BACKOFF_MS = 30_000;

type Result = SourceResult<NvmlReading>;
interface Attempt {
  readonly result: Result;
  readonly retry: boolean;
}

export class NvmlSource implements Source<NvmlReading> {
  readonly name = "nvml";
  readonly target = "local";
  readonly #options: NvmlSourceOptions;
  readonly #xids = new XidCounts();
  readonly #warned = new Set<string>();
  #worker: Worker | undefined;
  /** A killed worker that the system has not taken away yet. */
  #ending: Promise<void> | undefined;
  #callErrors: NvmlCallError[] = [];
  #energySamples: EnergySample[] = [];
  #lastEnergyAt = 0;
  #missing: { readonly reason: string; readonly at: number } | undefined;
  #lastKillAt = -Infinity;
  #deaths = 0;
  #startNotBefore = -Infinity;
  #replaces = false;
  #restarts = 0;
  #closed = false;

  constructor(options: NvmlSourceOptions) {
    this.#options = options;
  }

  /** Worker processes that were killed or died and have been replaced. */
  get restarts(): number {
    return this.#restarts;
  }

  async read(signal: AbortSignal): Promise<Result> {
    const { clock, timeoutMs, retry } = this.#options;
    const until = clock.monotonic() + timeoutMs;
    for (let attempt = 1; ; attempt++) {
      const { result, retry: worthwhile } = await this.#attempt(until, signal);
      const left = until - clock.monotonic();
      if (!worthwhile || attempt >= retry.attempts || left <= retry.delayMs || signal.aborted) return result;
      await clock.sleep(retry.delayMs, signal).catch(() => undefined);
    }
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#worker?.close();
    return Promise.resolve();
  }

  async #attempt(until: number, signal: AbortSignal): Promise<Attempt> {
    const { library, include, energyIntervalMs, clock } = this.#options;
    if (this.#closed) return final(failed("The GPU source is closed"));
    if (this.#missing && clock.monotonic() - this.#missing.at < LIBRARY_RETRY_MS) return final(this.#missingResult());
    // The kernel may wait for a hung driver with a killed process: more of them would fill the memory.
    if (this.#ending && (await this.#within(until, this.#ending, signal)) === "late") return final(stuck(signal));
    // A worker that still hangs in an earlier reading is asked for nothing more until it has come back.
    const busy = this.#worker?.busy;
    if (busy && (await this.#within(until, busy, signal)) === "late") return final(this.#late(signal));
    const worker = this.#workerToAsk();
    if (!worker) return final(failed(this.#backoffReason()));
    const reading = worker.read({
      library,
      energyIntervalMs,
      ...(include && { include }),
      ...(this.#lastEnergyAt > 0 && { energySinceSeconds: this.#lastEnergyAt }),
    });
    const answer = await this.#within(until, reading, signal);
    if (answer !== "late") return this.#attemptOf(answer);
    void reading.then((late) => {
      if (late.type === "reading") this.#absorb(late.reading); // its data are old, its events are not lost
    });
    return final(this.#late(signal));
  }

  async #within<T>(until: number, answer: Promise<T>, signal: AbortSignal): Promise<T | "late"> {
    const { clock } = this.#options;
    const over = new AbortController();
    const late = clock.sleep(Math.max(0, until - clock.monotonic()), AbortSignal.any([signal, over.signal])).then(
      () => "late" as const,
      () => "late" as const,
    );
    try {
      return await Promise.race([answer, late]);
    } finally {
      over.abort();
    }
  }

  /** The worker, started if need be; undefined while a new one must wait. */
  #workerToAsk(): Worker | undefined {
    if (this.#worker && !this.#worker.dead) return this.#worker;
    if (this.#options.clock.monotonic() < this.#startNotBefore) return undefined;
    if (this.#replaces || this.#worker) this.#restarts += 1; // it ended in a reading, or between two
    this.#replaces = false;
    const { startWorker, workerEnvironment } = this.#options;
    this.#worker = startWorker ? startWorker() : new WorkerProcess(workerEnvironment);
    return this.#worker;
  }

  #attemptOf(answer: WorkerAnswer): Attempt {
    switch (answer.type) {
      case "reading":
        this.#deaths = 0;
        this.#missing = undefined;
        return final({ status: "ok", value: this.#merge(answer.reading) });
      case "unloadable":
        this.#worker = undefined;
        this.#noteMissing(answer.reason);
        return final(this.#missingResult());
      case "notStarted":
        this.#worker = undefined;
        return final(failed(`The driver worker cannot be started: ${answer.reason}`));
      case "died":
        this.#noteDeath();
        return final(
          failed(`The driver worker ended in the middle of a reading: ${answer.cause}; a new one is started`),
        );
      case "fault":
        this.#missing = undefined;
        if (answer.code === RC.libRmVersionMismatch) this.#noteDeath();
        return {
          result: failed(`Cannot read the GPUs: ${explain(answer.function, answer.code)}`),
          retry: answer.code !== RC.libRmVersionMismatch,
        };
      case "error":
        return final(failed(`Reading the GPUs failed unexpectedly: ${answer.reason}`));
    }
  }

  #late(signal: AbortSignal): Result {
    if (signal.aborted) return failed("The reading was cancelled");
    const { clock, timeoutMs, logger } = this.#options;
    const reason = `The driver did not answer within ${timeoutMs / 1000} s (--gpu.timeout)`;
    if (this.#worker && clock.monotonic() - this.#lastKillAt >= BETWEEN_KILLS_MS) {
      logger.warn("driver worker killed", { reason });
      this.#lastKillAt = clock.monotonic();
      this.#worker.kill();
      this.#ending = this.#worker.ended.then(() => {
        this.#ending = undefined;
      });
      this.#worker = undefined;
      this.#replaces = true;
    }
    return failed(reason, true);
  }

  /** The first death costs nothing but its reading; a series of them is waited out. */
  #noteDeath(): void {
    this.#worker = undefined;
    this.#replaces = true;
    this.#deaths += 1;
    const wait = this.#deaths === 1 ? 0 : Math.min(LONGEST_BACKOFF_MS, 1000 * 2 ** (this.#deaths - 2));
    this.#startNotBefore = this.#options.clock.monotonic() + wait;
  }

  #backoffReason(): string {
    const seconds = Math.ceil((this.#startNotBefore - this.#options.clock.monotonic()) / 1000);
    return `The driver worker died ${this.#deaths} times in a row; the next one is started in ${seconds} s`;
  }

  #noteMissing(linkerReason: string): void {
    const { library, clock, logger, mode } = this.#options;
    // The linker says "No such file" of a library for another processor too.
    const exists = library.includes("/") && existsSync(library);
    const reason = exists
      ? `${library} exists but does not load (no library, or one for another processor): ${linkerReason}`
      : `${library} does not load; install the NVIDIA driver or set --gpu.nvml-library: ${linkerReason}`;
    if (!this.#missing && mode === "auto") {
      logger[exists ? "warn" : "info"]("no NVIDIA driver library: GPU collector off, looked for again every minute", {
        reason,
      });
    }
    this.#missing = { reason, at: clock.monotonic() };
  }

  #missingResult(): Result {
    const reason = this.#missing?.reason ?? "";
    return this.#options.mode === "auto" ? { status: "absent", reason } : failed(reason);
  }

  #absorb({ callErrors, xidEvents, energySamples }: WorkerReading): void {
    this.#energySamples.push(...energySamples);
    this.#lastEnergyAt = energySamples.reduce((last, { atSeconds }) => Math.max(last, atSeconds), this.#lastEnergyAt);
    this.#xids.add(xidEvents, this.#options.clock.now() / 1000);
    this.#warnOnce(callErrors);
    this.#callErrors.push(...callErrors);
  }

  #merge(reading: WorkerReading): NvmlReading {
    this.#absorb(reading);
    const { gpus, boardCount, xidUuids } = reading;
    const supported = new Set(xidUuids);
    const [callErrors, energySamples] = [this.#callErrors, this.#energySamples];
    this.#callErrors = [];
    this.#energySamples = [];
    return {
      gpus: gpus.map((gpu): Gpu => (supported.has(gpu.uuid) && gpu.up ? { ...gpu, ...this.#xids.of(gpu.uuid) } : gpu)),
      boardCount,
      callErrors,
      energySamples,
    };
  }

  #warnOnce(callErrors: readonly NvmlCallError[]): void {
    for (const { function: name, code } of callErrors) {
      const key = `${name} ${code}`;
      if (this.#warned.has(key)) continue;
      this.#warned.add(key);
      this.#options.logger.warn("driver call failed", { function: name, code, remedy: remedyFor(code) });
    }
  }
}

const final = (result: Result): Attempt => ({ result, retry: false });

function stuck(signal: AbortSignal): Result {
  if (signal.aborted) return failed("The reading was cancelled");
  return failed("The driver holds a killed worker in the kernel; no other one is started before it has ended", true);
}
