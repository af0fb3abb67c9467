/**
 * Measures the built exporter on fake hardware: `npm run bench` prints a table, `-- --write` also puts it into
 * docs/performance.md. Needs a C compiler and vegeta (test/real/provision.sh vegeta). Timings on a shared machine are noisy:
 * what counts is the ratio to the bare server measured in the same run.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { availableParallelism, homedir, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { DummyProcesses } from "../test/support/dummy-runner.ts";
import { ExporterProcess } from "../test/support/exporter-process.ts";
import { FakeOllama } from "../test/support/fake-ollama.ts";
import { FakeRunner } from "../test/support/fake-runner.ts";
import { FakeDriver, h100 } from "../test/support/nvml/fake-nvml.ts";
import { CpuMeter, median, pssMb, sum } from "./processes.ts";

const GPUS = 8;
const LOADED = 10;
const INSTALLED = 50;
const PROCESSES = 40;
const RATE = 50;
const REQUESTS = 2_000;
const CPU_SECONDS = 60;
const CLI = join(import.meta.dirname, "../dist/cli.js");
const VEGETA = join(process.env.TOOLS_DIR ?? join(homedir(), ".cache/ollama-gpu-exporter-tools"), "bin/vegeta");

interface Row {
  readonly what: string;
  readonly target: string;
  readonly measured: string;
  /** Absent without a target. */
  readonly met?: boolean;
}

if (!existsSync(VEGETA)) throw new Error("vegeta is missing: run bash test/real/provision.sh vegeta");

const processes = new DummyProcesses();
const ollama = new FakeOllama();
const runners = Array.from({ length: LOADED }, () => new FakeRunner());
const hexOf = (index: number): string => index.toString(16).padStart(2, "0").repeat(32);

async function hardware(): Promise<FakeDriver> {
  const server = await processes.startServer();
  const pids: number[] = [];
  for (const [index, runner] of runners.entries()) {
    await runner.listen();
    pids.push((await processes.startRunner({ argv: runner.argv(hexOf(index)), parent: server })).pid);
  }
  ollama.models = Array.from({ length: INSTALLED }, (_, index) => ({
    name: `model-${index}:latest`,
    blob: hexOf(index),
    ...(index < LOADED && { loaded: { size: 9e9, sizeVram: 8e9 } }),
  }));
  const others = Array.from({ length: PROCESSES - LOADED }, (_, index) => 4_000_000 + index);
  const listed = [...pids, ...others];
  return new FakeDriver({
    driverVersion: "570.86.15",
    cudaVersion: 13000,
    gpus: Array.from({ length: GPUS }, (_, gpu) =>
      h100({
        uuid: `GPU-${gpu}`,
        processes: listed
          .filter((_, index) => index % GPUS === gpu)
          .map((pid) => ({ pid, kind: "compute", memory: 1e9 })),
      }),
    ),
  });
}

async function start(driver: FakeDriver, address: string, ...args: readonly string[]): Promise<ExporterProcess> {
  return ExporterProcess.start([`--gpu.nvml-library=${driver.library}`, `--ollama.host=${address}`, ...args], {
    env: { ...driver.env },
    cli: CLI,
  });
}

/** p50 and p99 in ms of new connections at a steady rate; unzipped, for the bare server's bytes are. */
async function attack(url: string): Promise<{ readonly p50: number; readonly p99: number }> {
  const seconds = REQUESTS / RATE;
  const command = `echo "GET ${url}" | "${VEGETA}" attack -rate ${RATE} -duration ${seconds}s -keepalive=false -header "Accept-Encoding: identity" | "${VEGETA}" report -type=json`;
  const child = spawn("sh", ["-c", command], { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (data: Buffer) => (out += data.toString()));
  await once(child, "exit");
  const { latencies, success } = JSON.parse(out) as { latencies: Record<"50th" | "99th", number>; success: number };
  if (success !== 1) throw new Error(`only ${success} of the requests succeeded`);
  return { p50: latencies["50th"] / 1e6, p99: latencies["99th"] / 1e6 };
}

/** Scrapes the exporter and a bare server with the same bytes in the same minute, in turn. */
async function cachedScrapes(exporter: ExporterProcess): Promise<readonly Row[]> {
  const body = await exporter.scrape();
  const bare = spawn(process.execPath, ["-e", BARE_SERVER], { stdio: ["pipe", "pipe", "inherit"] });
  bare.stdin.end(body);
  const [port] = (await once(bare.stdout, "data")) as [Buffer];
  const other = await attack(`http://127.0.0.1:${port.toString().trim()}/metrics`);
  const own = await attack(exporter.url("/metrics"));
  bare.kill();
  const row = (name: "p50" | "p99", most: number): Row => ({
    what: `cached scrape ${name}, ${REQUESTS} new connections at ${RATE}/s, ${body.length} bytes`,
    target: `<= ${most} x bare server`,
    measured: `${own[name].toFixed(2)} ms; bare ${other[name].toFixed(2)} ms; ${(own[name] / other[name]).toFixed(2)} x`,
    met: own[name] <= most * other[name],
  });
  return [row("p50", 1.3), row("p99", 2)];
}

const BARE_SERVER = `const b=require("fs").readFileSync(0);const s=require("http").createServer((q,r)=>{r.writeHead(200,{"Content-Type":"text/plain; version=0.0.4; charset=utf-8","Content-Length":b.length});r.end(b)});s.listen(0,"127.0.0.1",()=>console.log(s.address().port))`;

/** Fresh readings with and without asking the runners, in turn. */
async function freshReadings(driver: FakeDriver, address: string): Promise<readonly Row[]> {
  const ROUNDS = 400;
  const exporters = [
    await start(driver, address, "--cache.duration=0"),
    await start(driver, address, "--cache.duration=0", "--ollama.runner-metrics=off"),
  ];
  const total = (): number => sum(Object.values(driver.calls()));
  for (const exporter of exporters) await exporter.scrape();
  const before = total();
  const times = exporters.map((): number[] => []);
  const meters = exporters.map(({ child }) => new CpuMeter(child.pid ?? 0));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, exporter] of exporters.entries()) {
      const startedAt = performance.now();
      await exporter.scrape();
      times[index]?.push(performance.now() - startedAt);
    }
  }
  const calls = (total() - before) / ROUNDS / GPUS / exporters.length;
  const [cpuMs = NaN, cpuOffMs = NaN] = meters.map((meter) => (meter.seconds() / ROUNDS) * 1000);
  for (const exporter of exporters) await exporter.stop();
  const [p50 = NaN, p50Off = NaN] = times.map(median);
  return [
    {
      what: `fresh reading, joined, rendered and served, p50 of ${ROUNDS}, ${GPUS} GPUs, ${LOADED} of ${INSTALLED} models`,
      target: "<= 8 ms of own time",
      measured: `${p50.toFixed(1)} ms until the client has it; ${cpuMs.toFixed(1)} ms CPU of both processes`,
      met: p50 <= 8,
    },
    {
      what: `of that, asking ${LOADED} runners for slots and metrics (against --ollama.runner-metrics=off, in turn)`,
      target: "",
      measured: `${(p50 - p50Off).toFixed(1)} ms; ${(cpuMs - cpuOffMs).toFixed(1)} ms CPU`,
    },
    { what: "driver calls per GPU and reading", target: "<= 60", measured: calls.toFixed(1), met: calls <= 60 },
  ];
}

async function startToReady(driver: FakeDriver, address: string): Promise<Row> {
  const times: number[] = [];
  for (let round = 0; round < 5; round++) {
    const startedAt = performance.now();
    const exporter = await start(driver, address);
    while ((await fetch(exporter.url("/-/ready"))).status !== 200) await delay(5);
    times.push(performance.now() - startedAt);
    await exporter.stop();
  }
  const ms = median(times);
  return {
    what: "start to ready, median of 5",
    target: "<= 800 ms",
    measured: `${ms.toFixed(0)} ms`,
    met: ms <= 800,
  };
}

/** Two exporters side by side, of which one takes no energy samples. */
async function idleCost(driver: FakeDriver, address: string): Promise<readonly Row[]> {
  const exporters = [await start(driver, address), await start(driver, address, "--energy.interval=0")];
  for (const exporter of exporters) await exporter.scrape();
  await delay(5_000); // the start is not counted
  const meters = exporters.map(({ child }) => new CpuMeter(child.pid ?? 0));
  for (let elapsed = 0; elapsed < CPU_SECONDS; elapsed += 15) {
    for (const exporter of exporters) await exporter.scrape();
    await delay(15_000);
  }
  const [share = NaN, without = NaN] = meters.map((meter) => (meter.seconds() / CPU_SECONDS) * 100);
  const pss = meters[0]?.pids.map(pssMb) ?? [];
  for (const exporter of exporters) await exporter.stop();
  return [
    {
      what: "CPU of both processes at one scrape per 15 s",
      target: "<= 0.5 % of a core",
      measured: `${share.toFixed(2)} %`,
      met: share <= 0.5,
    },
    {
      what: `of that, sampling energy of ${GPUS} GPUs once a second (against --energy.interval=0, side by side)`,
      target: "",
      measured: `${(share - without).toFixed(2)} %`,
    },
    {
      what: "PSS of parent + child",
      target: "<= 120 MB",
      measured: `${sum(pss).toFixed(0)} MB (${pss.map((mb) => mb.toFixed(0)).join(" + ")})`,
      met: sum(pss) <= 120,
    },
  ];
}

/** Every process is looked at in each reading, and others' work shows in every time: both are said beside the figures. */
const setting = `${readdirSync("/proc").filter((name) => /^\d+$/.test(name)).length} in the process table before, load average ${loadavg()[0]?.toFixed(1) ?? "unknown"}`;
const driver = await hardware();
const address = await ollama.listen();
const rows: Row[] = [];
try {
  rows.push(await startToReady(driver, address));
  rows.push(...(await freshReadings(driver, address)));
  rows.push(...(await idleCost(driver, address)));
  const exporter = await start(driver, address, "--cache.duration=1h");
  rows.push(...(await cachedScrapes(exporter)));
  await exporter.stop();
} finally {
  await processes.close();
  await ollama.close();
  for (const runner of runners) await runner.close();
  driver[Symbol.dispose]();
}
const table = [
  "| what | target | measured | |",
  "|---|---|---|---|",
  ...rows.map(
    ({ what, target, measured, met }) =>
      `| ${what} | ${target} | ${measured} | ${met === undefined ? "" : met ? "met" : "missed"} |`,
  ),
].join("\n");
const otlp = execFileSync(process.execPath, [join(import.meta.dirname, "otlp.ts")], { encoding: "utf8" }).trim();
console.log(`${table}\n\n${otlp}`);
const PROFILE = `Where a fresh reading goes, by CPU profile of both processes: the worker's driver calls and its message about 3 ms, files of
/proc 2 ms (half of them to be sure that each runner still is the one whose port is asked), twenty connections to ten runners
and those to Ollama 3 ms, building and rendering about 1,150 series 3.5 ms, garbage collection 1.5 ms, gzip and the client
the rest. It happens once per cache duration, whoever asks. \`--energy.interval=5s\` or 0 and \`--ollama.runner-metrics=off\` give
their parts back. The machine is used by others too: figures of one run are to be compared with each other only.`;
const OTLP = `One push of synthetic families to a receiver on the same machine (\`node bench/otlp.ts\`), beside the same series by the
SDK's observable instruments, which moreover never forget a series.`;
if (process.argv.includes("--write")) {
  const machine = `${availableParallelism()} cores, ${Math.round(totalmem() / 1024 ** 3)} GB, shared virtual machine, Node ${process.version}, ${execFileSync("uname", ["-m"], { encoding: "utf8" }).trim()}, ${setting}`;
  const file = join(import.meta.dirname, "../docs/performance.md");
  const text = `# Performance\n\nWritten by \`npm run bench -- --write\` on ${new Date().toISOString().slice(0, 10)}: ${machine}. Fake hardware: ${GPUS} GPUs,\n${LOADED} loaded of ${INSTALLED} installed models, ${PROCESSES} GPU processes, so the driver's own time is not in it. The bare server is a Node http\nserver that writes the same bytes, measured in the same run.\n\n${table}\n\n${PROFILE}\n\n## OTLP\n\n${OTLP}\n\n${otlp}\n`;
  writeFileSync(file, text);
}
