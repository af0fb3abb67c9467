/** One run: the machine, the exporter, its scrapers and its receiver; rounds of faults; and the end by SIGTERM. */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ExporterProcess } from "../../test/support/exporter-process.ts";
import { FakeOtlp, metricsOf, ok } from "../../test/support/fake-otlp.ts";
import { type Fault, FAULTS, type FaultContext } from "./faults.ts";
import { Judge } from "./judge.ts";
import { Problems } from "./problems.ts";
import { Random } from "../random.ts";
import { reportOf } from "./report.ts";
import { childrenOf, type Sample, sampleOf, startOf } from "./resources.ts";
import { ask, Scrapers } from "./scraper.ts";
import { World } from "./world.ts";

const CLI = join(import.meta.dirname, "../../dist/cli.js");
/**
 * V8 doubles its young generation up to 128 MB while many objects are made, and glibc keeps what has been freed: for most of an hour
 * under this load the process only grows into both, and a leak would hide in that. So both are kept small here.
 */
const NO_SLACK = {
  NODE_OPTIONS: "--max-semi-space-size=16",
  MALLOC_ARENA_MAX: "2",
  MALLOC_MMAP_THRESHOLD_: "65536",
  MALLOC_TRIM_THRESHOLD_: "131072",
};
/** Paths that are asked once a second beside the scrapes. */
const OTHER_PATHS = ["/", "/-/healthy", "/-/ready", "/api/v1/status", "/api/ollama/status"];

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
}

/** What one kind of fault did to the exporter. */
export interface FaultTally {
  times: number;
  readonly recoverySeconds: number[];
}

export class Soak {
  readonly #options: SoakOptions;
  readonly #problems = new Problems();
  readonly #world: World;
  readonly #judge: Judge;
  readonly #receiver = new FakeOtlp();
  readonly #random: Random;
  readonly #tallies = new Map<string, FaultTally>();
  readonly #samples: Sample[] = [];
  /** Every worker there has been, with when it started. */
  readonly #workers = new Map<number, string>();
  readonly #startedAtMs = performance.now();
  #pushes = { count: 0, lastOkAtMs: 0, points: 0 };
  #bag: Fault[] = [];
  #ending = false;
  #secondsOfMany = 0;

  constructor(options: SoakOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#world = new World({ lifetimeSeconds: options.minutes * 60 + 600 });
    this.#judge = new Judge(this.#world, this.#problems);
  }

  async run(): Promise<{ readonly report: string; readonly failures: readonly string[] }> {
    await this.#world.start();
    const exporter = await this.#startExporter();
    this.#judge.reason = () => exporter.stderr.findLast((line) => line.includes("collector failed")) ?? "";
    const scrapers = new Scrapers(exporter.url(""), this.#judge, this.#problems);
    const ticking = setInterval(() => {
      void this.#everySecond(exporter);
    }, 1000);
    for (const signal of ["SIGINT", "SIGTERM"] as const)
      process.once(signal, () => {
        void this.#close(exporter).then(() => process.exit(130));
      });
    try {
      const templates = await this.#learn(exporter);
      scrapers.start();
      await this.#rounds(exporter, scrapers);
      const ending = await this.#end(exporter, scrapers);
      const { minutes, seed } = this.#options;
      return reportOf({
        ...{ minutes, seed, templates, ending, scrapers },
        ...{ judge: this.#judge, problems: this.#problems, samples: this.#samples, tallies: this.#tallies },
        pushes: this.#pushes,
        workers: this.#workers.size,
        faults: FAULTS,
      });
    } finally {
      clearInterval(ticking);
      await this.#close(exporter);
    }
  }

  async #close(exporter: ExporterProcess): Promise<void> {
    await exporter.stop("SIGKILL");
    await this.#receiver.close();
    await this.#world.close();
  }

  async #startExporter(): Promise<ExporterProcess> {
    const otlp = await this.#receiver.listen();
    this.#receiver.answer = (response) => {
      this.#pushes.lastOkAtMs = Date.now();
      ok(response);
    };
    const { driver, addresses } = this.#world;
    return ExporterProcess.start(
      [
        ...addresses.map((address, index) => `--ollama.host=soak${index}=http://${address}`),
        ...[`--gpu.nvml-library=${driver.library}`, "--gpu.timeout=2s", "--ollama.timeout=2s", "--cache.duration=1s"],
        ...[`--otlp.endpoint=${otlp}`, "--otlp.protocol=http/json", "--otlp.interval=1s", "--ollama.tags-interval=5s"],
      ],
      { env: { ...driver.env, ...NO_SLACK }, cli: CLI },
    );
  }

  /** What is right, from an exporter that has been left alone for ten seconds. */
  async #learn(exporter: ExporterProcess): Promise<string> {
    await this.#world.declare(true);
    for (let second = 0; second < 10; second++) {
      await delay(1000);
      await exporter.scrape();
    }
    const verdict = this.#judge.judge({ text: await exporter.scrape(), openMetrics: false, otel: false });
    if (!verdict) throw new Error("the first body does not parse");
    return this.#judge.learn(verdict);
  }

  async #rounds(exporter: ExporterProcess, scrapers: Scrapers): Promise<void> {
    const until = performance.now() + this.#options.minutes * 60_000;
    const context: FaultContext = {
      ...{ world: this.#world, receiver: this.#receiver, random: this.#random },
      worker: () => childrenOf(exporter.child.pid ?? 0)[0],
      crowd: (requests) => scrapers.crowd(requests),
    };
    while (performance.now() < until) {
      await this.#moveModels();
      await delay(this.#random.between(3000, 5000));
      await this.#world.declare(false);
      const faults = this.#nextFaults();
      await Promise.all(faults.map((fault) => this.#inflict(fault, context)));
      await this.#recover(faults);
      await this.#world.declare(true);
    }
    await delay(2000);
  }

  /** One or two models come or go. */
  async #moveModels(): Promise<void> {
    const moving = this.#random.shuffled(this.#world.models).slice(0, this.#random.of([1, 2]));
    for (const { name, loaded } of moving) await (loaded ? this.#world.unload(name) : this.#world.load(name));
  }

  /** One or two of different groups; every kind comes once before any comes again. */
  #nextFaults(): readonly Fault[] {
    if (this.#bag.length === 0) this.#bag = this.#random.shuffled(FAULTS);
    const first = this.#bag.shift();
    if (!first) return [];
    const second = this.#bag.findIndex(({ group }) => group !== first.group);
    return second === -1 || this.#random.next() < 0.3 ? [first] : [first, ...this.#bag.splice(second, 1)];
  }

  /** Breaks it for a while. */
  async #inflict(fault: Fault, context: FaultContext): Promise<void> {
    this.#tallyOf(fault).times += 1;
    const hold = this.#random.between(...fault.holdSeconds) * 1000;
    const mend = await fault.begin(context);
    await delay(hold);
    await mend();
  }

  /** Waits until nothing is left of these faults: they end together, so what the slowest may take counts. */
  async #recover(faults: readonly Fault[]): Promise<void> {
    const mendedAtMs = Date.now();
    const allowedSeconds = Math.max(...faults.map(({ recoverySeconds }) => recoverySeconds));
    const isWell = (): boolean => this.#pushes.lastOkAtMs > mendedAtMs && this.#judge.wellAtMs > mendedAtMs;
    while (!isWell()) {
      if (Date.now() - mendedAtMs > allowedSeconds * 1000) {
        const names = faults.map(({ name }) => name).join(" and ");
        this.#problems.add("no recovery", `${names}: not well ${allowedSeconds} s after it was mended`);
        return;
      }
      await delay(50);
    }
    for (const fault of faults) this.#tallyOf(fault).recoverySeconds.push((Date.now() - mendedAtMs) / 1000);
  }

  #tallyOf({ name }: Fault): FaultTally {
    const tally = this.#tallies.get(name) ?? { times: 0, recoverySeconds: [] };
    this.#tallies.set(name, tally);
    return tally;
  }

  async #everySecond(exporter: ExporterProcess): Promise<void> {
    this.#world.tick();
    this.#takePushes();
    const pid = exporter.child.pid ?? 0;
    if (exporter.child.exitCode !== null || exporter.child.signalCode !== null) return;
    const children = childrenOf(pid);
    for (const child of children) this.#workers.set(child, startOf(child) ?? "");
    this.#secondsOfMany = children.length > 1 ? this.#secondsOfMany + 1 : 0;
    if (this.#secondsOfMany === 10) this.#problems.add("more than one worker for ten seconds", children.join(", "));
    const atSeconds = (performance.now() - this.#startedAtMs) / 1000;
    const sample = sampleOf(pid, { atSeconds, oldMb: this.#judge.oldMb });
    if (sample) this.#note(sample);
    const path = this.#random.of(OTHER_PATHS);
    const answer = await ask(exporter.url(path), {}).catch(() => undefined);
    if (!this.#ending && answer?.status !== 200)
      this.#problems.add("unexpected status", `${path}: ${answer?.status ?? 0}`);
  }

  #note(sample: Sample): void {
    const last = this.#samples.at(-1)?.atSeconds ?? 0;
    this.#samples.push(sample);
    if (Math.floor(last / 30) === Math.floor(sample.atSeconds / 30)) return;
    const { atSeconds, pssMb, oldMb, descriptors } = sample;
    console.log(
      `at ${atSeconds.toFixed(0)} s: PSS ${pssMb.toFixed(1)} MB, old generation ${oldMb.toFixed(1)} MB, ${descriptors} descriptors, ${this.#judge.compared} bodies compared`,
    );
  }

  #takePushes(): void {
    for (const push of this.#receiver.pushes.splice(0)) {
      const seen = new Set<string>();
      for (const { name, gauge, sum } of metricsOf(push)) {
        for (const { attributes } of gauge?.dataPoints ?? sum?.dataPoints ?? []) {
          const labels = attributes.map(({ key, value }) => `${key}=${value.stringValue ?? ""}`).sort();
          const key = `${name}{${labels.join()}}`;
          if (seen.has(key)) this.#problems.add("a push has a duplicate", key);
          seen.add(key);
        }
      }
      this.#pushes.count += 1;
      this.#pushes.points = seen.size;
      if (seen.size === 0) this.#problems.add("an empty push", push.path);
    }
  }

  /** SIGTERM while scrapes run and the driver hangs. */
  async #end(
    exporter: ExporterProcess,
    scrapers: Scrapers,
  ): Promise<{ readonly code: number | null; readonly ms: number }> {
    const log = exporter.stderr.filter((line) => line.includes("level=error"));
    for (const line of log) this.#problems.add("the exporter logged an error", line);
    await this.#world.declare(false);
    await this.#world.breakDriver({ nvmlDeviceGetPowerUsage: { hang: "forever" } });
    await delay(1200);
    scrapers.stopping = true;
    this.#ending = true;
    const ending = await exporter.stop("SIGTERM");
    await scrapers.stop();
    if (ending.code !== 0 || ending.ms > 3000)
      this.#problems.add("the end", `exit code ${ending.code ?? "none"} after ${ending.ms.toFixed(0)} ms`);
    await delay(200);
    for (const [pid, startedAt] of this.#workers)
      if (startOf(pid) === startedAt) this.#problems.add("a child was left behind", `worker ${pid}`);
    return ending;
  }
}
