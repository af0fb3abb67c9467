/** Energy and process utilisation of every board at a short interval, kept by the worker until the next reading takes them. */
import type { EnergySample } from "../../snapshot.ts";
import { Device, type DeviceContext, type DeviceMemory, newDeviceMemory } from "./device.ts";
import { NvmlFault } from "./faults.ts";
import { readBusyShares } from "./process-lists.ts";

/** Ten minutes of a second each: nobody scrapes more rarely for long, and then neighbours are joined. */
const MOST_SAMPLES = 600;
const COUNTER = "nvmlDeviceGetTotalEnergyConsumption";

/** What a reading has just found out about a board. */
export interface SampledBoard {
  readonly uuid: string;
  readonly handle: bigint;
  readonly energyJoules: number | undefined;
  /** In MIG mode the board's utilisation samples, should there be any, are not those of its processes. */
  readonly inMigMode: boolean;
}

interface Board extends SampledBoard {
  readonly memory: DeviceMemory;
}

export class EnergySampler {
  readonly #context: DeviceContext;
  /** The work before this time has been counted by the worker before this one. */
  readonly #sinceSeconds: number | undefined;
  readonly #boards = new Map<string, Board>();
  /** In the reading under way. */
  readonly #watched = new Set<string>();
  readonly #samples = new Map<string, EnergySample[]>();
  /** Last sample of utilisation that was used, by UUID; outlives the boards. */
  readonly #usedUntilUs = new Map<string, number>();
  readonly #withCounter = new Set<string>();

  constructor(context: DeviceContext, sinceSeconds?: number) {
    this.#context = context;
    this.#sinceSeconds = sinceSeconds;
  }

  /** Samples this board from now on, and once at this moment with the counter that a reading has just read. */
  watch(found: SampledBoard): void {
    const { uuid } = found;
    const board = { ...found, memory: this.#boards.get(uuid)?.memory ?? this.#newMemory(uuid) };
    this.#boards.set(uuid, board);
    this.#watched.add(uuid);
    this.#sample(board, found.energyJoules);
  }

  /** Leaves alone, until a reading finds them again, the boards that this reading did not: lost or gone. */
  endReading(): void {
    for (const uuid of this.#boards.keys()) if (!this.#watched.has(uuid)) this.#boards.delete(uuid);
    this.#watched.clear();
  }

  /** Handles are void: the boards are found again by the next reading. */
  forget(): void {
    this.#boards.clear();
    this.#watched.clear();
  }

  /** Samples every board; one that fails is left to the next reading, which knows what to do about it. */
  sampleAll(): void {
    for (const board of this.#boards.values()) {
      try {
        this.#sample(board, undefined);
      } catch (error) {
        if (!(error instanceof NvmlFault)) throw error;
        this.#boards.delete(board.uuid);
      }
    }
  }

  /** The samples since the last call, by board in order of time. */
  take(): readonly EnergySample[] {
    const taken = [...this.#samples.values()].flat();
    this.#samples.clear();
    return taken;
  }

  #newMemory(uuid: string): DeviceMemory {
    const memory = newDeviceMemory();
    const { now, wallMs } = this.#context;
    const since = this.#sinceSeconds;
    const inherited = since === undefined ? 0 : Math.floor((wallMs() - (now() - since * 1000)) * 1000);
    memory.lastSampleUs = this.#usedUntilUs.get(uuid) ?? inherited;
    return memory;
  }

  #sample({ uuid, handle, memory, inMigMode }: Board, known: number | undefined): void {
    const device = new Device(handle, memory, this.#context);
    const energyJoules = known ?? thousandth(device.u64(COUNTER));
    if (energyJoules !== undefined) this.#withCounter.add(uuid);
    // A counter that fails for once is waited for, since it loses nothing meanwhile; power in its place would.
    else if (this.#withCounter.has(uuid) && !device.lacks(COUNTER)) return;
    const powerWatts = energyJoules === undefined ? thousandth(device.u32("nvmlDeviceGetPowerUsage")) : undefined;
    if (energyJoules === undefined && powerWatts === undefined) return;
    const busy = inMigMode ? undefined : readBusyShares(device, this.#context.wallMs() * 1000);
    this.#usedUntilUs.set(uuid, memory.lastSampleUs);
    const samples = this.#samples.get(uuid) ?? [];
    samples.push({
      uuid,
      atSeconds: this.#context.now() / 1000,
      ...(energyJoules !== undefined && { energyJoules }),
      ...(powerWatts !== undefined && { powerWatts }),
      ...(busy && { busy }),
    });
    this.#samples.set(uuid, samples.length > MOST_SAMPLES ? joined(samples) : samples);
  }
}

const thousandth = (value: number | undefined): number | undefined => (value === undefined ? undefined : value / 1000);

/** Half as many: each pair becomes its later sample with the work of both. What a counter sums to stays exact. */
function joined(samples: readonly EnergySample[]): EnergySample[] {
  const pairs = Map.groupBy(samples, (_sample, index) => Math.floor(index / 2));
  return [...pairs.values()].flatMap(([first, second]) => {
    if (!first || !second) return first ?? [];
    return first.busy && second.busy ? { ...second, busy: added(first.busy, second.busy) } : second;
  });
}

function added(a: EnergySample["busy"] = [], b: EnergySample["busy"] = []): NonNullable<EnergySample["busy"]> {
  const sums = new Map(a);
  for (const [pid, weight] of b) sums.set(pid, (sums.get(pid) ?? 0) + weight);
  return [...sums];
}
