import { describe, expect, it } from "@jest/globals";
import { attribute, type Attribution, type AttributionInput } from "../src/attribution.ts";
import type { Gpu, GpuProcess, LoadedModel, NvmlReading, OllamaReading, Runner } from "../src/snapshot.ts";

const X = "a".repeat(64);
const Y = "b".repeat(64);

const gpu = (label: string, processes: readonly GpuProcess[] | undefined, extra: Partial<Gpu> = {}): Gpu => ({
  gpu: label,
  index: Number(label.split(":")[0]),
  uuid: `GPU-${label}`,
  up: true,
  vendor: "nvidia",
  ...(processes && { processes }),
  ...extra,
});
const nvml = (gpus: readonly Gpu[], boardCount = gpus.length): NvmlReading => ({ gpus, boardCount, callErrors: [] });
const uses = (pid: number, memoryBytes?: number, smUtilizationRatio?: number): GpuProcess => ({
  pid,
  kinds: ["compute"],
  ...(memoryBytes !== undefined && { memoryBytes }),
  ...(smUtilizationRatio !== undefined && { smUtilizationRatio }),
});

const process = (pid: number, extra: Partial<Runner>): Runner => ({
  pid,
  parentPid: 50,
  kind: "unknown",
  orphaned: false,
  ...extra,
});
const runner = (pid: number, extra: Partial<Runner> = {}): Runner =>
  process(pid, { kind: "blob", blobDigest: X, ...extra });
const named = (pid: number, modelName: string): Runner => process(pid, { kind: "name", modelName });
const unreadable = (pid: number, extra: Partial<Runner> = {}): Runner => process(pid, extra);
const table = (runners: readonly Runner[], others: readonly number[] = [], blind = false) => ({
  runners,
  ollamaPids: new Set([...runners.map(({ pid }) => pid), ...others]),
  blind,
});

const loaded = (name: string, blobDigest?: string, sizeVramBytes?: number): LoadedModel => ({
  name,
  ...(blobDigest !== undefined && { blobDigest }),
  ...(sizeVramBytes !== undefined && { sizeVramBytes }),
});
const reading = (models: readonly LoadedModel[]): OllamaReading => ({
  version: "0.33.2",
  loaded: models,
  loadedCount: models.length,
  dropped: 0,
});
const server = (name: string, models?: readonly LoadedModel[], local = true): AttributionInput["servers"][number] => ({
  identity: { server: name, host: name.split(":")[0] ?? "", port: Number(name.split(":")[1]), local },
  ...(models && { reading: reading(models) }),
});
const HOME = "127.0.0.1:11434";

const run = (input: Partial<AttributionInput>): Attribution =>
  attribute({ servers: [], details: new Map(), show: "ollama", ...input });
/** Method, vram by GPU and runner PIDs by `server model`. */
const summary = ({ models }: Attribution) =>
  Object.fromEntries(
    models.map(({ server: label, name, method, vram, runners, runnerUp }) => [
      `${label} ${name}`,
      {
        method,
        bytes: Object.fromEntries((vram ?? []).map((entry) => [entry.gpu, entry.bytes])),
        pids: (runners ?? []).map(({ pid }) => pid),
        runnerUp,
      },
    ]),
  );
const nothing = { method: "none", bytes: {}, pids: [] };
const loading = ({ servers }: Attribution) => servers.map(({ loadingCount }) => loadingCount);

describe("a model's memory", () => {
  it("is measured on each GPU its runner is listed on", () => {
    const result = run({
      nvml: nvml([gpu("0", [uses(7, 300, 0.25), uses(8, 50)]), gpu("1", [uses(7, 200, 0)]), gpu("2", [])]),
      servers: [server(HOME, [loaded("a:latest", X, 9)])],
      processes: table([runner(7)]),
    });
    expect(result.models[0]).toEqual({
      server: HOME,
      name: "a:latest",
      loaded: loaded("a:latest", X, 9),
      method: "pid",
      vram: [
        { gpu: "0", uuid: "GPU-0", bytes: 300, utilizationRatio: 0.25 },
        { gpu: "1", uuid: "GPU-1", bytes: 200, utilizationRatio: 0 },
      ],
      runners: [runner(7)],
      runnerUp: 1,
    });
  });

  it("sums the runners of one model and caps their utilisation", () => {
    const result = run({
      nvml: nvml([gpu("0", [uses(7, 300, 0.75), uses(8, 50, 0.5)])]),
      servers: [server(HOME, [loaded("a:latest", X)])],
      processes: table([runner(7), runner(8)]),
    });
    expect(result.models[0]?.vram).toEqual([{ gpu: "0", uuid: "GPU-0", bytes: 350, utilizationRatio: 1 }]);
  });

  it("counts for the MIG instance, not for its board as well", () => {
    const board = gpu("0", [uses(7, 300), uses(9, 20)], { migModeEnabled: 1, memoryUsedBytes: 1000 });
    const instance = gpu("0:1", [uses(7, 300)], { parentUuid: "GPU-0", memoryUsedBytes: 400 });
    const result = run({
      nvml: nvml([board, instance], 1),
      servers: [server(HOME, [loaded("a:latest", X, 5)])],
      processes: table([runner(7)]),
      show: "all",
    });
    expect(summary(result)[`${HOME} a:latest`]).toMatchObject({ method: "pid", bytes: { "0:1": 300 } });
    expect(result.owners).toEqual([
      { gpu: "0:1", uuid: "GPU-0:1", ollamaBytes: 300, otherBytes: 0, unattributedBytes: 100, orphanedBytes: 0 },
    ]);
    expect(result.processes.map(({ gpu: label, pid }) => [label, pid])).toEqual([
      ["0", 9],
      ["0:1", 7],
    ]);
  });

  it("goes to the name in /api/ps alone when an installed alias shares the blob", () => {
    const withAlias = {
      ...server(HOME),
      reading: { ...reading([loaded("b:latest", X)]), installed: [{ name: "b:latest" }, { name: "a:latest" }] },
    };
    const result = run({ nvml: nvml([gpu("0", [uses(7, 300)])]), servers: [withAlias], processes: table([runner(7)]) });
    expect(result.models.map(({ name }) => name)).toEqual(["a:latest", "b:latest"]);
    expect(result.models[0]).toEqual({ server: HOME, name: "a:latest", installed: { name: "a:latest" } });
    expect(summary(result)[`${HOME} b:latest`]).toMatchObject({ method: "pid", bytes: { "0": 300 } });
  });

  it("is given to neither of two loaded models on one blob", () => {
    const result = run({
      nvml: nvml([gpu("0", [uses(7, 300)])]),
      servers: [server(HOME, [loaded("a:latest", X), loaded("b:latest", X)])],
      processes: table([runner(7)]),
    });
    expect(summary(result)).toEqual({ [`${HOME} a:latest`]: nothing, [`${HOME} b:latest`]: nothing });
  });

  it("is empty for a model on the CPU and absent without a driver", () => {
    const input = { servers: [server(HOME, [loaded("a:latest", X, 0)])], processes: table([runner(7)]) };
    expect(run({ ...input, nvml: nvml([gpu("0", [])]) }).models[0]).toMatchObject({ method: "pid", vram: [] });
    expect(run(input).models[0]).not.toHaveProperty("vram");
  });
});

describe("two servers with the same blob", () => {
  const gpus = nvml([gpu("0", [uses(7, 300), uses(8, 200)])]);
  const on = (pid: number, parentPid: number, port?: number) =>
    runner(pid, { parentPid, ...(port !== undefined && { parentListenPorts: [port] }) });
  const bytesOf = (servers: AttributionInput["servers"], runners: readonly Runner[]) =>
    Object.values(summary(run({ nvml: gpus, servers, processes: table(runners) }))).map(({ bytes }) => bytes["0"]);
  const a = server(HOME, [loaded("a:latest", X)]);
  const other = server("127.0.0.1:11435", [loaded("b:latest", X)]);
  const remote = server("ollama:11434", [loaded("c:latest", X)], false);

  it.each<[string, AttributionInput["servers"], Runner[], (number | undefined)[]]>([
    ["each runner by its parent's port", [a, other], [on(7, 50, 11435), on(8, 51, 11434)], [200, 300]],
    ["a shared port to the server on this host", [remote, a], [on(7, 50, 11434)], [undefined, 300]],
    ["unknown ports to the only server on this host", [remote, a], [on(7, 50)], [undefined, 300]],
    ["unknown ports to none of two on this host", [a, other], [on(7, 50)], [undefined, undefined]],
    ["one of two by port, the other to none", [a, other], [on(7, 50, 11434), on(8, 51, 4)], [300, undefined]],
    ["only the monitored server's own", [a], [on(7, 50, 11434), on(8, 51, 11500)], [300]],
    ["a container's server behind a mapped port", [other], [on(7, 50, 11434)], [300]],
    ["a container name", [remote], [on(7, 50, 11434)], [300]],
  ])("give %s", (_, servers, runners, expected) => {
    expect(bytesOf(servers, runners)).toEqual(expected);
  });

  it("do not count a stranger's runner as loading, nor as a crashed model's", () => {
    const result = run({
      servers: [server(HOME, [loaded("a:latest", X), loaded("b:latest")])],
      processes: table([on(7, 50, 11434), on(8, 51, 11500)]),
    });
    expect(loading(result)).toEqual([0]);
    expect(summary(result)[`${HOME} b:latest`]).toEqual({ ...nothing, runnerUp: 0 });
  });

  it("become servers on this host when a runner was joined to them, now or before", () => {
    const onThisHost = (input: Partial<AttributionInput>) => run(input).servers.map((entry) => entry.onThisHost);
    expect(onThisHost({ servers: [remote], processes: table([on(7, 50, 11434)]) })).toEqual([true]);
    expect(onThisHost({ servers: [remote], processes: table([]) })).toEqual([false]);
    expect(onThisHost({ servers: [remote], processes: table([]), everJoined: new Set(["ollama:11434"]) })).toEqual([
      true,
    ]);
  });
});

describe("a runner without a digest", () => {
  const gpus = nvml([gpu("0", [uses(7, 300), uses(8, 200)])]);
  const of = (models: LoadedModel[], runners: Runner[]) =>
    summary(run({ nvml: gpus, servers: [server(HOME, models)], processes: table(runners) }));

  it("is joined by name, with or without a tag", () => {
    const result = of([loaded("qwen:latest"), loaded("hf.co/x/y:q4")], [named(7, "qwen"), named(8, "hf.co/x/y:q4")]);
    expect(result).toMatchObject({
      [`${HOME} qwen:latest`]: { method: "name", bytes: { "0": 300 } },
      [`${HOME} hf.co/x/y:q4`]: { method: "name", bytes: { "0": 200 } },
    });
  });

  it.each<[string, LoadedModel[], Runner[]]>([
    ["the runner's is unknown", [loaded("a:latest", X), loaded("b:latest", Y)], [runner(7), unreadable(8)]],
    ["the model's is unknown", [loaded("a:latest", X), loaded("b:latest")], [runner(7), runner(8, { blobDigest: Y })]],
  ])("is joined as the sole one left when %s", (_, models, runners) => {
    expect(of(models, runners)[`${HOME} b:latest`]).toEqual({
      method: "sole",
      bytes: { "0": 200 },
      pids: [8],
      runnerUp: 1,
    });
  });

  it("is left alone when two could be it, and then no model is called crashed", () => {
    expect(of([loaded("a:latest"), loaded("b:latest")], [unreadable(7)])).toEqual({
      [`${HOME} a:latest`]: nothing,
      [`${HOME} b:latest`]: nothing,
    });
    expect(of([loaded("a:latest")], [unreadable(7), unreadable(8)])).toEqual({ [`${HOME} a:latest`]: nothing });
  });

  it("belongs to a server by port, by its parent, or when there is no other server", () => {
    const both = (runners: Runner[]) =>
      summary(
        run({
          servers: [
            server(HOME, [loaded("a:latest")]),
            server("127.0.0.1:11435", [loaded("b:latest", X), loaded("c:latest")]),
          ],
          processes: table(runners),
        }),
      );
    const byPort = both([unreadable(8, { parentListenPorts: [11434] })]);
    expect(byPort[`${HOME} a:latest`]).toMatchObject({ method: "sole", pids: [8] });
    const byParent = both([runner(7, { parentPid: 51 }), unreadable(8, { parentPid: 51 })]);
    expect(byParent["127.0.0.1:11435 c:latest"]).toMatchObject({ method: "sole", pids: [8] });
    expect(both([unreadable(8)])[`${HOME} a:latest`]).toEqual(nothing);
  });
});

describe("loading and crashed models", () => {
  it("tell a runner that is still loading from one that crashed", () => {
    const result = run({
      servers: [server(HOME, [loaded("a:latest", X)])],
      processes: table([runner(7, { blobDigest: Y })]),
    });
    expect(loading(result)).toEqual([1]);
    expect(summary(result)[`${HOME} a:latest`]).toEqual({ ...nothing, runnerUp: 0 });
  });

  it.each<[string, Partial<AttributionInput>]>([
    ["the process table could not be read", {}],
    ["the exporter is blind", { processes: table([], [], true) }],
    [
      "the server is elsewhere",
      { servers: [server("far:11434", [loaded("a:latest", X)], false)], processes: table([]) },
    ],
  ])("are unknown when %s", (_, input) => {
    const result = run({ servers: [server(HOME, [loaded("a:latest", X)])], ...input });
    expect(loading(result)).toEqual([undefined]);
    expect(result.models[0]).not.toHaveProperty("runnerUp");
  });

  it("are unknown for a server that is down", () => {
    expect(run({ servers: [server(HOME)], processes: table([runner(7)]) }).servers).toEqual([
      { server: HOME, up: false, onThisHost: true },
    ]);
  });
});

describe("reported memory", () => {
  const servers = [server(HOME, [loaded("a:latest", X, 5)])];
  const processes = table([runner(7)]);

  it.each<[string, Gpu, Partial<AttributionInput>]>([
    ["the list cannot be read", gpu("0", undefined), { processes }],
    ["no process has memory", gpu("0", [uses(7), uses(9)]), { processes }],
    ["the exporter is blind", gpu("0", []), { processes: table([], [], true) }],
  ])("stands in when %s", (_, only, input) => {
    const [model] = run({ nvml: nvml([only]), servers, ...input }).models;
    expect(model).toMatchObject({ method: "reported", vram: [{ gpu: "0", uuid: "GPU-0", bytes: 5 }] });
  });

  it.each<[string, NvmlReading, AttributionInput["servers"]]>([
    ["with two boards", nvml([gpu("0", undefined)], 2), servers],
    ["in MIG mode", nvml([gpu("0", undefined, { migModeEnabled: 1 })]), servers],
    ["on a lost board", nvml([gpu("0", undefined, { up: false })]), servers],
    ["for a server elsewhere", nvml([gpu("0", undefined)]), [server("far:1", [loaded("b", Y, 5)], false)]],
    ["without size_vram", nvml([gpu("0", undefined)]), [server(HOME, [loaded("a:latest", X)])]],
    ["when other processes have memory", nvml([gpu("0", [uses(9, 1)])]), servers],
  ])("does not stand in %s", (_, reading, monitored) => {
    const [model] = run({ nvml: reading, servers: monitored, processes }).models;
    expect(model?.method).not.toBe("reported");
    expect(model?.vram ?? []).toEqual([]);
  });
});

describe("owners of a GPU's memory", () => {
  const orphan = runner(8, { orphaned: true });

  it("are Ollama, others and nobody known", () => {
    const result = run({
      nvml: nvml([gpu("0", [uses(7, 300), uses(8, 200), uses(9, 40), uses(10)], { memoryUsedBytes: 600 })]),
      servers: [server(HOME, [loaded("a:latest", X)])],
      processes: table([runner(7), orphan]),
    });
    expect(result.owners).toEqual([
      { gpu: "0", uuid: "GPU-0", ollamaBytes: 500, otherBytes: 40, unattributedBytes: 60, orphanedBytes: 200 },
    ]);
    expect(result.orphanedRunners).toBe(1);
    expect(summary(result)[`${HOME} a:latest`]).toMatchObject({ bytes: { "0": 300 }, pids: [7] });
    expect(loading(result)).toEqual([0]);
  });

  it("leave nothing unattributed when processes name more than is used, and nothing known when usage is unknown", () => {
    const gpus = [gpu("0", [uses(7, 300)], { memoryUsedBytes: 100 }), gpu("1", [])];
    expect(run({ nvml: nvml(gpus), processes: table([]) }).owners).toEqual([
      { gpu: "0", uuid: "GPU-0", ollamaBytes: 0, otherBytes: 300, unattributedBytes: 0, orphanedBytes: 0 },
      { gpu: "1", uuid: "GPU-1", ollamaBytes: 0, otherBytes: 0, orphanedBytes: 0 },
    ]);
  });

  it.each<[string, Gpu, Partial<AttributionInput>]>([
    ["without a process table", gpu("0", [uses(7, 1)]), {}],
    ["without a list", gpu("0", undefined), { processes: table([]) }],
    ["without memory per process", gpu("0", [uses(7)]), { processes: table([]) }],
    ["on a lost GPU", gpu("0", [uses(7, 1)], { up: false }), { processes: table([]) }],
  ])("are unknown %s", (_, only, input) => {
    expect(run({ nvml: nvml([only]), ...input }).owners).toEqual([]);
  });
});

describe("process entries", () => {
  const details = new Map([[7, { process: "ollama", containerId: "0123456789ab", user: "root" }]]);
  const gpus = nvml([gpu("0", [uses(9, 1), uses(7, 2, 0.5)]), gpu("1", [uses(7)])]);
  const entries = (show: AttributionInput["show"]) =>
    run({ nvml: gpus, processes: table([], [7]), details, show }).processes;
  const ofOllama = { pid: 7, process: "ollama", containerId: "0123456789ab", user: "root", owner: "ollama" };

  it("are those asked for, by GPU and PID", () => {
    expect(entries("none")).toEqual([]);
    expect(entries("ollama")).toEqual([
      { ...ofOllama, gpu: "0", memoryBytes: 2, smUtilizationRatio: 0.5 },
      { ...ofOllama, gpu: "1" },
    ]);
    expect(entries("all").map(({ gpu: label, pid }) => [label, pid])).toEqual([
      ["0", 7],
      ["0", 9],
      ["1", 7],
    ]);
    expect(entries("all")[1]).toEqual({
      gpu: "0",
      pid: 9,
      process: "",
      containerId: "",
      user: "",
      owner: "other",
      memoryBytes: 1,
    });
  });

  it("are 1,000 at most, Ollama's first", () => {
    const many = Array.from({ length: 1_200 }, (_, i) => uses(i + 1, 1));
    const result = run({ nvml: nvml([gpu("0", many)]), processes: table([], [1_100, 1_199]), show: "all" });
    expect(result.droppedProcesses).toBe(200);
    expect(result.processes).toHaveLength(1_000);
    expect(result.processes.slice(-3).map(({ pid }) => pid)).toEqual([998, 1_100, 1_199]);
  });
});

describe("a thousand runners that nobody lists", () => {
  it("are looked at a few times each, not once for every model", () => {
    let looks = 0;
    const counting = (pid: number): Runner => ({
      ...runner(pid),
      get blobDigest() {
        looks += 1;
        return pid.toString(16).padStart(64, "f");
      },
    });
    const runners = Array.from({ length: 1_000 }, (_, index) => counting(1_000 + index));
    const models = Array.from({ length: 1_000 }, (_, index) =>
      loaded(`m${index}`, index.toString(16).padStart(64, "0")),
    );
    const two = ["127.0.0.1:1", "127.0.0.1:2"].map((name) => server(name, models));
    const { servers } = run({ servers: two, processes: table(runners) });
    expect(servers).toHaveLength(2);
    expect(looks).toBeLessThanOrEqual(10_000);
  });
});
