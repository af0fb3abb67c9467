/**
 * Who used the energy: integrates the boards' samples and shares what is above the idle floor by SM utilisation. Lives in the
 * parent process, so that a replaced worker loses nothing. Joules are only ever divided, never made: the parts sum to the whole.
 */
import type { EnergySample, GpuEnergy, ModelEnergy } from "../snapshot.ts";

/** What is known of the processes of a reading. */
export interface ProcessOwners {
  readonly ollamaPids: ReadonlySet<number>;
  /** `server` and `model` of a runner by PID. */
  readonly models: ReadonlyMap<number, string>;
  /** When each runner started, by PID, in ticks since the machine's start: with it the PID means one process for ever. */
  readonly starts: ReadonlyMap<number, number>;
  /** Processes of others that live now: what one of these PIDs did is theirs, though it was a runner's before. */
  readonly others: ReadonlySet<number>;
}

/** Shortest idle time whose power is believed: counters move in steps of up to a tenth of a second. */
const SHORTEST_IDLE_SECONDS = 0.5;
/** The floor is learnt anew over this time: rooms get warmer, clocks are set. */
const FLOOR_WINDOW_SECONDS = 3600;

interface Board {
  last: EnergySample;
  source: GpuEnergy["source"];
  ollamaJoules: number;
  otherJoules: number;
  idleJoules: number;
  idle: { joules: number; seconds: number };
  readonly floor: IdleFloor;
  /** Process utilisation is supported. */
  shares: boolean;
}

export class EnergyLedger {
  readonly #boards = new Map<string, Board>();
  /** By model key, then board. */
  readonly #models = new Map<string, Map<string, { joules: number; recent: number }>>();
  readonly #recentSeconds = new Map<string, number>();
  #previous: ProcessOwners = { ollamaPids: new Set(), models: new Map(), starts: new Map(), others: new Set() };

  /** Takes in the samples between the last reading and this one, whose processes are given; undefined when they could not be read. */
  add(samples: readonly EnergySample[], found: ProcessOwners | undefined): void {
    const owners = found ? withKnownModels(found, this.#previous) : this.#previous;
    this.#recentSeconds.clear();
    for (const boards of this.#models.values()) for (const entry of boards.values()) entry.recent = 0;
    for (const sample of samples) this.#integrate(sample, owners);
    this.#previous = owners;
  }

  /** Of the board, once it has been sampled. */
  ofBoard(uuid: string): Omit<GpuEnergy, "gpu" | "uuid"> | undefined {
    const board = this.#boards.get(uuid);
    if (!board) return undefined;
    const { ollamaJoules, otherJoules, idleJoules, source } = board;
    const idleFloorWatts = board.floor.watts;
    return { ollamaJoules, otherJoules, idleJoules, source, ...(idleFloorWatts !== undefined && { idleFloorWatts }) };
  }

  /** Of a model on one board; zero for one that runs there, undefined where work is not known or there never was any. */
  ofModel(key: string, uuid: string, runsThere: boolean): Omit<ModelEnergy, "gpu"> | undefined {
    const entry = this.#models.get(key)?.get(uuid);
    const isShared = this.#boards.get(uuid)?.shares ?? false;
    if (!entry && !(runsThere && isShared)) return undefined;
    const seconds = this.#recentSeconds.get(uuid) ?? 0;
    const { joules, recent } = entry ?? { joules: 0, recent: 0 };
    return { joules, ...(runsThere && isShared && seconds > 0 && { watts: recent / seconds }) };
  }

  #integrate(sample: EnergySample, owners: ProcessOwners): void {
    const source = sample.energyJoules === undefined ? "power" : "counter";
    const board = this.#boards.get(sample.uuid);
    if (!board) {
      this.#boards.set(sample.uuid, newBoard(sample, source));
      return;
    }
    const { last } = board;
    const seconds = sample.atSeconds - last.atSeconds;
    if (seconds <= 0) return;
    const joules = joulesBetween(last, sample, seconds);
    board.last = sample;
    board.source = source;
    board.shares = sample.busy !== undefined;
    if (joules === undefined) return;
    this.#recentSeconds.set(sample.uuid, (this.#recentSeconds.get(sample.uuid) ?? 0) + seconds);
    this.#share(board, { sample, joules, seconds }, owners);
  }

  #share(board: Board, interval: Interval, owners: ProcessOwners): void {
    const { sample, joules, seconds } = interval;
    if (sample.busy === undefined) {
      board.otherJoules += joules; // nobody knows whose work it was
      return;
    }
    const total = sample.busy.reduce((sum, [, weight]) => sum + weight, 0);
    if (total <= 0) {
      board.idleJoules += joules;
      learn(board, interval);
      return;
    }
    board.idle = { joules: 0, seconds: 0 };
    const idle = Math.min(joules, (board.floor.watts ?? 0) * seconds);
    board.idleJoules += idle;
    for (const [pid, weight] of sample.busy) this.#give(board, pid, ((joules - idle) * weight) / total, owners);
  }

  /** A process that ended since is still known from the reading before. */
  #give(board: Board, pid: number, joules: number, owners: ProcessOwners): void {
    const isOllamas = owners.ollamaPids.has(pid) || (this.#previous.ollamaPids.has(pid) && !owners.others.has(pid));
    if (!isOllamas) {
      board.otherJoules += joules;
      return;
    }
    board.ollamaJoules += joules;
    const key = owners.models.get(pid) ?? this.#previous.models.get(pid);
    if (key === undefined) return;
    const boards = this.#models.get(key) ?? new Map<string, { joules: number; recent: number }>();
    const { uuid } = board.last;
    const entry = boards.get(uuid) ?? { joules: 0, recent: 0 };
    boards.set(uuid, { joules: entry.joules + joules, recent: entry.recent + joules });
    this.#models.set(key, boards);
  }
}

/** A runner runs one model as long as it lives: what is known of it stays known while its server does not answer. */
function withKnownModels(found: ProcessOwners, before: ProcessOwners): ProcessOwners {
  const kept = [...before.models].filter(
    ([pid]) => found.starts.has(pid) && found.starts.get(pid) === before.starts.get(pid),
  );
  return { ...found, models: new Map([...kept, ...found.models]) };
}

interface Interval {
  readonly sample: EnergySample;
  readonly joules: number;
  readonly seconds: number;
}

function newBoard(last: EnergySample, source: Board["source"]): Board {
  return {
    last,
    source,
    ollamaJoules: 0,
    otherJoules: 0,
    idleJoules: 0,
    idle: { joules: 0, seconds: 0 },
    floor: new IdleFloor(),
    shares: last.busy !== undefined,
  };
}

/** A counter that stepped back was reset with the driver: what it shows has been used since. Power is integrated by trapezoids. */
function joulesBetween(last: EnergySample, now: EnergySample, seconds: number): number | undefined {
  if (last.energyJoules !== undefined && now.energyJoules !== undefined) {
    const growth = now.energyJoules - last.energyJoules;
    return growth < 0 ? now.energyJoules : growth;
  }
  if (last.powerWatts === undefined || now.powerWatts === undefined) return undefined;
  return ((last.powerWatts + now.powerWatts) / 2) * seconds;
}

function learn(board: Board, { sample, joules, seconds }: Interval): void {
  board.idle = { joules: board.idle.joules + joules, seconds: board.idle.seconds + seconds };
  if (board.idle.seconds < SHORTEST_IDLE_SECONDS) return;
  board.floor.see(board.idle.joules / board.idle.seconds, sample.atSeconds);
  board.idle = { joules: 0, seconds: 0 };
}

/** The lowest idle power of this window and the one before; kept when there was no idle moment since. */
class IdleFloor {
  #windowStart = -Infinity;
  #current: number | undefined;
  #before: number | undefined;

  get watts(): number | undefined {
    if (this.#current === undefined || this.#before === undefined) return this.#current ?? this.#before;
    return Math.min(this.#current, this.#before);
  }

  see(watts: number, atSeconds: number): void {
    if (atSeconds - this.#windowStart > FLOOR_WINDOW_SECONDS) {
      this.#before = this.#current;
      this.#current = undefined;
      this.#windowStart = atSeconds;
    }
    this.#current = Math.min(this.#current ?? Infinity, watts);
  }
}
