// The fake NVIDIA driver for tests: everything a test needs, from one module.

import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { buildFakeNvml } from "./library.ts";
import { renderScenario, type Scenario } from "./scenario.ts";

export * from "./boards.ts";
export { buildFakeNvml, notALibrary, withoutSymbols, wrongArchitecture } from "./library.ts";
export * from "./scenario.ts";

/** The "hardware" of one test: a scenario file that a process under test reads through the fake library. */
export class FakeDriver {
  readonly library: string;
  readonly folder: string;
  /** For the environment of the process under test; LD_LIBRARY_PATH makes `libnvidia-ml.so.1` the fake. */
  readonly env: {
    readonly FAKE_NVML_SCENARIO: string;
    readonly FAKE_NVML_CALLS: string;
    readonly LD_LIBRARY_PATH: string;
  };
  #scenario: Scenario;
  #events: string[] = [];
  #revision = 0;

  constructor(scenario: Scenario = {}, library: string = buildFakeNvml()) {
    this.library = library;
    this.folder = mkdtempSync(join(tmpdir(), "fake-driver-"));
    this.env = {
      FAKE_NVML_SCENARIO: join(this.folder, "scenario.txt"),
      FAKE_NVML_CALLS: join(this.folder, "calls"),
      LD_LIBRARY_PATH: dirname(library),
    };
    this.#scenario = scenario;
    this.write(scenario);
  }

  get scenario(): Scenario {
    return this.#scenario;
  }

  /** Changes the hardware: the next call into the library sees it. */
  write(scenario: Scenario): void {
    this.#scenario = scenario;
    const file = this.env.FAKE_NVML_SCENARIO;
    const draft = `${file}.draft`;
    writeFileSync(draft, renderScenario(scenario) + this.#events.map((event) => `${event}\n`).join(""));
    // Two writes within one tick of the file system's clock may end up with the same size and even the same
    // inode; a modification time of our own keeps every revision distinct.
    const modified = 946_684_800 + ++this.#revision;
    utimesSync(draft, modified, modified);
    renameSync(draft, file);
  }

  /** Changes some of it: `driver.update({ calls: {} })`. */
  update(changes: Scenario): void {
    this.write({ ...this.#scenario, ...changes });
  }

  /** An XID error, delivered once to every event set that has registered for that GPU before. */
  addXid(gpuIndex: number, xid: number): void {
    const id = this.#events.length.toString();
    this.#events.push(`event.${id} = gpu ${gpuIndex} xid ${xid}`);
    this.write(this.#scenario);
  }

  /** How often each function was called since this driver was made, by all processes together; only those called. */
  calls(): Record<string, number> {
    const RECORD = 64;
    const NAME = 56;
    const counts: Record<string, number> = {};
    if (!existsSync(this.env.FAKE_NVML_CALLS)) return counts;
    const records = readFileSync(this.env.FAKE_NVML_CALLS);
    for (let at = 0; at + RECORD <= records.length; at += RECORD) {
      const name = records.toString("latin1", at, at + NAME).replace(/\0+$/, "");
      const calls = Number(records.readBigUInt64LE(at + NAME));
      if (calls > 0) counts[name] = calls;
    }
    return counts;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
