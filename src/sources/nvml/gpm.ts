/**
 * GPU performance monitoring (GPM, Hopper and later): means between two samples of the board's own counters. The last sample
 * is kept and one is taken per reading, so that no reading ever waits.
 */
import type { Gpu } from "../../snapshot.ts";
import { GPM_METRIC, GPM_METRICS_GET, GPM_SUPPORT, RC } from "./abi.ts";
import type { Device, DeviceContext } from "./device.ts";
import { NvmlFault, UNSUPPORTED } from "./faults.ts";

/** nvml.h: NVML_GPM_METRIC_SM_UTIL, _SM_OCCUPANCY, _ANY_TENSOR_UTIL, _DRAM_BW_UTIL; all in percent. */
const METRICS = { smActiveRatio: 2, smOccupancyRatio: 3, tensorActiveRatio: 5, dramActiveRatio: 10 } as const;
const PROPERTIES = Object.keys(METRICS) as readonly (keyof typeof METRICS)[];

/** nvml.h: the interval between two samples should be greater than 100 ms. */
const TOO_YOUNG_MS = 100;
/** What a mean may exceed 100 % by for rounding; more is nonsense, as after a reset between the samples. */
const TOLERANCE_PERCENT = 1;

const METRICS_GET = "nvmlGpmMetricsGet";
const ALLOC = "nvmlGpmSampleAlloc";

type Ratios = { readonly [Property in keyof typeof METRICS]?: NonNullable<Gpu[Property]> };

/** The samples of one board or MIG instance. */
interface Track {
  /** Index of the board. */
  readonly board: number;
  readonly handle: bigint;
  /** Both are owned: the one that holds the last sample, and the one to take the next into. */
  last: { readonly sample: bigint; readonly atMs: number } | undefined;
  spare: bigint | undefined;
  /** Of the last two samples. */
  ratios: Ratios;
  lastReading: number;
}

export class GpmSampler {
  readonly #context: DeviceContext;
  readonly #tracks = new Map<string, Track>();
  readonly #request = Buffer.alloc(GPM_METRICS_GET.size);
  #reading = 0;

  constructor(context: DeviceContext) {
    this.#context = context;
  }

  /**
   * The ratios of a board since its last reading; of a MIG instance through `parent`. Nothing at the first reading and where the
   * driver does not support it. A reading within 100 ms of the last sample gives the ratios up to that sample again.
   * Throws NvmlFault when the GPU is lost.
   */
  read(device: Device, { uuid, index }: Pick<Gpu, "uuid" | "index">, parent?: Device): Ratios {
    const call = isSupported(parent ?? device) ? sampleCall(device, parent) : undefined;
    if (!call || !answers(device, call)) return {};
    const track = this.#track(uuid, index, device);
    const atMs = this.#context.now();
    if (track.last && atMs - track.last.atMs <= TOO_YOUNG_MS) return track.ratios;
    const sample = (track.spare ??= this.#allocate(device));
    if (sample === undefined || call.take(sample) !== RC.success) return {};
    const older = track.last?.sample;
    track.last = { sample, atMs };
    track.spare = older;
    if (older !== undefined) track.ratios = this.#compare(device, older, sample);
    return track.ratios;
  }

  /** Frees what belongs to devices that this reading has not read: their next sample is a first one. */
  endReading(): void {
    for (const [uuid, { lastReading }] of this.#tracks) if (lastReading !== this.#reading) this.#release(uuid);
    this.#reading += 1;
  }

  /** A board is lost: after its return neither it nor its instances may be compared with what was before. */
  dropBoard(index: number): void {
    for (const [uuid, { board }] of this.#tracks) if (board === index) this.#release(uuid);
  }

  /** Frees everything; to be called before the driver is shut down. */
  forget(): void {
    for (const uuid of this.#tracks.keys()) this.#release(uuid);
  }

  #track(uuid: string, board: number, { handle }: Device): Track {
    const known = this.#tracks.get(uuid);
    if (known && known.handle !== handle) this.#release(uuid); // the device came back as another one
    const track = this.#tracks.get(uuid) ?? {
      board,
      handle,
      last: undefined,
      spare: undefined,
      ratios: {},
      lastReading: this.#reading,
    };
    track.lastReading = this.#reading;
    this.#tracks.set(uuid, track);
    return track;
  }

  #allocate(device: Device): bigint | undefined {
    const out = Buffer.alloc(8);
    const code = device.judge(ALLOC, this.#context.library.call(ALLOC, "p", out));
    return code === RC.success ? out.readBigUInt64LE(0) : undefined;
  }

  #compare(device: Device, older: bigint, newer: bigint): Ratios {
    const asked = PROPERTIES.filter((property) => !device.lacks(metricKey(property)));
    const request = this.#request.fill(0);
    request.writeUInt32LE(GPM_METRICS_GET.version, 0);
    request.writeUInt32LE(asked.length, GPM_METRICS_GET.count);
    request.writeBigUInt64LE(older, GPM_METRICS_GET.older);
    request.writeBigUInt64LE(newer, GPM_METRICS_GET.newer);
    const entries = asked.map((property, position) => {
      const entry = request.subarray(GPM_METRICS_GET.metrics + position * GPM_METRIC.size);
      entry.writeUInt32LE(METRICS[property], GPM_METRIC.id);
      entry.writeDoubleLE(NaN, GPM_METRIC.value); // what the driver leaves alone is no 0
      return [property, entry] as const;
    });
    const code = device.judge(METRICS_GET, this.#context.library.call(METRICS_GET, "p", request));
    if (code !== RC.success) return {};
    return Object.fromEntries(
      entries.flatMap(([property, entry]) => {
        const ratio = ratioOf(device, property, entry);
        return ratio === undefined ? [] : [[property, ratio] as const];
      }),
    );
  }

  #release(uuid: string): void {
    const track = this.#tracks.get(uuid);
    this.#tracks.delete(uuid);
    for (const sample of [track?.last?.sample, track?.spare]) {
      if (sample === undefined) continue;
      const code = this.#context.library.call("nvmlGpmSampleFree", "d", sample);
      if (code !== RC.success && code !== RC.uninitialized) this.#context.errors.add("nvmlGpmSampleFree", code);
    }
  }
}

const metricKey = (property: keyof typeof METRICS): string => `gpm metric ${METRICS[property]}`;

/** Asked once per board; its instances have what it has. */
function isSupported(board: Device): boolean {
  const supported = board.fact("gpm", () => {
    const answer = board.struct("nvmlGpmQueryDeviceSupport", GPM_SUPPORT);
    return answer && answer.readUInt32LE(GPM_SUPPORT.isSupported) !== 0;
  });
  return supported === true;
}

/** How to take a sample of a device. */
interface SampleCall {
  readonly take: (sample: bigint) => number;
  /** Who remembers that it is not supported, and by which key. */
  readonly owner: Device;
  readonly key: string;
}

function sampleCall(device: Device, parent: Device | undefined): SampleCall | undefined {
  if (!parent) {
    const name = "nvmlGpmSampleGet";
    return { take: (sample) => device.attempt(name, "d", [sample]), owner: device, key: name };
  }
  const instance = device.fact("gpu instance", () => device.u32("nvmlDeviceGetGpuInstanceId"));
  if (instance === undefined) return undefined;
  const name = "nvmlGpmMigSampleGet";
  return {
    take: (sample) => parent.attempt(name, "ud", [instance, sample]),
    owner: parent,
    key: `${name} ${instance}`,
  };
}

/** Whether the driver may still answer all that is needed for a ratio. A board in MIG mode often gives no sample. */
function answers(device: Device, { owner, key }: SampleCall): boolean {
  const lacksCall = owner.lacks(key) || device.lacks(ALLOC) || device.lacks(METRICS_GET);
  return !lacksCall && PROPERTIES.some((property) => !device.lacks(metricKey(property)));
}

function ratioOf(device: Device, property: keyof typeof METRICS, entry: Buffer): number | undefined {
  const code = entry.readUInt32LE(GPM_METRIC.returnCode);
  if (code === RC.success) {
    const percent = entry.readDoubleLE(GPM_METRIC.value); // NaN compares with nothing
    return percent >= 0 && percent <= 100 + TOLERANCE_PERCENT ? Math.min(percent / 100, 1) : undefined;
  }
  if (UNSUPPORTED.has(code)) {
    device.remember(metricKey(property));
    return undefined;
  }
  device.context.errors.add(METRICS_GET, code);
  const fault = new NvmlFault(METRICS_GET, code);
  if (fault.losesGpu) throw fault;
  return undefined;
}
