import type { DriverLibrary } from "../../src/sources/nvml/library.ts";

const RC = { success: 0, notSupported: 3, notFound: 6, insufficientSize: 7 } as const;
/** The driver keeps about this many rows of utilisation per board. */
const ROWS_KEPT = 100;
const ROW_BYTES = 32;
const LIST_ENTRY_BYTES = 24;

export interface ModelledBoard {
  readonly uuid: string;
  readonly idleWatts: number;
  /** Share by which the idle power rises and falls over the day, as rooms do. Default 0. */
  readonly idleSwing?: number;
  /** Has an energy counter. Default true; without one only the power can be read. */
  readonly counter?: boolean;
  /** Default false. */
  readonly mig?: boolean;
  /** The driver tells utilisation per process. Default true, false in MIG mode. */
  readonly utilization?: boolean;
}

interface Work {
  /** Percent of the multiprocessors' time. */
  sm: number;
  watts: number;
}

interface BoardState {
  readonly board: ModelledBoard;
  readonly work: Map<number, Work>;
  readonly listed: Set<number>;
  readonly rows: { readonly pid: number; readonly atUs: number; readonly sm: number }[];
  counterMillijoules: number;
  watts: number;
}

/** What really happened, which no driver tells. */
export interface Truth {
  /** All energy by UUID. */
  readonly boards: ReadonlyMap<string, number>;
  /** Energy above the idle power by PID and UUID. */
  readonly work: ReadonlyMap<number, ReadonlyMap<string, number>>;
}

/**
 * GPUs that use energy in simulated time, behind the driver library's calls: power is the idle power and that of every
 * process that works; counters, process lists and utilisation rows follow from it. Everything else is not supported.
 */
export class EnergyModel implements DriverLibrary {
  readonly #boards: readonly BoardState[];
  readonly #trueBoards = new Map<string, number>();
  readonly #trueWork = new Map<number, Map<string, number>>();
  #seconds = 0;
  /** Codes that calls answer instead, by name. */
  readonly failing = new Map<string, number>();
  /** Unix milliseconds of the simulation's start. */
  readonly startedAtMs: number;

  constructor(boards: readonly ModelledBoard[], startedAtMs = Date.UTC(2026, 10, 24)) {
    this.startedAtMs = startedAtMs;
    this.#boards = boards.map((board) => ({
      board,
      work: new Map(),
      listed: new Set(),
      rows: [],
      counterMillijoules: 5_000_000,
      watts: board.idleWatts,
    }));
  }

  get seconds(): number {
    return this.#seconds;
  }

  /** For the session under test. */
  readonly clock = {
    now: () => this.startedAtMs + this.#seconds * 1000,
    monotonic: () => 1_000_000 + this.#seconds * 1000,
  };

  get truth(): Truth {
    return { boards: this.#trueBoards, work: this.#trueWork };
  }

  /** A process works on a board from now on, or stops to: 0 %. Once seen it is listed until it `end`s. */
  work(pid: number, uuid: string, sm: number, watts: number): void {
    const state = this.#stateOf(uuid);
    state.listed.add(pid);
    if (sm > 0) state.work.set(pid, { sm, watts });
    else state.work.delete(pid);
  }

  end(pid: number): void {
    for (const { work, listed } of this.#boards) {
      work.delete(pid);
      listed.delete(pid);
    }
  }

  /** A row that the driver makes up: it has been seen to. */
  madeUpRow(uuid: string, row: { readonly pid: number; readonly atUs: number; readonly sm: number }): void {
    this.#stateOf(uuid).rows.push(row);
  }

  /** The driver is loaded anew: counters begin at zero. */
  resetCounters(): void {
    for (const state of this.#boards) state.counterMillijoules = 0;
  }

  /** Lets time pass in which nobody changes what they do. */
  advance(seconds: number): void {
    this.#seconds += seconds;
    for (const state of this.#boards) {
      const { board, work, rows } = state;
      const swing = (board.idleSwing ?? 0) * Math.sin((2 * Math.PI * this.#seconds) / 86_400);
      let watts = board.idleWatts * (1 + swing);
      for (const [pid, { sm, watts: own }] of work) {
        watts += own;
        rows.push({ pid, atUs: this.clock.now() * 1000, sm });
        add(this.#trueWork, pid, board.uuid, own * seconds);
      }
      rows.splice(0, rows.length - ROWS_KEPT);
      state.watts = watts;
      state.counterMillijoules += watts * seconds * 1000;
      this.#trueBoards.set(board.uuid, (this.#trueBoards.get(board.uuid) ?? 0) + watts * seconds);
    }
  }

  has(): boolean {
    return false;
  }

  call(name: string, _shape: string, ...args: readonly unknown[]): number {
    const failure = this.failing.get(name);
    if (failure !== undefined) return failure;
    const [first, ...rest] = args;
    switch (name) {
      case "nvmlInit_v2":
      case "nvmlShutdown":
        return RC.success;
      case "nvmlDeviceGetCount_v2":
        return u32(first, this.#boards.length);
      case "nvmlDeviceGetHandleByIndex_v2":
        return u64(rest[0], Number(first) + 1);
      default: {
        const state = this.#boards[Number(first) - 1];
        return state ? this.#ofDevice(name, state, rest) : RC.notSupported;
      }
    }
  }

  #ofDevice(name: string, state: BoardState, args: readonly unknown[]): number {
    const { board, listed, watts, counterMillijoules } = state;
    switch (name) {
      case "nvmlDeviceGetUUID":
        return text(args[0], board.uuid);
      case "nvmlDeviceGetTotalEnergyConsumption":
        return board.counter === false ? RC.notSupported : u64(args[0], Math.round(counterMillijoules));
      case "nvmlDeviceGetPowerUsage":
        return u32(args[0], Math.round(watts * 1000));
      case "nvmlDeviceGetMigMode":
        return u32(args[0], board.mig === true ? 1 : 0);
      case "nvmlDeviceGetComputeRunningProcesses_v3":
        return list(args[0], args[1], [...listed]);
      case "nvmlDeviceGetProcessUtilization":
        return (board.utilization ?? board.mig !== true) ? utilization(state, args) : RC.notSupported;
      default:
        return RC.notSupported;
    }
  }

  #stateOf(uuid: string): BoardState {
    const state = this.#boards.find(({ board }) => board.uuid === uuid);
    if (!state) throw new Error(`No board ${uuid}`);
    return state;
  }
}

function add(sums: Map<number, Map<string, number>>, pid: number, uuid: string, joules: number): void {
  const own = sums.get(pid) ?? new Map<string, number>();
  sums.set(pid, own.set(uuid, (own.get(uuid) ?? 0) + joules));
}

const bufferOf = (value: unknown): Buffer => {
  if (!Buffer.isBuffer(value)) throw new TypeError("expected a buffer");
  return value;
};

function u32(target: unknown, value: number): number {
  bufferOf(target).writeUInt32LE(value, 0);
  return RC.success;
}

function u64(target: unknown, value: number): number {
  bufferOf(target).writeBigUInt64LE(BigInt(value), 0);
  return RC.success;
}

function text(target: unknown, value: string): number {
  bufferOf(target).write(`${value}\0`, "latin1");
  return RC.success;
}

/** nvmlProcessInfo_t: PID, 1 GB each, no instance. */
function list(count: unknown, target: unknown, pids: readonly number[]): number {
  const capacity = bufferOf(count).readUInt32LE(0);
  u32(count, pids.length);
  if (capacity < pids.length) return RC.insufficientSize;
  pids.forEach((pid, index) => {
    const at = index * LIST_ENTRY_BYTES;
    bufferOf(target).writeUInt32LE(pid, at);
    bufferOf(target).writeBigUInt64LE(1_000_000_000n, at + 8);
    bufferOf(target).fill(0xff, at + 16, at + LIST_ENTRY_BYTES);
  });
  return RC.success;
}

/** nvmlProcessUtilizationSample_t: the rows after the time asked for. */
function utilization({ rows }: BoardState, [target, count, since]: readonly unknown[]): number {
  const fresh = rows.filter(({ atUs }) => atUs > Number(since));
  const capacity = bufferOf(count).readUInt32LE(0);
  u32(count, fresh.length);
  if (fresh.length === 0) return RC.notFound;
  if (capacity < fresh.length) return RC.insufficientSize;
  fresh.forEach(({ pid, atUs, sm }, index) => {
    const at = index * ROW_BYTES;
    bufferOf(target).writeUInt32LE(pid, at);
    bufferOf(target).writeBigUInt64LE(BigInt(Math.round(atUs)), at + 8);
    bufferOf(target).writeUInt32LE(sm, at + 16);
  });
  return RC.success;
}
