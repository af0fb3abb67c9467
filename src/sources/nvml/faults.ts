/** What a return code means for the reading, and what a user can do about it. */
import { RC, returnName } from "./abi.ts";

/** A call failed in a way that ends more than its own value. */
export class NvmlFault extends Error {
  override readonly name = "NvmlFault";
  readonly function: string;
  readonly code: number;

  constructor(functionName: string, code: number) {
    super(`${functionName}: ${returnName(code)} (${code})`);
    this.function = functionName;
    this.code = code;
  }

  /** The GPU itself is gone; the others are not concerned. */
  get losesGpu(): boolean {
    return this.code === RC.gpuIsLost || this.code === RC.resetRequired;
  }
}

/** Codes that end the whole reading wherever they come from. */
export const ENDS_READING: ReadonlySet<number> = new Set([
  RC.uninitialized,
  RC.driverNotLoaded,
  RC.libRmVersionMismatch,
]);

/** Codes by which a driver says that it will never answer this call on this device. */
export const UNSUPPORTED: ReadonlySet<number> = new Set([RC.notSupported, RC.functionNotFound, RC.deprecated]);

const REMEDIES: Readonly<Record<number, string>> = {
  4: "run the exporter as a user who may open /dev/nvidia*",
  9: "load the NVIDIA kernel module (nvidia-smi shows the same error)",
  12: "install the NVIDIA driver",
  15: "the GPU fell off the bus: reset it or reboot",
  16: "the GPU needs a reset: nvidia-smi --gpu-reset",
  17: "the container may have lost access to /dev/nvidia*: restart it",
  18: "the driver was upgraded while its kernel module was loaded: reload the module or reboot",
  999: "see the kernel log (dmesg) for NVRM messages",
};

/** `nvmlInit_v2: NVML_ERROR_DRIVER_NOT_LOADED (9); load the NVIDIA kernel module ...` */
export function explain(functionName: string, code: number): string {
  const remedy = REMEDIES[code];
  return `${functionName}: ${returnName(code)} (${code})${remedy === undefined ? "" : `; ${remedy}`}`;
}

/** What a user can do about a code, by its NVML name. */
export function remedyFor(codeName: string): string | undefined {
  return Object.entries(REMEDIES).find(([code]) => returnName(Number(code)) === codeName)?.[1];
}
