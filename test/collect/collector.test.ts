import { beforeEach, describe, expect, it } from "@jest/globals";
import { Collector, type CollectorSources, type ProcessTable } from "../../src/collect/collector.ts";
import { silentLogger } from "../../src/logger.ts";
import type { NvmlReading, OllamaReading, ProcessesReading, ServerIdentity, Snapshot } from "../../src/snapshot.ts";
import { failed, type Source, type SourceResult } from "../../src/sources/source.ts";
import { FakeClock, settle } from "../support/fake-clock.ts";

const identity: ServerIdentity = { server: "127.0.0.1:11434", host: "127.0.0.1", port: 11434, local: true };
const HEX = "ab".repeat(32);

const nvmlReading: NvmlReading = {
  boardCount: 1,
  callErrors: [{ function: "nvmlDeviceGetPowerUsage", code: "NVML_ERROR_UNKNOWN", count: 2 }],
  gpus: [
    {
      gpu: "0",
      index: 0,
      uuid: "GPU-0",
      up: true,
      vendor: "nvidia",
      memoryUsedBytes: 1_000,
      processes: [{ pid: 42, kinds: ["compute"], memoryBytes: 700 }],
    },
  ],
};
const ollamaReading: OllamaReading = {
  version: "0.33.2",
  loaded: [{ name: "m:latest", blobDigest: HEX }],
  installed: [],
  loadedCount: 1,
  installedCount: 0,
  dropped: 3,
};
const processesReading: ProcessesReading = {
  runners: [{ pid: 42, parentPid: 7, kind: "blob", blobDigest: HEX, orphaned: false }],
  ollamaPids: new Set([42]),
  blind: false,
};

/** A source that answers when the test lets it. */
class ManualSource<T> implements Source<T> {
  readonly name: "nvml" | "ollama" | "processes";
  readonly target: string;
  answer: (result: SourceResult<T>) => void = () => undefined;

  constructor(name: "nvml" | "ollama" | "processes", target = "local") {
    this.name = name;
    this.target = target;
  }

  read(): Promise<SourceResult<T>> {
    return new Promise((resolve) => {
      this.answer = resolve;
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

class ManualTable extends ManualSource<ProcessesReading> implements ProcessTable {
  describe(pids: readonly number[]) {
    return Promise.resolve(new Map(pids.map((pid) => [pid, { process: `p${pid}`, containerId: "", user: "ollama" }])));
  }
}

describe("Collector", () => {
  let clock: FakeClock;
  let nvml: ManualSource<NvmlReading>;
  let ollama: ManualSource<OllamaReading>;
  let processes: ManualTable;
  let collector: Collector;

  beforeEach(() => {
    clock = new FakeClock();
    nvml = new ManualSource("nvml");
    ollama = new ManualSource("ollama", identity.server);
    processes = new ManualTable("processes");
    const sources: CollectorSources = { nvml, ollama: [{ identity, source: ollama }], processes };
    collector = new Collector({ sources, showProcesses: "all", clock, logger: silentLogger });
  });

  async function collect(results: {
    nvml?: SourceResult<NvmlReading>;
    ollama?: SourceResult<OllamaReading>;
    processes?: SourceResult<ProcessesReading>;
  }): Promise<Snapshot> {
    const collection = collector.start(new AbortController().signal);
    nvml.answer(results.nvml ?? { status: "ok", value: nvmlReading });
    ollama.answer(results.ollama ?? { status: "ok", value: ollamaReading });
    processes.answer(results.processes ?? { status: "ok", value: processesReading });
    return collection.done;
  }

  const health = ({ collectors }: Snapshot, name: string) => collectors.find(({ collector: own }) => own === name);

  it("joins what the sources read into one snapshot", async () => {
    const snapshot = await collect({});
    expect(snapshot.models).toMatchObject([{ name: "m:latest", method: "pid", vram: [{ gpu: "0", bytes: 700 }] }]);
    expect(snapshot.processes).toMatchObject([{ pid: 42, process: "p42", owner: "ollama" }]);
    expect(snapshot.collectors.map(({ success }) => success)).toEqual([true, true, true]);
  });

  it("publishes the other sources when one fails", async () => {
    const snapshot = await collect({ ollama: failed("connect ECONNREFUSED") });
    expect(snapshot.gpus).toHaveLength(1);
    expect(snapshot.models).toEqual([]);
    expect(snapshot.servers).toMatchObject([{ server: identity.server, up: false }]);
    expect(health(snapshot, "ollama")).toMatchObject({ success: false, error: "connect ECONNREFUSED" });
  });

  it("counts every finished reading by its result", async () => {
    await collect({});
    await collect({ nvml: failed("hung", true) });
    const snapshot = await collect({ nvml: failed("init failed") });
    expect(health(snapshot, "nvml")?.collections).toEqual({ ok: 1, failed: 1, timeout: 1 });
  });

  it("keeps a degraded reading's data but not its success", async () => {
    const snapshot = await collect({ ollama: { status: "ok", value: ollamaReading, degraded: "/api/tags failed" } });
    expect(snapshot.servers).toMatchObject([{ up: true }]);
    expect(health(snapshot, "ollama")).toMatchObject({ success: false, error: "/api/tags failed" });
  });

  it("has no series for a source that is absent", async () => {
    const snapshot = await collect({ nvml: { status: "absent", reason: "no libnvidia-ml.so.1" } });
    expect(health(snapshot, "nvml")).toBeUndefined();
  });

  it("answers partially with what has settled, without counting the rest as finished", async () => {
    const collection = collector.start(new AbortController().signal);
    ollama.answer({ status: "ok", value: ollamaReading });
    processes.answer({ status: "ok", value: processesReading });
    await settle();
    await clock.advance(2_000);
    const partial = await collection.partial();
    expect(partial.gpus).toEqual([]);
    expect(partial.servers).toMatchObject([{ up: true }]);
    expect(health(partial, "nvml")).toMatchObject({
      success: false,
      durationSeconds: 2,
      collections: { ok: 0, failed: 0, timeout: 0 },
    });
    nvml.answer({ status: "ok", value: nvmlReading });
    expect((await collection.done).gpus).toHaveLength(1);
  });

  it("does not build a partial answer anew for every scrape whose deadline comes while the driver hangs", async () => {
    const collection = collector.start(new AbortController().signal);
    processes.answer({ status: "ok", value: processesReading });
    await settle();
    const first = await collection.partial();
    await clock.advance(999);
    expect(await collection.partial()).toBe(first);
    await clock.advance(1);
    const second = await collection.partial();
    expect(second).not.toBe(first);
    ollama.answer({ status: "ok", value: ollamaReading });
    await settle();
    expect((await collection.partial()).servers).toMatchObject([{ up: true }]);
  });

  it("does not count a load twice when a partial answer saw it first", async () => {
    await collect({ ollama: { status: "ok", value: { ...ollamaReading, loaded: [], loadedCount: 0 } } });
    const collection = collector.start(new AbortController().signal);
    ollama.answer({ status: "ok", value: ollamaReading });
    processes.answer({ status: "ok", value: processesReading });
    await settle();
    expect((await collection.partial()).transitions).toMatchObject([{ loads: 1, unloads: 0 }]);
    nvml.answer({ status: "ok", value: nvmlReading });
    expect((await collection.done).transitions).toMatchObject([{ loads: 1, unloads: 0 }]);
  });

  it("adds up driver call errors and dropped items over readings", async () => {
    await collect({});
    const snapshot = await collect({});
    expect(snapshot.nvmlCallErrors).toEqual([
      { function: "nvmlDeviceGetPowerUsage", code: "NVML_ERROR_UNKNOWN", count: 4 },
    ]);
    expect(snapshot.dropped).toEqual({ models: 6, processes: 0 });
  });

  it("turns a source that throws into a failed one", async () => {
    nvml.read = () => Promise.reject(new Error("a bug"));
    const snapshot = await collect({});
    expect(health(snapshot, "nvml")?.error).toContain("a bug");
    expect(snapshot.models).toHaveLength(1);
  });

  it("keeps the time of the last success while a source fails", async () => {
    await collect({});
    const at = clock.now() / 1000;
    await clock.advance(10_000);
    const snapshot = await collect({ nvml: failed("gone") });
    expect(health(snapshot, "nvml")?.lastSuccessTimestampSeconds).toBe(at);
  });
});
