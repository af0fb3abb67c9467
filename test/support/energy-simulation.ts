import { Collector, type CollectorSources } from "../../src/collect/collector.ts";
import { silentLogger } from "../../src/logger.ts";
import type { LoadedModel, NvmlReading, OllamaReading, ProcessesReading, Snapshot } from "../../src/snapshot.ts";
import { NvmlSession } from "../../src/sources/nvml/session.ts";
import type { Source } from "../../src/sources/source.ts";
import { EnergyModel, type ModelledBoard } from "./energy-model.ts";
import { FakeClock } from "./fake-clock.ts";

const SERVER = "127.0.0.1:11434";
const SERVER_PID = 500;
const FOREIGN_PID = 900;

/** A model of the simulation, or the program that is not Ollama's. */
interface Program {
  readonly name: string;
  readonly uuids: readonly string[];
  /** Above the idle power at 1 % of the multiprocessors' time; what differs here, utilisation cannot tell. */
  readonly wattsPerPercent: number;
  pid: number | undefined;
  busy: boolean;
}

export const SIMULATED_BOARDS: readonly (ModelledBoard & { readonly name: string })[] = [
  { uuid: "GPU-0", name: "two models and a foreign program", idleWatts: 70, idleSwing: 0.05 },
  { uuid: "GPU-1", name: "a part of a model, and another", idleWatts: 50 },
  { uuid: "GPU-2", name: "no energy counter", idleWatts: 20, counter: false },
  { uuid: "GPU-3", name: "MIG mode", idleWatts: 60, mig: true },
];

export interface SimulationOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly energyIntervalSeconds: number;
  readonly readingIntervalSeconds: number;
}

/** What one simulated time came to, in joules. */
export interface SimulatedEnergy {
  readonly snapshot: Snapshot;
  readonly boards: readonly {
    readonly uuid: string;
    /** Of the counter, or of the true power where there is none. */
    readonly growthJoules: number;
    readonly ollamaJoules: number;
    readonly otherJoules: number;
    readonly idleJoules: number;
    readonly idleFloorWatts: number | undefined;
  }[];
  /** Attributed beside true, by model and board. */
  readonly models: readonly {
    readonly model: string;
    readonly uuid: string;
    readonly joules: number;
    readonly trueJoules: number;
  }[];
}

/**
 * Random load on modelled GPUs, through the real worker session, collector, attribution and ledger, in simulated time. On the
 * way the worker hangs, is replaced, the process table and the server fail, models come and go, and counters are reset.
 */
export class EnergySimulation {
  readonly #options: SimulationOptions;
  readonly #model = new EnergyModel(SIMULATED_BOARDS);
  readonly #clock = new FakeClock();
  readonly #random: () => number;
  readonly #programs: Program[] = [
    { name: "alpha:8b", uuids: ["GPU-0"], wattsPerPercent: 2, pid: undefined, busy: false },
    { name: "beta:70b", uuids: ["GPU-0", "GPU-1"], wattsPerPercent: 2, pid: undefined, busy: false },
    { name: "gamma:3b", uuids: ["GPU-1"], wattsPerPercent: 3, pid: undefined, busy: false },
    { name: "delta:1b", uuids: ["GPU-2"], wattsPerPercent: 1, pid: undefined, busy: false },
    { name: "mig:1b", uuids: ["GPU-3"], wattsPerPercent: 1, pid: undefined, busy: false },
    { name: "", uuids: ["GPU-0"], wattsPerPercent: 2, pid: FOREIGN_PID, busy: false },
  ];
  readonly #pidsByModel = new Map<string, number[]>();
  readonly #failing = { table: false, server: false };
  readonly #collector: Collector;
  /** Counters as readings show them, for their growth. */
  readonly #counters = new Map<string, { last: number; growth: number }>();
  #session: NvmlSession;
  #lastSampleAt = 0;
  #lastPid = 1_000;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#random = generator(options.seed);
    this.#session = this.#newSession();
    this.#collector = new Collector({
      sources: this.#sources(),
      showProcesses: "none",
      clock: this.#clock,
      logger: silentLogger,
    });
  }

  async run(): Promise<SimulatedEnergy> {
    const { seconds, energyIntervalSeconds: step, readingIntervalSeconds } = this.#options;
    let snapshot = await this.#read();
    // Nobody works in the first minute, so that the floor is known.
    for (let at = 0; at < seconds; at += step) {
      if (at >= 60) this.#changeLoad(step);
      const isHung = within(at, seconds * 0.3, 120);
      this.#failing.table = within(at, seconds * 0.6, 90);
      this.#failing.server = within(at, seconds * 0.8, 180);
      if (crosses(at, step, seconds * 0.5)) this.#session = this.#newSession(this.#lastSampleAt);
      // Between two readings, at a sample: what the counter loses is less than a step of it.
      if (crosses(at, step, seconds * 0.7)) {
        snapshot = await this.#read();
        this.#model.resetCounters();
        for (const counter of this.#counters.values()) counter.last = 0;
      }
      this.#model.advance(step);
      if (isHung) continue;
      if (crosses(at, step, Math.ceil((at + step) / readingIntervalSeconds) * readingIntervalSeconds))
        snapshot = await this.#read();
      else this.#session.sampleEnergy();
    }
    snapshot = await this.#read();
    return this.#result(snapshot);
  }

  async #read(): Promise<Snapshot> {
    await this.#clock.advance(this.#model.seconds * 1000 - this.#clock.monotonic());
    const snapshot = await this.#collector.start(new AbortController().signal).done;
    for (const { uuid, energyJoules } of snapshot.gpus) {
      if (energyJoules === undefined) continue;
      const known = this.#counters.get(uuid) ?? { last: energyJoules, growth: 0 };
      this.#counters.set(uuid, { last: energyJoules, growth: known.growth + energyJoules - known.last });
    }
    return snapshot;
  }

  #newSession(energySinceSeconds?: number): NvmlSession {
    return new NvmlSession(this.#model, {
      samplesEnergy: true,
      clock: this.#model.clock,
      ...(energySinceSeconds !== undefined && { energySinceSeconds }),
    });
  }

  /** Programs begin and stop to work, models are loaded and unloaded, each at its own chance. */
  #changeLoad(step: number): void {
    for (const program of this.#programs) {
      const isModel = program.name !== "";
      if (isModel && program.pid === undefined && this.#happens(step / 600)) this.#load(program);
      else if (isModel && program.pid !== undefined && this.#happens(step / 3_600)) this.#unload(program);
      if (program.pid === undefined) continue;
      if (!this.#happens(step / (program.busy ? 30 : 90))) continue;
      program.busy = !program.busy;
      for (const uuid of program.uuids) {
        const sm = program.busy ? 10 + Math.floor(this.#random() * 60) : 0;
        this.#model.work(program.pid, uuid, sm, sm * program.wattsPerPercent);
      }
    }
  }

  #load(program: Program): void {
    this.#lastPid += 1;
    program.pid = this.#lastPid;
    this.#pidsByModel.set(program.name, [...(this.#pidsByModel.get(program.name) ?? []), this.#lastPid]);
  }

  #unload(program: Program): void {
    if (program.pid !== undefined) this.#model.end(program.pid);
    program.pid = undefined;
    program.busy = false;
  }

  #happens(chance: number): boolean {
    return this.#random() < chance;
  }

  #sources(): CollectorSources {
    const failure = { status: "failed", reason: "simulated", timedOut: false } as const;
    const sourceOf = <T>(name: Source<T>["name"], target: string, read: () => T | undefined): Source<T> => ({
      name,
      target,
      read: () => {
        const value = read();
        return Promise.resolve(value === undefined ? failure : { status: "ok", value });
      },
      close: () => Promise.resolve(),
    });
    return {
      nvml: sourceOf("nvml", "local", () => this.#nvml()),
      ollama: [
        {
          identity: { server: SERVER, host: "127.0.0.1", port: 11434, local: true },
          source: sourceOf("ollama", SERVER, () => (this.#failing.server ? undefined : this.#ollama())),
        },
      ],
      processes: {
        ...sourceOf("processes", "local", () => (this.#failing.table ? undefined : this.#processes())),
        describe: () => Promise.resolve(new Map()),
      },
    };
  }

  #nvml(): NvmlReading {
    const { gpus, boardCount, callErrors, energySamples } = this.#session.read();
    this.#lastSampleAt = Math.max(this.#lastSampleAt, ...energySamples.map(({ atSeconds }) => atSeconds));
    return { gpus, boardCount, callErrors, energySamples };
  }

  #ollama(): OllamaReading {
    const models = this.#programs.filter(({ name }) => name !== "");
    const loaded = models.filter(({ pid }) => pid !== undefined);
    return {
      version: "0.33.2",
      loaded: loaded.map(({ name }): LoadedModel => ({ name, blobDigest: blobOf(name) })),
      installed: models.map(({ name }) => ({ name })),
      loadedCount: loaded.length,
      installedCount: models.length,
      dropped: 0,
    };
  }

  #processes(): ProcessesReading {
    const running = this.#programs.flatMap(({ name, pid }) =>
      name === "" || pid === undefined ? [] : [{ name, pid }],
    );
    return {
      runners: running.map(({ name, pid }) => ({
        pid,
        parentPid: SERVER_PID,
        kind: "blob",
        blobDigest: blobOf(name),
        orphaned: false,
        parentListenPorts: [11434],
        startTimeSeconds: pid,
      })),
      ollamaPids: new Set([SERVER_PID, ...running.map(({ pid }) => pid)]),
      blind: false,
    };
  }

  #result(snapshot: Snapshot): SimulatedEnergy {
    const { boards, work } = this.#model.truth;
    return {
      snapshot,
      boards: snapshot.energy.map(({ uuid, ollamaJoules, otherJoules, idleJoules, idleFloorWatts }) => ({
        uuid,
        growthJoules: this.#counters.get(uuid)?.growth ?? boards.get(uuid) ?? NaN,
        ollamaJoules,
        otherJoules,
        idleJoules,
        idleFloorWatts,
      })),
      models: snapshot.models.flatMap(({ name, energy = [] }) =>
        energy.map(({ gpu, joules }) => {
          const uuid = snapshot.gpus.find((candidate) => candidate.gpu === gpu)?.uuid ?? "";
          const pids = this.#pidsByModel.get(name) ?? [];
          const trueJoules = pids.reduce((sum, pid) => sum + (work.get(pid)?.get(uuid) ?? 0), 0);
          return { model: name, uuid, joules, trueJoules };
        }),
      ),
    };
  }
}

const blobOf = (name: string): string => Buffer.from(name).toString("hex").padEnd(64, "0");

const within = (at: number, from: number, length: number): boolean => at >= from && at < from + length;

const crosses = (at: number, step: number, moment: number): boolean => at < moment && at + step >= moment;

/** Numbers in 0..1 that are the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
