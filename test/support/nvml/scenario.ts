// What the fake driver says, as an object, and its rendering to the text that fake-nvml.c reads.

/** `{ rc: 3 }` in place of a value: reading it fails with that NVML code. */
export interface Failure {
  readonly rc: number;
}
/** In NVML's raw units: mW, mJ, MHz, percent, bytes. */
export type Num = number | bigint | Failure;
export type Text = string | Failure;

// A value left out or undefined is "not supported".
type Group<Names extends string> = Readonly<Partial<Record<Names, Num | undefined>>>;

export interface Process {
  readonly pid: number;
  /** `compute` when left out. A process in several lists is given several times. */
  readonly kind?: "compute" | "graphics" | "mps" | undefined;
  /** "n/a" as on WSL, where the driver does not know it. */
  readonly memory: number | bigint | "n/a";
  readonly gpuInstance?: number | undefined;
  readonly computeInstance?: number | undefined;
}

export interface Sample {
  readonly pid: number;
  readonly sm: number;
  /** Microseconds since 1970, or `now` at each reading, also `now-5000000`. `now` when left out. */
  readonly timestamp?: number | bigint | "now" | `now-${number}` | undefined;
  readonly memory?: number | undefined;
  readonly encoder?: number | undefined;
  readonly decoder?: number | undefined;
  /** These two only nvmlDeviceGetProcessesUtilizationInfo gives. */
  readonly jpeg?: number | undefined;
  readonly ofa?: number | undefined;
}

export type FieldType = "double" | "u32" | "ulong" | "u64" | "i64" | "i32" | "u16";
export type Field =
  Failure | { readonly type: FieldType; readonly value: number | bigint; readonly latencyUsec?: number | undefined };

/** What a GPM sample counts, by metric id; a metric is computed from two samples, see fake-nvml.c. */
export interface Gpm {
  /** 0 = the driver says that the board has none; left out = it cannot even be asked. */
  readonly supported?: Num | undefined;
  readonly elapsed?: Num | "now" | undefined;
  readonly active?: Readonly<Record<number, Num | "nan" | "untouched" | `${number}%` | undefined>> | undefined;
}

export interface Device {
  readonly name?: Text | undefined;
  readonly uuid?: Text | undefined;
  readonly serial?: Text | undefined;
  readonly vbiosVersion?: Text | undefined;
  /** "9.0" */
  readonly computeCapability?: Text | undefined;
  readonly index?: Num | undefined;
  readonly minorNumber?: Num | undefined;
  readonly brand?: Num | undefined;
  readonly architecture?: Num | undefined;
  readonly pci?: (Group<"deviceId" | "subsystemId"> & { readonly busId?: Text | undefined }) | undefined;
  readonly memory?: Group<"total" | "used" | "reserved" | "free"> | undefined;
  readonly bar1?: Group<"total" | "used" | "free"> | undefined;
  readonly utilization?: Group<"gpu" | "memory" | "encoder" | "decoder" | "jpeg" | "ofa"> | undefined;
  readonly power?: Group<"usage" | "limit" | "enforcedLimit" | "defaultLimit" | "minLimit" | "maxLimit"> | undefined;
  readonly energy?: Num | undefined;
  readonly temperature?: Num | undefined;
  readonly marginTemperature?: Num | undefined;
  readonly temperatureThreshold?: Group<"shutdown" | "slowdown" | "memoryMax" | "gpuMax"> | undefined;
  /** One speed per fan. */
  readonly fan?: readonly Num[] | undefined;
  /** Only to differ from the number of `fan` entries. */
  readonly numFans?: Num | undefined;
  readonly clock?: Group<"graphics" | "sm" | "memory" | "video"> | undefined;
  readonly maxClock?: Group<"graphics" | "sm" | "memory" | "video"> | undefined;
  readonly performanceState?: Num | undefined;
  readonly clocksEventReasons?: Num | undefined;
  readonly pcie?:
    | Group<"generation" | "width" | "maxGeneration" | "maxWidth" | "replayCounter" | "throughputTx" | "throughputRx">
    | undefined;
  readonly eccMode?: Group<"current" | "pending"> | undefined;
  readonly eccErrors?:
    Group<"correctedVolatile" | "correctedAggregate" | "uncorrectedVolatile" | "uncorrectedAggregate"> | undefined;
  readonly remappedRows?: Group<"corrected" | "uncorrected" | "pending" | "failure"> | undefined;
  readonly retiredPagesPending?: Num | undefined;
  readonly persistenceMode?: Num | undefined;
  readonly computeMode?: Num | undefined;
  readonly displayActive?: Num | undefined;
  readonly displayMode?: Num | undefined;
  /** Bit mask; 8 = XID. */
  readonly eventTypes?: Num | undefined;
  readonly migMode?: Group<"current" | "pending"> | undefined;
  readonly maxMigDevices?: Num | undefined;
  /** By field id, "186", or by field id and scope, "138:4294967295". */
  readonly fields?: Readonly<Record<string, Field | undefined>> | undefined;
  /** The code of every other field; 3 when left out. */
  readonly fieldDefault?: Failure | undefined;
  readonly processes?: readonly Process[] | undefined;
  /** Process utilisation; [] = supported and idle (NOT_FOUND), left out = not supported. */
  readonly samples?: readonly Sample[] | undefined;
  readonly gpm?: Gpm | undefined;
}

export interface MigDevice extends Device {
  /** The MIG device index; gaps are fine. */
  readonly mig: number;
  readonly gpuInstanceId?: Num | undefined;
  readonly computeInstanceId?: Num | undefined;
  readonly attributes?: Attributes | undefined;
}
export interface Attributes {
  readonly multiprocessors: number;
  readonly copyEngines: number;
  readonly decoders: number;
  readonly encoders: number;
  readonly jpegs: number;
  readonly ofas: number;
  readonly gpuSlices: number;
  readonly computeSlices: number;
  readonly memoryMb: number;
}

export interface Gpu extends Device {
  readonly mig?: readonly MigDevice[] | undefined;
}

export interface CallRule {
  readonly rc?: number | undefined;
  readonly latencyMs?: number | undefined;
  readonly hang?: "forever" | "while-set" | undefined;
  readonly crash?: boolean | undefined;
  /** "0" a GPU, "0:1" a MIG device; every device (and calls without one) when left out. */
  readonly gpu?: string | undefined;
}

export interface Scenario {
  readonly driverVersion?: Text | undefined;
  readonly nvmlVersion?: Text | undefined;
  /** 13000 = 13.0 */
  readonly cudaVersion?: Num | undefined;
  /** 32 as drivers 535.43 to 535.98. */
  readonly processStride?: 24 | 32 | undefined;
  readonly processNames?: Readonly<Record<number, string>> | undefined;
  /** Only to differ from the number of `gpus`. */
  readonly deviceCount?: Num | undefined;
  readonly gpus?: readonly Gpu[] | undefined;
  /** By function name, or "*" for every function; the most specific rule wins, see fake-nvml.c. */
  readonly calls?: Readonly<Record<string, CallRule | readonly CallRule[]>> | undefined;
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

export function isFailure(value: object): value is Failure {
  return Object.keys(value).join() === "rc";
}

/** `{ memory: { total: 1 } }` -> `gpu.0.memory.total = 1`: keys are the property names in snake case. */
function* plain(prefix: string, value: unknown): Generator<string> {
  if (value === undefined) return;
  if (typeof value === "string" || typeof value === "number" || typeof value === "bigint") {
    yield `${prefix} = ${value}`;
  } else if (typeof value === "object" && value !== null) {
    if (isFailure(value)) yield `${prefix} = rc ${value.rc}`;
    else for (const [name, member] of Object.entries(value)) yield* plain(`${prefix}.${snake(name)}`, member);
  } else {
    throw new TypeError(`${prefix}: ${typeof value} is no scenario value`);
  }
}

function renderField(field: Field): string {
  if ("rc" in field) return `rc ${field.rc}`;
  const latency = field.latencyUsec === undefined ? "" : ` latency ${field.latencyUsec}`;
  return `${field.type} ${field.value}${latency}`;
}

function renderProcess(process: Process): string {
  const gi = process.gpuInstance === undefined ? "" : ` gi ${process.gpuInstance}`;
  const ci = process.computeInstance === undefined ? "" : ` ci ${process.computeInstance}`;
  return `${process.kind ?? "compute"} ${process.memory}${gi}${ci}`;
}

function renderSample(sample: Sample): string {
  const values = [sample.pid, sample.sm, sample.timestamp ?? "now", sample.memory ?? 0, sample.encoder ?? 0];
  return [...values, sample.decoder ?? 0, sample.jpeg ?? 0, sample.ofa ?? 0].join(" ");
}

function* renderDevice(prefix: string, device: Device & Partial<Pick<MigDevice, "attributes">>): Generator<string> {
  const { fields, processes, samples, attributes, ...rest } = device;
  yield* plain(prefix, rest);
  for (const [id, field] of Object.entries(fields ?? {})) {
    if (field !== undefined) yield `${prefix}.field.${id} = ${renderField(field)}`;
  }
  const byPid = Map.groupBy(processes ?? [], (process) => process.pid);
  for (const [pid, group] of byPid) {
    yield `${prefix}.process.${pid} = ${group.map(renderProcess).join("; ")}`;
  }
  if (samples !== undefined) yield `${prefix}.process_utilization = 1`;
  for (const [index, sample] of (samples ?? []).entries()) {
    yield `${prefix}.utilization_sample.${index} = ${renderSample(sample)}`;
  }
  if (attributes !== undefined) {
    const { multiprocessors, copyEngines, decoders, encoders, jpegs, ofas, ...sizes } = attributes;
    const members = [multiprocessors, copyEngines, decoders, encoders, jpegs, ofas];
    members.push(sizes.gpuSlices, sizes.computeSlices, sizes.memoryMb);
    yield `${prefix}.attributes = ${members.join(" ")}`;
  }
}

/** The text of a scenario, in the format that fake-nvml.c describes. */
export function renderScenario(scenario: Scenario): string {
  const lines: string[] = [];
  lines.push(
    ...plain("driver.version", scenario.driverVersion),
    ...plain("driver.nvml_version", scenario.nvmlVersion),
    ...plain("driver.cuda_version", scenario.cudaVersion),
    ...plain("driver.process_stride", scenario.processStride),
    ...plain("driver.device_count", scenario.deviceCount),
    ...plain("driver.process_name", scenario.processNames),
  );
  for (const [index, { mig, ...gpu }] of (scenario.gpus ?? []).entries()) {
    const prefix = `gpu.${index}`;
    lines.push(...renderDevice(prefix, { ...gpu, index: gpu.index ?? index }));
    for (const { mig: migIndex, ...instance } of mig ?? []) {
      lines.push(...renderDevice(`${prefix}.mig.${migIndex}`, instance));
    }
  }
  for (const [name, given] of Object.entries(scenario.calls ?? {})) {
    for (const rule of Array.isArray(given) ? (given as readonly CallRule[]) : [given as CallRule]) {
      const key = `call.${name}${rule.gpu === undefined ? "" : `@${rule.gpu}`}`;
      lines.push(...plain(`${key}.rc`, rule.rc), ...plain(`${key}.latency_ms`, rule.latencyMs));
      lines.push(...plain(`${key}.hang`, rule.hang), ...plain(`${key}.crash`, rule.crash === true ? 1 : undefined));
    }
  }
  return `${lines.join("\n")}\n`;
}
