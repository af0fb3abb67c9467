/** One device handle with its memory of what it does not support; typed getters over raw calls. */
import { RC, returnName, TEXT_LENGTH } from "./abi.ts";
import { ENDS_READING, NvmlFault, UNSUPPORTED } from "./faults.ts";
import type { Argument, DriverLibrary } from "./library.ts";

const HIGH_WORD = 0x1_0000_0000;
const ALL_ONES = 0xffffffff;
/** How long an unsupported call is left alone; a driver update or a mode change can bring it back. */
const RECHECK_MS = 3_600_000;

/** What is remembered of a device between readings, by UUID. */
export interface DeviceMemory {
  /** Calls that are not supported, with the monotonic time of that answer. */
  readonly unsupported: Map<string, number>;
  /** Facts that do not change while the driver is loaded. */
  readonly facts: Map<string, unknown>;
  /** Timestamp (us) of the newest process utilisation sample that was used. */
  lastSampleUs: number;
  slow?: { readonly at: number; readonly values: ReadonlyMap<number, number> };
}

export const newDeviceMemory = (): DeviceMemory => ({ unsupported: new Map(), facts: new Map(), lastSampleUs: 0 });

/** Counts failed calls by function and code. */
export class CallErrors {
  readonly #counts = new Map<string, { readonly function: string; readonly code: string; count: number }>();

  add(functionName: string, code: number): void {
    const key = `${functionName} ${code}`;
    const known = this.#counts.get(key) ?? { function: functionName, code: returnName(code), count: 0 };
    known.count += 1;
    this.#counts.set(key, known);
  }

  /** The counts since the last call of this method. */
  take(): readonly { readonly function: string; readonly code: string; readonly count: number }[] {
    const taken = [...this.#counts.values()];
    this.#counts.clear();
    return taken;
  }
}

export interface DeviceContext {
  readonly library: DriverLibrary;
  readonly errors: CallErrors;
  /** Milliseconds of a clock that never steps back and outlives this process. */
  readonly now: () => number;
  /** Unix milliseconds, as the driver stamps its samples. */
  readonly wallMs: () => number;
}

/** u32, or undefined for NVML_VALUE_NOT_AVAILABLE. */
export function u32At(buffer: Buffer, offset: number): number | undefined {
  const value = buffer.readUInt32LE(offset);
  return value === ALL_ONES ? undefined : value;
}

/** i32, or undefined for NVML_VALUE_NOT_AVAILABLE: a -1 of its own cannot be told from it. */
export function i32At(buffer: Buffer, offset: number): number | undefined {
  const value = buffer.readInt32LE(offset);
  return value === -1 ? undefined : value;
}

/** u64 as a number, exact below 2^53; undefined for NVML_VALUE_NOT_AVAILABLE. */
export function u64At(buffer: Buffer, offset: number): number | undefined {
  const low = buffer.readUInt32LE(offset);
  const high = buffer.readUInt32LE(offset + 4);
  return low === ALL_ONES && high === ALL_ONES ? undefined : high * HIGH_WORD + low;
}

/** Text up to the first NUL; undefined when empty. */
export function textAt(buffer: Buffer, offset = 0, length = buffer.length): string | undefined {
  const end = buffer.indexOf(0, offset);
  const text = buffer.toString("utf8", offset, end === -1 ? offset + length : Math.min(end, offset + length)).trim();
  return text === "" ? undefined : text;
}

export class Device {
  readonly handle: bigint;
  readonly memory: DeviceMemory;
  readonly context: DeviceContext;
  readonly #first = Buffer.alloc(8);
  readonly #second = Buffer.alloc(8);

  constructor(handle: bigint, memory: DeviceMemory, context: DeviceContext) {
    this.handle = handle;
    this.memory = memory;
    this.context = context;
  }

  /**
   * Calls `name(device, ...args)`; true when it succeeded. Remembers what is not supported, counts other errors.
   * Codes in `expected` are answers, not errors. Throws NvmlFault when the GPU is lost or the reading cannot go on.
   */
  attempt(name: string, shape: string, args: readonly Argument[], expected: readonly number[] = []): number {
    const key = [name, ...args.filter((argument) => typeof argument === "number")].join(" ");
    if (this.lacks(key)) return RC.notSupported;
    const code = this.context.library.call(name, `d${shape}`, this.handle, ...args);
    return expected.includes(code) ? code : this.judge(name, code, key);
  }

  /** What `attempt` makes of a code, for a call on this device's behalf that does not take its handle. */
  judge(name: string, code: number, key = name): number {
    if (code === RC.success) return code;
    if (UNSUPPORTED.has(code)) {
      this.remember(key);
      return code;
    }
    this.context.errors.add(name, code);
    const fault = new NvmlFault(name, code);
    if (fault.losesGpu || ENDS_READING.has(code)) throw fault;
    return code;
  }

  /** Whether the device lately said that it does not support this. */
  lacks(key: string): boolean {
    const since = this.memory.unsupported.get(key);
    return since !== undefined && this.context.now() - since < RECHECK_MS;
  }

  /** Remembers that the device does not support this. */
  remember(key: string): void {
    this.memory.unsupported.set(key, this.context.now());
  }

  /** A call whose last parameter is an unsigned int that it fills. */
  u32(name: string, ...leading: readonly number[]): number | undefined {
    const shape = `${"u".repeat(leading.length)}p`;
    return this.attempt(name, shape, [...leading, this.#first]) === RC.success ? u32At(this.#first, 0) : undefined;
  }

  /** A call whose last parameter is an unsigned long long that it fills. */
  u64(name: string, ...leading: readonly number[]): number | undefined {
    const shape = `${"u".repeat(leading.length)}p`;
    return this.attempt(name, shape, [...leading, this.#first]) === RC.success ? u64At(this.#first, 0) : undefined;
  }

  /** A call that fills two unsigned ints; both undefined when it fails. */
  pair(name: string): readonly [number | undefined, number | undefined] {
    if (this.attempt(name, "pp", [this.#first, this.#second]) !== RC.success) return [undefined, undefined];
    return [u32At(this.#first, 0), u32At(this.#second, 0)];
  }

  /** A call that fills a text buffer. */
  text(name: string): string | undefined {
    const buffer = Buffer.alloc(TEXT_LENGTH);
    return this.attempt(name, "pu", [buffer, TEXT_LENGTH]) === RC.success ? textAt(buffer) : undefined;
  }

  /** A call that fills a struct, after its version word was set where it has one. */
  struct(
    name: string,
    { size, version }: { readonly size: number; readonly version?: number },
    expected: readonly number[] = [],
  ): Buffer | undefined {
    const buffer = Buffer.alloc(size);
    if (version !== undefined) buffer.writeUInt32LE(version, 0);
    return this.attempt(name, "p", [buffer], expected) === RC.success ? buffer : undefined;
  }

  /**
   * A fact that is read once. An answer, "not supported" included, is kept; after a passing error it is asked for again.
   */
  fact<T>(name: string, read: () => T | undefined): T | undefined {
    const { facts, unsupported } = this.memory;
    if (facts.has(name)) return facts.get(name) as T | undefined;
    const before = unsupported.size;
    const value = read();
    if (value !== undefined || unsupported.size > before) facts.set(name, value);
    return value;
  }
}
