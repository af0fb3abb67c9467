/** What the system around the exporter does: no disk, no descriptors, no names, another time, no IPv4. The real process. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ExporterProcess, runCli, samplesOf } from "../support/exporter-process.ts";
import { FakeOllama } from "../support/fake-ollama.ts";
import { FakeDriver, h100, type Scenario } from "../support/nvml/fake-nvml.ts";
import { recovery, until } from "../support/recovery.ts";
import { limit, openFiles } from "../support/system.ts";
import { SystemFaults } from "../support/system-faults.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function ollama(host = "127.0.0.1"): Promise<{ fake: FakeOllama; address: string }> {
  const fake = new FakeOllama();
  fake.models = [{ name: "m:latest", loaded: { size: 9, sizeVram: 9 } }];
  closing.push(() => fake.close());
  return { fake, address: await fake.listenOn(host) };
}

function driver(scenario: Scenario = { gpus: [h100({ processes: [] })] }): FakeDriver {
  const made = new FakeDriver(scenario);
  closing.push(() => {
    made[Symbol.dispose]();
  });
  return made;
}

function faults(): SystemFaults {
  const made = new SystemFaults();
  closing.push(() => {
    made[Symbol.dispose]();
  });
  return made;
}

async function start(
  args: readonly string[],
  options: Parameters<typeof ExporterProcess.start>[1] = {},
): Promise<ExporterProcess> {
  const started = await ExporterProcess.start(["--cache.duration=0", "--retry.attempts=1", ...args], options);
  closing.push(() => started.stop("SIGKILL"));
  return started;
}

const up = (text: string): Record<string, number> => samplesOf(text, "ollama_up");

describe("a log that", () => {
  it("is on a full disk costs its lines, never a scrape", async () => {
    const { fake, address } = await ollama();
    const folder = mkdtempSync(join(tmpdir(), "full-disk-"));
    const full = openSync("/dev/full", "w");
    const socketPath = join(folder, "socket"); // the log, where a free port would be read, is lost
    const child = runCli(
      [
        ...["--gpu.backend=none", "--cache.duration=0", "--retry.attempts=1", `--ollama.host=${address}`],
        `--web.listen-address=unix:${socketPath}`,
      ],
      { stderr: full },
    );
    closing.push(() => {
      child.kill("SIGKILL");
      closeSync(full);
      rmSync(folder, { recursive: true });
    });
    const scrape = async (): Promise<string> => {
      const [response] = (await once(get({ socketPath, path: "/metrics" }), "response")) as [IncomingMessage];
      return (await response.setEncoding("utf8").toArray()).join("");
    };
    await until(() => existsSync(socketPath));
    fake.behaviours.set("/api/ps", (_, response) => void response.writeHead(500).end());
    expect(up(await scrape())).toEqual({ [`{server="${address}"}`]: 0 }); // which it logs
    fake.behaviours.clear();
    expect(up(await scrape())).toEqual({ [`{server="${address}"}`]: 1 });
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  it("nobody reads any more (EPIPE) costs its lines, never a scrape", async () => {
    const { fake, address } = await ollama();
    const exporter = await start(["--gpu.backend=none", `--ollama.host=${address}`]);
    exporter.child.stderr?.destroy();
    exporter.child.stdout?.destroy();
    fake.behaviours.set("/api/ps", (_, response) => void response.writeHead(500).end());
    expect(up(await exporter.scrape())).toEqual({ [`{server="${address}"}`]: 0 });
    fake.behaviours.clear();
    expect(up(await exporter.scrape())).toEqual({ [`{server="${address}"}`]: 1 });
    expect((await exporter.stop()).code).toBe(0);
  });
});

describe("an exporter without free descriptors", () => {
  it("says that it cannot read, gives no wrong answer, and leaks none", async () => {
    const { address } = await ollama();
    const fake = driver();
    const exporter = await start(
      [`--gpu.nvml-library=${fake.library}`, `--ollama.host=${address}`, "--web.max-requests=5"],
      { env: { ...fake.env } },
    );
    const pid = exporter.child.pid ?? 0;
    await recovery(exporter, "start", /^gpu_up\{.*\} 1$/m);
    const before = openFiles(pid);
    limit(pid, "nofile", before + 1);
    // Connections that are refused or cut are an answer too: the process lives.
    const answers = await Promise.all(Array.from({ length: 60 }, () => exporter.scrape().catch(() => "")));
    const failures = answers.filter((text) =>
      /collector_success\{collector="processes",target="local"\} 0$/m.test(text),
    );
    for (const text of failures) expect(text).not.toMatch(/^ollama_model_runner_up/m);
    expect(failures.length + answers.filter((text) => text === "").length).toBeGreaterThan(0);
    expect(exporter.child.exitCode).toBeNull();
    limit(pid, "nofile", 1_024);
    const { text } = await recovery(exporter, "no free descriptors", /^ollama_up\{.*\} 1$/m);
    expect(text).toMatch(/^gpu_up\{.*\} 1$/m);
    await until(() => openFiles(pid) <= before + 2);
  });
});

describe("a resolver that", () => {
  it.each([
    ["fails", "10s"],
    ["hangs", "2s"],
  ] as const)("%s costs the server it is asked for, no other one, and no shutdown", async (state, timeout) => {
    const { address } = await ollama();
    const port = address.split(":")[1] ?? "";
    const system = faults();
    system.setResolver(state);
    const named = Array.from({ length: 5 }, (_, index) => `s${index}.faulty.test:${port}`);
    const exporter = await start(
      [
        ...["--gpu.backend=none", `--ollama.timeout=${timeout}`],
        ...[...named, `localhost:${port}`].map((name) => `--ollama.host=${name}`),
      ],
      { env: system.env },
    );
    const local = `{server="localhost:${port}"}`;
    const down = Object.fromEntries(named.map((name) => [`{server="${name}"}`, 0]));
    expect(up(await exporter.scrape())).toEqual({ ...down, [local]: 1 });
    system.setResolver("works");
    await recovery(
      exporter,
      `a resolver that ${state}`,
      new RegExp(`^ollama_up\\{server="s4.faulty.test:${port}"\\} 1$`, "m"),
    );
    system.setResolver(state);
    await exporter.scrape({ "X-Prometheus-Scrape-Timeout-Seconds": "0.6" });
    const { code, ms } = await exporter.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(3_000);
  });
});

describe("an exporter where there is only IPv6", () => {
  it("listens there, reads a server there, and finds it on this host", async () => {
    const { address } = await ollama("::1");
    const exporter = await start(["--gpu.backend=none", `--ollama.host=http://${address}`], { listen: "[::1]:0" });
    expect(exporter.address).toMatch(/^\[::1\]:\d+$/);
    const text = await exporter.scrape();
    expect(up(text)).toEqual({ [`{server="${address}"}`]: 1 });
    expect(samplesOf(text, "ollama_models_loading")).toHaveProperty([`{server="${address}"}`]); // other tests' runners too
  });
});

describe("a wall clock that is set", () => {
  it("ahead by an hour and back by two freezes nothing, makes nothing run in circles, and costs no joule", async () => {
    const busy = (energy: number) => ({
      ...h100({ processes: [{ pid: 4_194_000, memory: 1 }], samples: [{ pid: 4_194_000, sm: 40 }] }),
      uuid: "GPU-c",
      energy,
    });
    const fake = driver({ gpus: [busy(1_000_000)] });
    const system = faults();
    const { fake: server, address } = await ollama();
    const exporter = await start(
      [
        ...[`--gpu.nvml-library=${fake.library}`, `--ollama.host=${address}`, "--processes=all", "--cache.duration=1h"],
        ...["--refresh.interval=50ms", "--energy.interval=20ms"],
      ],
      { env: { ...fake.env, ...system.env } },
    );
    const taken = (text: string): number =>
      samplesOf(text, "ollama_gpu_exporter_snapshot_timestamp_seconds")[""] ?? NaN;
    const start_ = taken((await recovery(exporter, "start", /^gpu_up\{.*\} 1$/m)).text);
    let energy = 1_000_000;
    for (const offset of [3_600, -3_600]) {
      system.setClock(offset);
      fake.update({ gpus: [busy((energy += 400_000))] });
      const asked = server.count("/api/ps");
      const tags = server.count("/api/tags");
      const begun = performance.now();
      await until(() => server.count("/api/ps") >= asked + 4);
      // Refreshes keep their interval, which is the monotonic clock's: neither none nor all at once.
      expect(performance.now() - begun).toBeGreaterThan(140);
      expect(server.count("/api/tags")).toBe(tags);
      const text = await exporter.scrape();
      expect(Math.abs(taken(text) - start_ - offset)).toBeLessThan(60);
      const successes = samplesOf(text, "ollama_gpu_exporter_collector_last_success_timestamp_seconds");
      expect(Object.keys(successes)).toHaveLength(3);
      for (const last of Object.values(successes)) expect(Math.abs(last - taken(text))).toBeLessThan(60);
      expect(samplesOf(text, "gpu_process_sm_utilization_ratio")).toEqual({
        '{gpu="0",pid="4194000",process=""}': 0.4,
      });
      const joules = Object.values(samplesOf(text, "gpu_attributed_energy_joules_total"));
      expect(joules.reduce((a, b) => a + b)).toBe((energy - 1_000_000) / 1000);
    }
  });
});

describe("a status that meets a resolver that hangs", () => {
  it("prints what there is and ends", async () => {
    const system = faults();
    system.setResolver("hangs");
    const child = runCli(
      ["status", "--gpu.backend=none", "--ollama.host=s.faulty.test", "--ollama.timeout=200ms", "--retry.attempts=1"],
      { env: system.env },
    );
    closing.push(() => child.kill("SIGKILL"));
    let out = "";
    child.stdout?.on("data", (data: Buffer) => (out += data.toString()));
    const [code] = (await once(child, "exit")) as [number | null];
    expect(code).toBe(0);
    expect(out).toContain("STATUS AS OF");
  });
});
