/** The driver library through koffi: plain C calls on raw buffers, symbols bound when first used. The only file importing koffi. */
import koffi from "koffi";
import { RC } from "./abi.ts";

/** Parameter types of the calls that are not `(device, ...pointers)`. */
const POINTER = "void *";
const HANDLE = "uint64_t";

/** What a call takes: a handle, a number or a buffer. */
export type Argument = bigint | number | Buffer | string | null;

type NativeFunction = (...args: Argument[]) => number;

/** What is asked of a driver library. */
export type DriverLibrary = Pick<NvmlLibrary, "has" | "call">;

/** Binds and calls functions of one libnvidia-ml. Not safe against a hanging or crashing driver: runs in a child process. */
export class NvmlLibrary {
  readonly #library: ReturnType<typeof koffi.load>;
  readonly #functions = new Map<string, NativeFunction | undefined>();

  /** Throws when the library cannot be loaded; the message names the file and the linker's reason. */
  constructor(path: string) {
    try {
      this.#library = koffi.load(path);
    } catch (error) {
      throw new Error(`Cannot load ${path}`, { cause: error });
    }
  }

  /** Whether the library exports the symbol. */
  has(name: string): boolean {
    return this.#bind(name, "") !== undefined;
  }

  /**
   * Calls a function and returns its nvmlReturn_t; FUNCTION_NOT_FOUND (13) when the library does not export it.
   * `shape` has a letter per parameter: d = handle by value, u = unsigned int, i = int, l = unsigned long long, s = string, p = buffer.
   */
  call(name: string, shape: string, ...args: Argument[]): number {
    return this.#bind(name, shape)?.(...args) ?? RC.functionNotFound;
  }

  #bind(name: string, shape: string): NativeFunction | undefined {
    const key = `${name} ${shape}`;
    if (this.#functions.has(key)) return this.#functions.get(key);
    const types = Array.from(shape, (letter) => PARAMETER_TYPES[letter] ?? POINTER);
    let bound: NativeFunction | undefined;
    try {
      bound = this.#library.func(name, "int", types) as NativeFunction;
    } catch {
      bound = undefined; // an older driver
    }
    this.#functions.set(key, bound);
    return bound;
  }
}

const PARAMETER_TYPES: Readonly<Record<string, string>> = {
  d: HANDLE,
  u: "uint32_t",
  i: "int",
  l: "uint64_t",
  s: "const char *",
  p: POINTER,
};

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/** Asks the kernel to kill this process when its parent dies, also in the middle of a call that hangs. Best effort. */
export function dieWithParent(): void {
  try {
    const prctl = koffi.load("libc.so.6").func("prctl", "int", ["int", "uint64_t", "uint64_t", "uint64_t", "uint64_t"]);
    (prctl as NativeFunction)(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  } catch {
    // without glibc the closing of the channel still ends the process between two calls
  }
}
