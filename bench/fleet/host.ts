/**
 * One host of the fleet. Its body is made by the real pipeline (demo sources of its own machine, collector, attribution, families,
 * renderer) at a few moments; a scrape only puts numbers between those into the same text, which costs a fiftieth of a reading.
 */
import { buildInfo } from "../../src/build-info.ts";
import { Collector } from "../../src/collect/collector.ts";
import { buildFamilies } from "../../src/families/build.ts";
import type { Clock } from "../../src/lib/clock.ts";
import { silentLogger } from "../../src/logger.ts";
import { renderFamilies, RuntimeMetrics } from "../../src/outputs/prometheus/render.ts";
import { createDemoSources } from "../../src/sources/demo.ts";
import { inventoryOf } from "./inventories.ts";

/** Seconds after the start of a host's exporter at which its body is made. */
const MOMENTS = [5, 66, 145, 233, 311];
const SCRAPE_MS = 15_000;

const runtime = new RuntimeMetrics();
const build = buildInfo();

interface Line {
  /** Everything before the value: comments of its family too. */
  readonly text: string;
  readonly values: readonly number[];
  readonly grows: boolean;
}

export class Host {
  readonly #lines: readonly Line[];
  readonly #madeAtMs: number;
  readonly #seed: number;

  private constructor(seed: number, lines: readonly Line[], madeAtMs: number) {
    this.#seed = seed;
    this.#lines = lines;
    this.#madeAtMs = madeAtMs;
  }

  static async create(seed: number): Promise<Host> {
    const madeAtMs = Date.now();
    let ageMs = 0;
    const clock: Clock = {
      now: () => madeAtMs + ageMs,
      monotonic: () => ageMs,
      sleep: () => new Promise(() => undefined),
    };
    const sources = createDemoSources({ clock, inventory: inventoryOf(seed) });
    const collector = new Collector({ sources, showProcesses: "ollama", clock, logger: silentLogger });
    const bodies: string[] = [];
    for (const moment of MOMENTS) {
      ageMs = moment * 1000;
      const snapshot = await collector.start(new AbortController().signal).done;
      const httpRequests = [{ handler: "metrics", code: "200", count: moment }];
      bodies.push(await renderFamilies(buildFamilies(snapshot, { ...build, httpRequests }), "text", runtime));
    }
    return new Host(seed, linesOf(bodies), madeAtMs);
  }

  get series(): number {
    return this.#lines.length;
  }

  /** The body of a scrape now: counters and times go on at their mean rate, gauges move from moment to moment. */
  body(): string {
    const ageSeconds = (Date.now() - this.#madeAtMs) / 1000;
    const moment = (Math.floor(Date.now() / SCRAPE_MS) + this.#seed) % MOMENTS.length;
    const [start = 0, end = 1] = [MOMENTS[0], MOMENTS.at(-1)];
    let text = "";
    for (const { text: before, values, grows } of this.#lines) {
      const [first = 0, last = 0] = [values[0], values.at(-1)];
      const value = grows ? first + ((last - first) * ageSeconds) / (end - start) : (values[moment] ?? first);
      text += `${before}${value === Infinity ? "+Inf" : value}\n`;
    }
    return text;
  }
}

/** The series of the first body, with the values that the others have for them. */
function linesOf(bodies: readonly string[]): readonly Line[] {
  const others = bodies.slice(1).map((body) => new Map(samplesOf(body).map(({ key, value }) => [key, value])));
  return samplesOf(bodies[0] ?? "").map(({ key, text, value, type }) => {
    const values = [value, ...others.map((other) => other.get(key) ?? value)];
    const isTime = key.includes("_timestamp_seconds") && values.every(Number.isFinite);
    return { text, values, grows: (type === "counter" && values.every(Number.isFinite)) || isTime };
  });
}

interface Sample {
  readonly key: string;
  readonly text: string;
  readonly value: number;
  readonly type: string;
}

function samplesOf(body: string): readonly Sample[] {
  const samples: Sample[] = [];
  let comments = "";
  let type = "";
  for (const line of body.split("\n")) {
    if (line.startsWith("#") || line === "") {
      comments += line === "" ? "" : `${line}\n`;
      type = /^# TYPE \S+ (\w+)/.exec(line)?.[1] ?? type;
      continue;
    }
    const space = line.lastIndexOf(" ");
    const [key, number] = [line.slice(0, space), line.slice(space + 1)];
    samples.push({ key, text: `${comments}${key} `, value: number === "+Inf" ? Infinity : Number(number), type });
    comments = "";
  }
  return samples;
}
