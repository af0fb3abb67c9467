import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const RESOLVER = { works: 0n, fails: 1n, hangs: 2n } as const;

/** The wall clock and the resolver of a process that is started with `env`: see system-faults.c. */
export class SystemFaults {
  readonly #folder = mkdtempSync(join(tmpdir(), "system-faults-"));
  readonly #file: number;
  readonly env: { readonly LD_PRELOAD: string; readonly SYSTEM_FAULTS: string };

  constructor() {
    this.env = { LD_PRELOAD: join(this.#folder, "system-faults.so"), SYSTEM_FAULTS: join(this.#folder, "state") };
    const source = join(import.meta.dirname, "system-faults.c");
    execFileSync("cc", ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", this.env.LD_PRELOAD, source]);
    this.#file = openSync(this.env.SYSTEM_FAULTS, "w");
    this.setClock(0);
    this.setResolver("works");
  }

  /** Seconds beside the true time. */
  setClock(offsetSeconds: number): void {
    this.#write(0, BigInt(offsetSeconds));
  }

  /** For every name below .faulty.test. */
  setResolver(state: keyof typeof RESOLVER): void {
    this.#write(8, RESOLVER[state]);
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
    rmSync(this.#folder, { recursive: true });
  }

  #write(position: number, value: bigint): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(value);
    writeSync(this.#file, bytes, 0, 8, position);
  }
}
