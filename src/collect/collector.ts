/** One collection: every source at once, each under its own deadline; joined into an immutable snapshot. Never throws. */
import { attribute } from "../attribution.ts";
import type { ProcessSelection } from "../attribution/owners.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../logger.ts";
import type {
  CollectorHealth,
  Model,
  NvmlCallError,
  NvmlReading,
  OllamaReading,
  ProcessDetail,
  ProcessesReading,
  Runner,
  RunnerEndpoints,
  ServerIdentity,
  Snapshot,
} from "../snapshot.ts";
import { messageOf } from "../errors.ts";
import { failed, type Source, type SourceResult } from "../sources/source.ts";
import { EnergyLedger, type ProcessOwners } from "./energy.ts";
import { advance, emptyHistory, type History, transitionsOf } from "./history.ts";

/** Reads the process table, and afterwards tells more about the PIDs that the driver named. */
export interface ProcessTable extends Source<ProcessesReading> {
  describe(pids: readonly number[]): Promise<ReadonlyMap<number, ProcessDetail>>;
}

/** What a collector reads from. A source that is switched off is left out. */
export interface CollectorSources {
  readonly nvml?: Source<NvmlReading> & { readonly restarts?: number };
  readonly ollama: readonly { readonly identity: ServerIdentity; readonly source: Source<OllamaReading> }[];
  readonly processes: ProcessTable;
  readonly runnerEndpoints?: RunnerEndpointReader;
}

/** Asks runners over their own ports; never fails. */
export interface RunnerEndpointReader {
  read(runners: readonly Runner[]): Promise<ReadonlyMap<number, RunnerEndpoints>>;
  close(): Promise<void>;
}

export interface CollectorOptions {
  readonly sources: CollectorSources;
  readonly showProcesses: ProcessSelection;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A collection under way. */
export interface Collection {
  /** The snapshot when every source has settled. */
  readonly done: Promise<Snapshot>;
  /**
   * The snapshot of what has settled by now; the rest counts as failed in it. Scrapes whose deadlines come close to one another
   * share it, and so its rendered body: while a driver hangs, every scrape ends here.
   */
  partial(): Promise<Snapshot>;
}

/** How long a partial snapshot is good for, unless another source settles before. */
const PARTIAL_MS = 1_000;

interface Run<T> {
  readonly source: Source<T>;
  readonly startedAt: number;
  result?: SourceResult<T>;
  durationSeconds?: number;
}

interface Health {
  lastSuccessTimestampSeconds?: number;
  error?: string;
  readonly collections: { ok: number; failed: number; timeout: number };
}

/** Runs collections and keeps what outlives one: health counters, history, driver error counts. */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #startedAtMs: number;
  readonly #health = new Map<Source<unknown>, Health>();
  readonly #callErrors = new Map<string, NvmlCallError>();
  readonly #joinedServers = new Set<string>();
  readonly #dropped = { models: 0, processes: 0 };
  readonly #energy = new EnergyLedger();
  #history: History = emptyHistory;
  #droppingProcesses = false;

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#startedAtMs = options.clock.now();
  }

  /** Starts reading every source. The caller must not start another one before `done` has settled. */
  start(signal: AbortSignal): Collection {
    const { nvml, ollama, processes } = this.#options.sources;
    const runs: Runs = {
      nvml: nvml && this.#run(nvml, signal),
      ollama: ollama.map(({ identity, source }) => ({ identity, run: this.#run(source, signal) })),
      processes: this.#run(processes, signal),
    };
    runs.endpoints = this.#readEndpoints(runs);
    const others = [runs.processes, ...runs.ollama.map(({ run }) => run)];
    const settled = [...(runs.nvml ? [runs.nvml] : []), ...others].map((entry) => entry.settled);
    return {
      done: Promise.all([...settled, runs.endpoints]).then(() => this.#assemble(runs, "commit")),
      partial: () => this.#partial(runs),
    };
  }

  #partial(runs: Runs): Promise<Snapshot> {
    const now = this.#options.clock.monotonic();
    const settled = allRuns(runs).filter(({ result }) => result).length + (runs.endpointsByPid ? 1 : 0);
    const { partial } = runs;
    if (partial?.settled === settled && now - partial.at < PARTIAL_MS) return partial.snapshot;
    const snapshot = this.#assemble(runs, "peek");
    runs.partial = { snapshot, settled, at: now };
    return snapshot;
  }

  async close(): Promise<void> {
    const { nvml, ollama, processes, runnerEndpoints } = this.#options.sources;
    const sources = [nvml, processes, runnerEndpoints, ...ollama.map(({ source }) => source)];
    await Promise.all(sources.flatMap((source) => source?.close() ?? []));
  }

  /** Follows the process table, beside everything else: a runner that hangs must not cost a scrape anything else. */
  async #readEndpoints(runs: Runs): Promise<void> {
    await runs.processes.settled;
    const runners = valueOf(runs.processes)?.runners ?? [];
    runs.endpointsByPid = await this.#options.sources.runnerEndpoints?.read(runners).catch((error: unknown) => {
      this.#options.logger.error("asking runners failed unexpectedly", { error: messageOf(error) });
      return undefined;
    });
  }

  #run<T>(source: Source<T>, signal: AbortSignal): Run<T> & { readonly settled: Promise<void> } {
    const run: Run<T> = { source, startedAt: this.#options.clock.monotonic() };
    const settled = source
      .read(signal)
      .catch((error: unknown) => failed(`Reading ${source.name} failed unexpectedly: ${messageOf(error)}`))
      .then((result) => {
        run.result = result;
        run.durationSeconds = this.#secondsSince(run.startedAt);
        this.#record(source, result);
      });
    return Object.assign(run, { settled });
  }

  #record(source: Source<unknown>, result: SourceResult<unknown>): void {
    if (result.status === "absent") return;
    const health = this.#healthOf(source);
    const error = problemOf(result);
    health.collections[result.status === "ok" ? (error ? "failed" : "ok") : result.timedOut ? "timeout" : "failed"] +=
      1;
    if (!error) health.lastSuccessTimestampSeconds = this.#options.clock.now() / 1000;
    this.#logChange(source, health.error, error);
    if (error === undefined) delete health.error;
    else health.error = error;
  }

  #logChange(source: Source<unknown>, before: string | undefined, now: string | undefined): void {
    const fields = { collector: source.name, target: source.target };
    if (now !== undefined && before === undefined)
      this.#options.logger.warn("collector failed", { ...fields, error: now });
    if (now === undefined && before !== undefined) this.#options.logger.info("collector recovered", fields);
  }

  async #assemble(runs: Runs, mode: "commit" | "peek"): Promise<Snapshot> {
    const { sources, showProcesses, clock } = this.#options;
    const nvml = valueOf(runs.nvml);
    const servers = runs.ollama.map(({ identity, run }) => {
      const reading = valueOf(run);
      return { identity, ...(reading && { reading }) };
    });
    const awaited = sources.runnerEndpoints ? ("awaited" as const) : undefined;
    const processes = withEndpoints(valueOf(runs.processes), runs.endpointsByPid ?? awaited);
    const details = await this.#describe(nvml, processes);
    const joined = attribute({
      ...(nvml && { nvml }),
      ...(processes && { processes }),
      servers,
      details,
      show: showProcesses,
      everJoined: this.#joinedServers,
    });
    const history = advance(this.#history, joined.servers, joined.models);
    if (mode === "commit") {
      if (nvml) this.#energy.add(nvml.energySamples ?? [], processes && ownersOf(joined.models, processes, details));
      this.#history = history;
      this.#accumulate(nvml?.callErrors ?? [], servers, joined);
    }
    return {
      startedAtMs: this.#startedAtMs,
      takenAtMs: clock.now(),
      gpus: nvml?.gpus ?? [],
      owners: joined.owners,
      energy: (nvml?.gpus ?? []).flatMap(({ gpu, uuid, up }) => {
        const energy = up ? this.#energy.ofBoard(uuid) : undefined;
        return energy ? [{ gpu, uuid, ...energy }] : [];
      }),
      processes: joined.processes,
      servers: joined.servers,
      models: nvml ? joined.models.map((model) => this.#withEnergy(model, nvml)) : joined.models,
      transitions: transitionsOf(history, joined.servers),
      ...(joined.orphanedRunners !== undefined && { orphanedRunners: joined.orphanedRunners }),
      collectors: allRuns(runs).flatMap((run) => this.#healthRow(run)),
      nvmlRestarts: sources.nvml?.restarts ?? 0,
      nvmlCallErrors: [...this.#callErrors.values()],
      dropped: { ...this.#dropped },
    };
  }

  #withEnergy(model: Model, { gpus }: NvmlReading): Model {
    const key = modelKey(model);
    const energy = gpus.flatMap(({ gpu, uuid, up }) => {
      const runsThere = model.runners !== undefined && (model.vram?.some((entry) => entry.uuid === uuid) ?? false);
      const used = up ? this.#energy.ofModel(key, uuid, runsThere) : undefined;
      return used ? [{ gpu, ...used }] : [];
    });
    return energy.length === 0 ? model : { ...model, energy };
  }

  /** Of those processes alone that are shown. */
  async #describe(
    nvml: NvmlReading | undefined,
    table: ProcessesReading | undefined,
  ): Promise<ReadonlyMap<number, ProcessDetail>> {
    const { showProcesses: show } = this.#options;
    const listed = nvml?.gpus.flatMap(({ processes = [] }) => processes.map(({ pid }) => pid)) ?? [];
    const isShown = (pid: number): boolean =>
      show === "all" || (show === "ollama" && (table?.ollamaPids.has(pid) ?? false));
    const pids = new Set(listed.filter(isShown));
    return pids.size === 0 ? new Map() : this.#options.sources.processes.describe([...pids]);
  }

  #accumulate(
    callErrors: readonly NvmlCallError[],
    servers: readonly { readonly reading?: OllamaReading }[],
    joined: ReturnType<typeof attribute>,
  ): void {
    for (const error of callErrors) {
      const key = `${error.function} ${error.code}`;
      this.#callErrors.set(key, { ...error, count: error.count + (this.#callErrors.get(key)?.count ?? 0) });
    }
    for (const { server, onThisHost } of joined.servers) if (onThisHost) this.#joinedServers.add(server);
    for (const { reading } of servers) this.#dropped.models += reading?.dropped ?? 0;
    this.#dropped.processes += joined.droppedProcesses;
    if (joined.droppedProcesses > 0 && !this.#droppingProcesses) {
      this.#options.logger.warn("more GPU processes than series: the rest is left out", {
        dropped: joined.droppedProcesses,
      });
    }
    this.#droppingProcesses = joined.droppedProcesses > 0;
  }

  #healthRow(run: Run<unknown>): readonly CollectorHealth[] {
    if (run.result?.status === "absent") return [];
    const { collections, lastSuccessTimestampSeconds } = this.#healthOf(run.source);
    const error = run.result ? problemOf(run.result) : "not finished within the deadline of this scrape";
    return [
      {
        collector: run.source.name,
        target: run.source.target,
        success: error === undefined,
        durationSeconds: run.durationSeconds ?? this.#secondsSince(run.startedAt),
        ...(lastSuccessTimestampSeconds !== undefined && { lastSuccessTimestampSeconds }),
        ...(error !== undefined && { error }),
        collections: { ...collections },
      },
    ];
  }

  #healthOf(source: Source<unknown>): Health {
    const known = this.#health.get(source) ?? { collections: { ok: 0, failed: 0, timeout: 0 } };
    this.#health.set(source, known);
    return known;
  }

  #secondsSince(startedAt: number): number {
    return (this.#options.clock.monotonic() - startedAt) / 1000;
  }
}

const modelKey = ({ server, name }: Model): string => `${server}\n${name}`;

function ownersOf(
  models: readonly Model[],
  { ollamaPids, runners }: ProcessesReading,
  details: ReadonlyMap<number, ProcessDetail>,
): ProcessOwners {
  const pairs = models.flatMap((model) => (model.runners ?? []).map(({ pid }) => [pid, modelKey(model)] as const));
  const starts = runners.flatMap(({ pid, startTicks: start }) => (start === undefined ? [] : [[pid, start] as const]));
  const others = [...details].filter(([pid, { process }]) => process !== "" && !ollamaPids.has(pid));
  return { ollamaPids, models: new Map(pairs), starts: new Map(starts), others: new Set(others.map(([pid]) => pid)) };
}

interface Runs {
  readonly nvml: (Run<NvmlReading> & { readonly settled: Promise<void> }) | undefined;
  readonly ollama: readonly {
    readonly identity: ServerIdentity;
    readonly run: Run<OllamaReading> & { readonly settled: Promise<void> };
  }[];
  readonly processes: Run<ProcessesReading> & { readonly settled: Promise<void> };
  endpoints?: Promise<void>;
  endpointsByPid?: ReadonlyMap<number, RunnerEndpoints> | undefined;
  partial?: { readonly snapshot: Promise<Snapshot>; readonly settled: number; readonly at: number };
}

/** Undefined `byPid`: not asked. An answer that is still awaited is unknown, which is another thing than not asked. */
function withEndpoints(
  processes: ProcessesReading | undefined,
  byPid: ReadonlyMap<number, RunnerEndpoints> | "awaited" | undefined,
): ProcessesReading | undefined {
  if (!processes || !byPid) return processes;
  const runners = processes.runners.map((runner) => {
    const endpoints = byPid === "awaited" ? (runner.hasEndpoints ? {} : undefined) : byPid.get(runner.pid);
    return endpoints ? { ...runner, endpoints } : runner;
  });
  return { ...processes, runners };
}

function allRuns(runs: Runs): readonly Run<unknown>[] {
  return [...(runs.nvml ? [runs.nvml] : []), ...runs.ollama.map(({ run }) => run), runs.processes];
}

function valueOf<T>(run: Run<T> | undefined): T | undefined {
  return run?.result?.status === "ok" ? run.result.value : undefined;
}

function problemOf(result: SourceResult<unknown>): string | undefined {
  if (result.status === "failed") return result.reason;
  return result.status === "ok" ? result.degraded : undefined;
}
