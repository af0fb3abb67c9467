/** One initialised driver library: every board and MIG instance in one synchronous reading. */
import type { Clock } from "../../lib/clock.ts";
import type { EnergySample, Gpu, NvmlCallError } from "../../snapshot.ts";
import { RC, returnName, TEXT_LENGTH } from "./abi.ts";
import { CallErrors, Device, type DeviceContext, type DeviceMemory, newDeviceMemory, textAt, u32At } from "./device.ts";
import { ENDS_READING, NvmlFault } from "./faults.ts";
import { EnergySampler } from "./energy-sampler.ts";
import { GpmSampler } from "./gpm.ts";
import type { DriverLibrary } from "./library.ts";
import { countsOf, processesOf, readProcessLists, readUtilization, without } from "./process-lists.ts";
import { readBoard, readIdentity, readMemory, type Values } from "./readings.ts";
import { type XidEvent, XidWatcher } from "./xid.ts";

/** What the worker sends to its parent for one reading. */
export interface WorkerReading {
  readonly gpus: readonly Gpu[];
  readonly boardCount: number;
  readonly callErrors: readonly NvmlCallError[];
  /** UUIDs of the boards that report XID events. */
  readonly xidUuids: readonly string[];
  readonly xidEvents: readonly XidEvent[];
  /** Since the last reading. */
  readonly energySamples: readonly EnergySample[];
}

export interface SessionOptions {
  /** Indices, MIG labels or UUIDs; default all. */
  readonly include?: readonly string[];
  /** Samples energy between readings too; false = not at all. */
  readonly samplesEnergy: boolean;
  /** Time of the last energy sample of the worker before this one. */
  readonly energySinceSeconds?: number;
  /** Default the machine's: its monotonic clock is the same for the next worker. */
  readonly clock?: Pick<Clock, "now" | "monotonic">;
}

const MACHINE_CLOCK: NonNullable<SessionOptions["clock"]> = {
  now: () => Date.now(),
  monotonic: () => Number(process.hrtime.bigint()) / 1e6,
};

const VENDOR = "nvidia";
/** No machine has more; a driver that says so is wrong. */
const MOST_BOARDS = 256;

export class NvmlSession {
  readonly #include: ReadonlySet<string> | undefined;
  readonly #context: DeviceContext;
  readonly #memories = new Map<string, DeviceMemory>();
  /** Last known identity of the board at an index. */
  readonly #known = new Map<number, Gpu>();
  #driver: Pick<Gpu, "driverVersion" | "cudaVersion"> | undefined;
  readonly #energy: EnergySampler | undefined;
  readonly #gpm: GpmSampler;
  #xids: XidWatcher;
  /** Why the first board of this reading could not be opened that is there and not lost. */
  #refused: NvmlFault | undefined;

  constructor(library: DriverLibrary, options: SessionOptions) {
    const { include, samplesEnergy, energySinceSeconds, clock = MACHINE_CLOCK } = options;
    this.#include = include && new Set(include);
    this.#context = { library, errors: new CallErrors(), now: clock.monotonic, wallMs: clock.now };
    this.#xids = new XidWatcher(this.#context);
    this.#gpm = new GpmSampler(this.#context);
    this.#energy = samplesEnergy ? new EnergySampler(this.#context, energySinceSeconds) : undefined;
  }

  /** Between two readings. Never throws: what is wrong with the driver shows in the next reading. */
  sampleEnergy(): void {
    this.#energy?.sampleAll();
  }

  /** Reads everything. Throws NvmlFault when the driver as a whole cannot be read; the next call starts anew. */
  read(): WorkerReading {
    this.#driver ??= this.#initialise();
    try {
      return this.#readAll();
    } catch (error) {
      if (!(error instanceof NvmlFault)) throw error;
      this.#forget();
      if (error.code !== RC.uninitialized) throw error;
      this.#driver = this.#initialise();
      return this.#readAll();
    }
  }

  #initialise(): Pick<Gpu, "driverVersion" | "cudaVersion"> {
    const { library } = this.#context;
    this.#check("nvmlInit_v2", library.call("nvmlInit_v2", ""));
    const version = Buffer.alloc(TEXT_LENGTH);
    const cuda = Buffer.alloc(4);
    const named = library.call("nvmlSystemGetDriverVersion", "pu", version, TEXT_LENGTH) === RC.success;
    const numbered = library.call("nvmlSystemGetCudaDriverVersion_v2", "p", cuda) === RC.success;
    const number = cuda.readInt32LE(0);
    return defined({
      driverVersion: named ? textAt(version) : undefined,
      cudaVersion: numbered ? `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}` : undefined,
    });
  }

  #forget(): void {
    this.#gpm.forget();
    this.#context.library.call("nvmlShutdown", "");
    this.#driver = undefined;
    this.#memories.clear();
    this.#energy?.forget();
    this.#xids = new XidWatcher(this.#context);
  }

  #readAll(): WorkerReading {
    this.#refused = undefined;
    const boardCount = this.#countBoards();
    const xidUuids: string[] = [];
    const gpus = Array.from({ length: boardCount }, (_, index) => this.#readIndex(index, xidUuids)).flat();
    if (gpus.length === 0) this.#checkThatNoneWasRefused();
    this.#gpm.endReading();
    this.#energy?.endReading();
    // A lost board keeps the name of the one last seen at its index, unless that one answers at another index now.
    const present = new Set(gpus.filter(({ up }) => up).map(({ uuid }) => uuid));
    return {
      gpus: gpus.map((gpu) => (!gpu.up && present.has(gpu.uuid) ? this.#unknown(gpu) : gpu)),
      boardCount,
      xidUuids,
      xidEvents: this.#xids.take(),
      callErrors: this.#context.errors.take(),
      energySamples: this.#energy?.take() ?? [],
    };
  }

  #countBoards(): number {
    const count = Buffer.alloc(4);
    const code = this.#context.library.call("nvmlDeviceGetCount_v2", "p", count);
    if (code === RC.gpuNotFound) return 0;
    this.#check("nvmlDeviceGetCount_v2", code);
    return Math.min(u32At(count, 0) ?? 0, MOST_BOARDS);
  }

  #readIndex(index: number, xidUuids: string[]): readonly Gpu[] {
    if (this.#include && !this.#mayInclude(index)) return [];
    try {
      const handle = this.#handle("nvmlDeviceGetHandleByIndex_v2", "u", index);
      return handle === undefined ? [] : this.#readBoard(index, handle, xidUuids);
    } catch (error) {
      if (!(error instanceof NvmlFault) || !error.losesGpu) throw error;
      this.#gpm.dropBoard(index);
      const identity = this.#known.get(index) ?? { gpu: String(index), index, uuid: "", up: false, vendor: VENDOR };
      const { driverVersion } = this.#driver ?? {};
      return this.#wanted(identity)
        ? [
            {
              ...(driverVersion !== undefined && { driverVersion }),
              ...identity,
              up: false,
              lostReason: returnName(error.code),
            },
          ]
        : [];
    }
  }

  #readBoard(index: number, handle: bigint, xidUuids: string[]): readonly Gpu[] {
    const anonymous = new Device(handle, newDeviceMemory(), this.#context);
    const uuid = anonymous.text("nvmlDeviceGetUUID") ?? "";
    const board = new Device(handle, this.#memoryOf(uuid || String(index)), this.#context);
    const label = { gpu: String(index), index, uuid, vendor: VENDOR, ...this.#driver };
    const wanted = this.#wanted(label);
    if (!wanted && !this.#mayIncludeInstances(index)) return [];
    const identity: Gpu = { ...label, up: true, ...defined(readIdentity(board)) };
    this.#known.set(index, identity);
    const [migMode] = board.pair("nvmlDeviceGetMigMode");
    const instances = migMode === 1 ? this.#readInstances(board, identity) : [];
    const kept = instances.filter((instance) => this.#wanted(instance));
    if (!wanted) return kept;
    const elsewhere = new Set(instances.flatMap(({ processes = [] }) => processes.map(({ pid }) => pid)));
    const gpu: Gpu = {
      ...identity,
      ...defined(readBoard(board)),
      ...defined({ migModeEnabled: migMode }),
      ...this.#readProcesses(board, elsewhere),
      ...this.#gpm.read(board, identity),
    };
    if (this.#xids.watch(board, uuid)) xidUuids.push(uuid);
    if (uuid !== "") this.#energy?.watch({ uuid, handle, energyJoules: gpu.energyJoules, inMigMode: migMode === 1 });
    return [gpu, ...kept];
  }

  #readInstances(board: Device, parent: Gpu): readonly Gpu[] {
    const most = board.u32("nvmlDeviceGetMaxMigDeviceCount") ?? 0;
    return Array.from({ length: Math.min(most, 64) }, (_, index) => this.#readInstance(board, parent, index)).flat();
  }

  #readInstance(board: Device, parent: Gpu, migIndex: number): readonly Gpu[] {
    const out = Buffer.alloc(8);
    const code = board.attempt("nvmlDeviceGetMigDeviceHandleByIndex", "up", [migIndex, out], [RC.notFound]);
    if (code !== RC.success) return []; // the indices are sparse
    const handle = out.readBigUInt64LE(0);
    const uuid = new Device(handle, newDeviceMemory(), this.#context).text("nvmlDeviceGetUUID");
    if (uuid === undefined) return []; // destroyed since
    const device = new Device(handle, this.#memoryOf(uuid), this.#context);
    const name = device.fact("name", () => device.text("nvmlDeviceGetName"));
    const { index } = parent;
    return [
      {
        ...parent,
        gpu: `${parent.gpu}:${migIndex}`,
        uuid,
        parentUuid: parent.uuid,
        ...defined({ name: name ?? parent.name, migProfile: name?.split(" MIG ")[1] }),
        ...defined(readMemory(device)),
        ...this.#readProcesses(device, new Set()),
        ...this.#gpm.read(device, { uuid, index }, board),
      },
    ];
  }

  #readProcesses(device: Device, elsewhere: ReadonlySet<number>): Pick<Gpu, "processes" | "processCounts"> {
    const lists = without(readProcessLists(device), elsewhere);
    const processes = processesOf(lists);
    const pids = new Set(processes?.map(({ pid }) => pid));
    const utilization = processes && readUtilization(device, pids, this.#context.wallMs() * 1000);
    return {
      ...(lists.size > 0 && { processCounts: countsOf(lists) }),
      ...(processes && {
        processes: processes.map((process) => {
          const ratio = utilization?.get(process.pid);
          return ratio === undefined ? process : { ...process, smUtilizationRatio: ratio };
        }),
      }),
    };
  }

  #handle(call: string, shape: string, index: number): bigint | undefined {
    const out = Buffer.alloc(8);
    const code = this.#context.library.call(call, `${shape}p`, index, out);
    if (code === RC.success) return out.readBigUInt64LE(0);
    this.#context.errors.add(call, code);
    const fault = new NvmlFault(call, code);
    if (fault.losesGpu || ENDS_READING.has(code)) throw fault;
    this.#refused ??= fault;
    return undefined;
  }

  /** No GPU to show, yet not because there is none. */
  #checkThatNoneWasRefused(): void {
    if (this.#refused) throw this.#refused;
  }

  #check(call: string, code: number): void {
    if (code === RC.success) return;
    this.#context.errors.add(call, code);
    throw new NvmlFault(call, code);
  }

  #unknown({ gpu, index, driverVersion, lostReason }: Gpu): Gpu {
    return { gpu, index, uuid: "", up: false, vendor: VENDOR, ...defined({ driverVersion, lostReason }) };
  }

  /** By UUID, or by index for a board that has none. */
  #memoryOf(key: string): DeviceMemory {
    const memory = this.#memories.get(key) ?? newDeviceMemory();
    this.#memories.set(key, memory);
    return memory;
  }

  #wanted({ gpu, uuid }: { readonly gpu: string; readonly uuid: string }): boolean {
    return !this.#include || this.#include.has(gpu) || this.#include.has(uuid);
  }

  /** By index alone: a list without any UUID decides before the board is touched. */
  #mayInclude(index: number): boolean {
    const entries = [...(this.#include ?? [])];
    return entries.some((entry) => !/^\d+(:\d+)?$/.test(entry) || Number(entry.split(":")[0]) === index);
  }

  #mayIncludeInstances(index: number): boolean {
    return [...(this.#include ?? [])].some((entry) => entry.startsWith("MIG-") || entry.startsWith(`${index}:`));
  }
}

/** Drops the properties that are undefined. */
function defined<T extends Values>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
