/** Energy and process utilisation of every board at a short interval, kept by the worker until the next reading takes them. */
import type { EnergySample } from "../../snapshot.ts";
import { Device, type DeviceContext, type DeviceMemory, newDeviceMemory } from "./device.ts";
import { NvmlFault } from "./faults.ts";
import { readBusyShares } from "./process-lists.ts";

/** Ten minutes of a second each: nobody scrapes more rarely for long, and then neighbours are joined. */
const MOST_SAMPLES = 600;

interface Board {
  readonly uuid: string;
  readonly handle: bigint;
  readonly memory: DeviceMemory;
}

export class EnergySampler {
  readonly #context: DeviceContext;
  readonly #boards = new Map<string, Board>();
  readonly #samples = new Map<string, EnergySample[]>();

  constructor(context: DeviceContext) {
    this.#context = context;
  }

  /** Samples this board from now on, and once at this moment with the counter that a reading has just read. */
  watch(uuid: string, handle: bigint, energyJoules: number | undefined): void {
    const memory = this.#boards.get(uuid)?.memory ?? newDeviceMemory();
    const board = { uuid, handle, memory };
    this.#boards.set(uuid, board);
    this.#sample(board, energyJoules);
  }

  /** Handles are void: the boards are found again by the next reading. */
  forget(): void {
    this.#boards.clear();
  }

  /** Samples every board; one that fails is left to the next reading, which knows what to do about it. */
  sampleAll(): void {
    for (const board of this.#boards.values()) {
      try {
        this.#sample(board, undefined);
      } catch (error) {
        if (!(error instanceof NvmlFault)) throw error;
      }
    }
  }

  /** The samples since the last call, by board in order of time. */
  take(): readonly EnergySample[] {
    const taken = [...this.#samples.values()].flat();
    this.#samples.clear();
    return taken;
  }

  #sample({ uuid, handle, memory }: Board, known: number | undefined): void {
    const device = new Device(handle, memory, this.#context);
    const millijoules = known ?? device.u64("nvmlDeviceGetTotalEnergyConsumption");
    const energyJoules = known ?? (millijoules === undefined ? undefined : millijoules / 1000);
    const milliwatts = energyJoules === undefined ? device.u32("nvmlDeviceGetPowerUsage") : undefined;
    if (energyJoules === undefined && milliwatts === undefined) return;
    const busy = readBusyShares(device, Date.now() * 1000);
    const samples = this.#samples.get(uuid) ?? [];
    samples.push({
      uuid,
      atSeconds: Number(process.hrtime.bigint()) / 1e9, // the machine's own clock: the same for the next worker
      ...(energyJoules !== undefined && { energyJoules }),
      ...(milliwatts !== undefined && { powerWatts: milliwatts / 1000 }),
      ...(busy && { busy }),
    });
    this.#samples.set(uuid, samples.length > MOST_SAMPLES ? joined(samples) : samples);
  }
}

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
