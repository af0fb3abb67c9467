import { afterEach, describe, expect, it } from "@jest/globals";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { systemClock, type Clock } from "../../src/lib/clock.ts";
import { silentLogger } from "../../src/logger.ts";
import type { ProcessesReading, Runner } from "../../src/snapshot.ts";
import { ProcessesSource } from "../../src/sources/processes/source.ts";
import { ProcTree, type FakeProcess } from "./proc-tree.ts";

const HEX = "cd".repeat(32);
const SERVER: FakeProcess = { pid: 500, argv: ["/usr/bin/ollama", "serve"], listeners: { 9001: 11434 } };
const RUNNER: FakeProcess = {
  pid: 600,
  parentPid: 500,
  argv: ["/usr/bin/ollama", "runner", "--model", `/blobs/sha256-${HEX}`, "--port", "40000"],
};

let trees: ProcTree[] = [];
const plant = (...processes: FakeProcess[]): ProcTree => {
  const tree = new ProcTree(processes);
  trees.push(tree);
  return tree;
};
afterEach(() => {
  trees.forEach((tree) => {
    tree.close();
  });
  trees = [];
});

const warnings: string[] = [];
const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
const sourceOf = (procfs: string, clock: Clock = systemClock): ProcessesSource =>
  new ProcessesSource({ procfs, timeoutMs: 5_000, clock, logger });

async function readFrom(source: ProcessesSource): Promise<ProcessesReading> {
  const result = await source.read(new AbortController().signal);
  if (result.status !== "ok") throw new Error(result.reason);
  return result.value;
}
const read = (tree: ProcTree): Promise<ProcessesReading> => readFrom(sourceOf(tree.root));
const onlyRunner = async (tree: ProcTree): Promise<Runner | undefined> => (await read(tree)).runners[0];

describe("ProcessesSource.read", () => {
  it("finds one runner among 1,000 processes and lets others run every 100 of them", async () => {
    const tree = plant(SERVER, { ...RUNNER, cpuTicks: 1234, startTicks: 5050, residentKib: 2048 });
    // Of a stranger nothing but the command line may be read; links to one spare the disk.
    tree.write("stranger/cmdline", "/usr/bin/python3\0llama.py\0");
    for (let pid = 1000; pid < 1998; pid += 1) tree.link(String(pid), "stranger");
    let turns = 0;
    let watch = setImmediate(function turn() {
      turns += 1;
      watch = setImmediate(turn);
    });
    const reading = await read(tree);
    clearImmediate(watch);
    expect(reading).toEqual({
      blind: false,
      ollamaPids: new Set([500, 600]),
      runners: [
        {
          pid: 600,
          parentPid: 500,
          kind: "blob",
          blobDigest: HEX,
          port: 40000,
          orphaned: false,
          parentListenPorts: [11434],
          startTimeSeconds: 1_700_000_050.5,
          startTicks: 5_050,
          residentMemoryBytes: 2_097_152,
          cpuSeconds: 12.34,
        },
      ],
    });
    expect(turns).toBeGreaterThanOrEqual(10);
  }, 20_000);

  it("counts discoveries and servers as Ollama's but as no runners", async () => {
    const reading = await read(plant(SERVER, { pid: 7, argv: ["/usr/bin/ollama", "runner", "--port", "1"] }));
    expect(reading.runners).toEqual([]);
    expect(reading.ollamaPids).toEqual(new Set([7, 500]));
  });

  it("skips zombies and processes that vanish between two files", async () => {
    const tree = plant(
      { ...RUNNER, pid: 601, argv: [] },
      { ...RUNNER, pid: 602, state: "Z" },
      { ...RUNNER, pid: 603 },
      SERVER,
    );
    tree.remove("603/stat");
    tree.remove("603/status");
    tree.write("604/environ", "");
    expect((await read(tree)).runners).toEqual([]);
  });

  it("keeps a runner of which only the command line and the status can be read", async () => {
    const tree = plant(SERVER, RUNNER);
    tree.remove("600/stat");
    tree.remove("stat");
    tree.remove("500/fd");
    const runner = await onlyRunner(tree);
    expect(runner).toMatchObject({ pid: 600, parentPid: 500, orphaned: false, residentMemoryBytes: 4096 });
    expect(runner).not.toHaveProperty("cpuSeconds");
    expect(runner).not.toHaveProperty("startTimeSeconds");
    expect(runner).not.toHaveProperty("parentListenPorts");
  });

  it("says what to do when the table cannot be listed", async () => {
    const result = await sourceOf(join(plant().root, "nowhere")).read(new AbortController().signal);
    expect(result).toMatchObject({ status: "failed", timedOut: false });
    expect(result.status === "failed" && result.reason).toMatch(
      /Cannot read the process table .*nowhere.*--path\.procfs/,
    );
  });

  it("fails, and finds no process gone, when there were no descriptors to look with", () => {
    const script = join(import.meta.dirname, "../support/exhausted-table.ts");
    const env = { ...process.env, NODE_OPTIONS: "" };
    const { stdout } = spawnSync("prlimit", ["--nofile=64:64", process.execPath, script], { env, encoding: "utf8" });
    const [exhausted, after] = JSON.parse(stdout) as readonly unknown[];
    const reason = expect.stringContaining("The process table was not read as a whole: EMFILE") as unknown;
    expect(exhausted).toEqual({ status: "failed", timedOut: false, reason });
    expect(after).toBe("ok");
  });

  it("ends when its time is over or its signal aborts", async () => {
    const tree = plant(SERVER);
    let now = 0;
    const hurried: Clock = { ...systemClock, monotonic: () => (now += 6_000) };
    const late = await sourceOf(tree.root, hurried).read(new AbortController().signal);
    expect(late).toMatchObject({ status: "failed", timedOut: true });
    expect(await sourceOf(tree.root).read(AbortSignal.abort())).toMatchObject({ status: "failed", timedOut: true });
  });

  it("keeps a start time still while the kernel's boot time jitters", async () => {
    const tree = plant(SERVER, RUNNER);
    const source = sourceOf(tree.root);
    const starts: unknown[] = [];
    for (const bootTime of [1_700_000_000, 1_700_000_001, 1_700_000_100]) {
      tree.write("stat", `btime ${bootTime}\n`);
      starts.push((await readFrom(source)).runners[0]?.startTimeSeconds);
    }
    expect(starts).toEqual([1_700_000_000, 1_700_000_000, 1_700_000_100]);
  });

  it("remembers a parent's ports for 30 s, but never that it has none", async () => {
    const tree = plant({ ...SERVER, listeners: {} }, RUNNER);
    tree.write("500/fd/0", "");
    let now = 0;
    const source = sourceOf(tree.root, { ...systemClock, monotonic: () => now });
    const ports = async () => (await readFrom(source)).runners[0]?.parentListenPorts;
    expect(await ports()).toEqual([]);
    tree.remove("500");
    tree.add(SERVER);
    expect(await ports()).toEqual([11434]);
    tree.remove("500/fd");
    now = 29_999;
    expect(await ports()).toEqual([11434]);
    now = 30_000;
    expect(await ports()).toBeUndefined();
  });
});

describe("an orphaned runner", () => {
  const child = { ...RUNNER, session: 77 };
  it.each<[string, FakeProcess[], boolean]>([
    ["whose parent is not in the table", [{ ...child, parentPid: 4 }], true],
    [
      "whose parent is the machine's init",
      [
        { pid: 1, argv: ["/sbin/my-init"] },
        { ...child, parentPid: 1 },
      ],
      true,
    ],
    [
      "of a systemd user session",
      [
        { pid: 900, argv: ["/lib/systemd/systemd", "--user"] },
        { ...child, parentPid: 900 },
      ],
      true,
    ],
    [
      "whose parent is systemd with sockets of its own",
      [
        { pid: 1, argv: ["/lib/systemd/systemd"], listeners: { 5: 22 } },
        { ...child, parentPid: 1 },
      ],
      true,
    ],
    [
      "whose parent is a container's init",
      [
        { pid: 900, argv: ["/bin/bash"], namespacePids: [900, 1] },
        { ...child, parentPid: 900 },
      ],
      true,
    ],
    [
      "whose parent is a tini that was told to start the server",
      [
        { pid: 900, argv: ["tini", "--", "ollama", "serve"], namespacePids: [900, 1] },
        { ...child, parentPid: 900 },
      ],
      true,
    ],
    [
      "whose parent is an init that listens in a session of its own",
      [
        { pid: 1, argv: ["/agent"], listeners: { 5: 80 }, session: 1 },
        { ...child, parentPid: 1 },
      ],
      true,
    ],
  ])("%s counts", async (_, processes, orphaned) => {
    expect((await onlyRunner(plant(...processes)))?.orphaned).toBe(orphaned);
  });

  it.each<[string, FakeProcess[]]>([
    ["with a server", [SERVER, child]],
    ["with a server as process 1 of a container", [{ ...SERVER, namespacePids: [500, 1] }, child]],
    ["with a renamed server", [{ ...SERVER, argv: ["/opt/inference", "serve"], namespacePids: [500, 1] }, child]],
    [
      "with a renamed server that listens as process 1 of a container",
      [
        { ...SERVER, argv: ["/opt/inference"], namespacePids: [500, 1], session: 500 },
        { ...child, session: 500 },
      ],
    ],
    ["with an unknown living parent", [{ pid: 500, argv: ["/bin/bash"] }, child]],
    ["with a parent outside the namespace", [{ ...child, parentPid: 0 }]],
  ])("is none %s", async (_, processes) => {
    expect((await onlyRunner(plant(...processes)))?.orphaned).toBe(false);
  });
});

describe("the exporter's own namespace", () => {
  it.each([
    ["4026531836", "1", false, 0],
    ["4026532999", "1", true, 1],
    ["4026532999", "42", false, 1],
  ])("pid:[%s] as process %s is blind: %s", async (inode, self, blind, warned) => {
    warnings.length = 0;
    const tree = plant(SERVER, { pid: 42, argv: ["node"], parentPid: 40 }, { pid: 1, argv: ["node"], parentPid: 0 });
    tree.link("self", self);
    tree.link(`${self}/ns/pid`, `pid:[${inode}]`);
    const source = sourceOf(tree.root);
    expect((await readFrom(source)).blind).toBe(blind);
    await readFrom(source);
    expect(warnings).toHaveLength(warned);
    for (const warning of warnings) expect(warning).toMatch(/--pid=host.*hostPID: true/);
  });

  it("is blind under a container's init too", async () => {
    const tree = plant({ pid: 1, argv: ["/sbin/docker-init", "--", "node"], parentPid: 0 }, { pid: 7, argv: ["node"] });
    tree.link("self", "7");
    tree.link("7/ns/pid", "pid:[4026532999]");
    expect((await read(tree)).blind).toBe(true);
  });
});

describe("ProcessesSource.describe", () => {
  it("names the process, its container and its user", async () => {
    const cgroup = `0::/system.slice/docker-${"9".repeat(64)}.scope\n`;
    const tree = plant({ ...RUNNER, comm: "odd name", cgroup }, { pid: 700, argv: ["x"], uid: 4_000_000_001 });
    const details = await sourceOf(tree.root).describe([600, 700, 800]);
    expect([...details]).toEqual([
      [600, { process: "odd name", containerId: "999999999999", user: "root" }],
      [700, { process: "x", containerId: "", user: "4000000001" }],
      [800, { process: "", containerId: "", user: "" }],
    ]);
  });

  it("removes exactly one newline from a name", async () => {
    const tree = plant(RUNNER);
    tree.write("600/comm", "a\nb\n\n");
    expect((await sourceOf(tree.root).describe([600])).get(600)?.process).toBe("a\nb\n");
  });
});
