import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLogger } from "../../src/logger.ts";
import type { ProcessesReading, Runner } from "../../src/snapshot.ts";
import { ProcessesSource } from "../../src/sources/processes/source.ts";
import { DummyProcesses } from "../support/dummy-runner.ts";
import { recordedArguments } from "./proc-tree.ts";

let dummies: DummyProcesses;
beforeEach(() => {
  dummies = new DummyProcesses();
});
afterEach(async () => {
  await dummies.close();
});

const source = new ProcessesSource({ procfs: "/proc", timeoutMs: 5_000, clock: systemClock, logger: silentLogger });

async function read(): Promise<ProcessesReading> {
  const result = await source.read(new AbortController().signal);
  if (result.status !== "ok") throw new Error(result.reason);
  return result.value;
}

async function runnerOf({ pid }: { pid: number }): Promise<Runner | undefined> {
  return (await read()).runners.find((runner) => runner.pid === pid);
}

const LLAMA = recordedArguments("v0.24.0/runner-llama");
const LLAMA_SERVER = recordedArguments("v0.33.2/runner-llama-server-sha256-bbee37");

describe("real processes", () => {
  it("are recognised by the command lines of every generation", async () => {
    const blob = LLAMA.at(3) ?? "";
    const lines = [
      ["/tmp/ollama1/runners/cuda_v12/ollama_llama_server", "--model", blob, "--port", "1"],
      LLAMA,
      recordedArguments("v0.24.0/runner-ollama-engine"),
      LLAMA_SERVER,
      ["/usr/bin/ollama", "runner", "--mlx-engine", "--model", "qwen3:4b", "--port", "2"],
    ];
    const started = await Promise.all(lines.map((argv) => dummies.startRunner({ argv })));
    const decoy = await dummies.startRunner({ argv: ["/opt/llama.cpp/llama-server", "--model", blob, "--port", "3"] });
    const reading = await read();
    const kinds = started.map(({ pid }) => reading.runners.find((runner) => runner.pid === pid)?.kind);
    expect(kinds).toEqual(["blob", "blob", "blob", "blob", "name"]);
    expect(reading.ollamaPids.has(decoy.pid)).toBe(false);
  });

  it("know the ports of their server and their own times", async () => {
    const [first, second] = [await dummies.startServer(), await dummies.startServer()];
    const runner = await runnerOf(await dummies.startRunner({ argv: LLAMA, parent: first }));
    const twin = await runnerOf(await dummies.startRunner({ argv: LLAMA, parent: second }));
    expect(runner).toMatchObject({ parentPid: first.pid, parentListenPorts: [first.port], orphaned: false });
    expect(twin).toMatchObject({ parentPid: second.pid, parentListenPorts: [second.port], orphaned: false });
    expect(twin?.blobDigest).toBe(runner?.blobDigest);
    expect(Math.abs((runner?.startTimeSeconds ?? 0) - Date.now() / 1000)).toBeLessThan(60);
    expect(runner?.residentMemoryBytes).toBeGreaterThan(0);
    expect(runner?.cpuSeconds).toBeGreaterThanOrEqual(0);
  });

  it("become orphans when their server is killed", async () => {
    const server = await dummies.startServer();
    const started = await dummies.startRunner({ argv: LLAMA_SERVER, parent: server });
    await server.kill();
    expect(await runnerOf(started)).toMatchObject({ pid: started.pid, orphaned: true });
  });

  it("are gone after they were killed", async () => {
    const server = await dummies.startServer();
    const started = await dummies.startRunner({ argv: LLAMA_SERVER, parent: server });
    await dummies.kill(started);
    const reading = await read();
    expect(reading.ollamaPids.has(started.pid)).toBe(false);
    expect(reading.ollamaPids.has(server.pid)).toBe(true);
  });

  it("are described by name and user", async () => {
    const started = await dummies.startRunner({ argv: LLAMA_SERVER });
    const detail = (await source.describe([started.pid])).get(started.pid);
    expect(detail?.process).toBe("llama-server");
    expect(detail?.user).not.toBe("");
  });
});
