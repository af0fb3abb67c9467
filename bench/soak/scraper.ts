/** Fifty scrapes a second by many scrapers, each of which asks one question at a time in its own manner, as a Prometheus does. */
import { Agent, get, type IncomingHttpHeaders } from "node:http";
import { gunzipSync } from "node:zlib";
import type { Exposition } from "./exposition.ts";
import type { Judge } from "./judge.ts";
import type { Problems } from "./problems.ts";

const RATE = 50;
/** Just below --web.max-requests, so that 503 has one reason only. */
const SCRAPERS = 38;
export const MOST_AT_ONCE = 40;

const PROMETHEUS_3 =
  "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
const ACCEPTS = [PROMETHEUS_3, "text/plain;version=0.0.4", "text/plain;version=1.0.0", "*/*"];
/** A counter that starts again with a runner process. */
const RESETS = "ollama_model_runner_cpu_seconds_total{";

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: IncomingHttpHeaders;
  readonly ms: number;
}

export async function ask(url: string, headers: Record<string, string>, agent?: Agent): Promise<Answer> {
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const request = get(url, { headers, agent: agent ?? false, timeout: 30_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const raw = Buffer.concat(chunks);
        const ms = performance.now() - startedAt;
        const text = (response.headers["content-encoding"] === "gzip" ? gunzipSync(raw) : raw).toString();
        resolve({ status: response.statusCode ?? 0, text, headers: response.headers, ms });
      });
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 30 s")));
    request.on("error", reject);
  });
}

interface Scraper {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly timeoutSeconds: number;
  readonly agent: Agent | undefined;
  readonly otel: boolean;
  busy: boolean;
  /** Highest value seen of each. */
  readonly counters: Map<string, number>;
}

export class Scrapers {
  readonly #judge: Judge;
  readonly #problems: Problems;
  readonly #scrapers: Scraper[];
  readonly #times = new Map<number, number[]>();
  #timer: NodeJS.Timeout | undefined;
  #next = 0;
  #inFlight = 0;
  #crowdedAtMs = -Infinity;
  #startedAtMs = 0;
  #endedAtMs = 0;
  /** Set when the exporter has been told to end: refusals are right from then on. */
  stopping = false;
  readonly statuses = new Map<string, number>();
  /** Ticks at which every scraper was still waiting. */
  missed = 0;
  counted = 0;

  constructor(base: string, judge: Judge, problems: Problems) {
    this.#judge = judge;
    this.#problems = problems;
    this.#scrapers = Array.from({ length: SCRAPERS }, (_, index) => {
      const otel = index % 7 === 6;
      const timeoutSeconds = index % 9 === 8 ? 10 : 1;
      return {
        url: `${base}${otel ? "/metrics/otel" : "/metrics"}`,
        headers: {
          accept: ACCEPTS[index % ACCEPTS.length] ?? "*/*",
          "x-prometheus-scrape-timeout-seconds": `${timeoutSeconds}`,
          ...(index % 3 > 0 && { "accept-encoding": "gzip" }),
        },
        timeoutSeconds,
        agent: index % 2 === 0 ? new Agent({ keepAlive: true, maxSockets: 1 }) : undefined,
        otel,
        busy: false,
        counters: new Map(),
      };
    });
  }

  start(): void {
    this.#startedAtMs = Date.now();
    let ticks = 0;
    // More than one a tick after a pause of this process: the rate is the mean rate.
    this.#timer = setInterval(() => {
      const due = Math.floor(((Date.now() - this.#startedAtMs) / 1000) * RATE) - ticks;
      for (let one = 0; one < Math.min(due, RATE); one++) this.#tick();
      ticks += due;
    }, 1000 / RATE);
  }

  /** No new scrapes; resolves when the last one has been answered. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#endedAtMs = Date.now();
    while (this.#inFlight > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    for (const { agent } of this.#scrapers) agent?.destroy();
  }

  /** Many more at once than are let in. */
  async crowd(requests: number): Promise<void> {
    const [scraper] = this.#scrapers;
    if (!scraper) return;
    await Promise.all(Array.from({ length: requests }, () => this.#scrape({ ...scraper, agent: undefined })));
  }

  get perSecond(): number {
    return (this.counted / ((this.#endedAtMs || Date.now()) - this.#startedAtMs)) * 1000;
  }

  /** Share of the time limit that this share of the scrapes needed at most, by limit in seconds. */
  quantiles(
    share: number,
  ): readonly { readonly timeoutSeconds: number; readonly count: number; readonly ms: number }[] {
    return [...this.#times].map(([timeoutSeconds, times]) => {
      const sorted = times.toSorted((a, b) => a - b);
      return {
        timeoutSeconds,
        count: sorted.length,
        ms: sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN,
      };
    });
  }

  #tick(): void {
    for (let tried = 0; tried < SCRAPERS; tried++) {
      const scraper = this.#scrapers[this.#next++ % SCRAPERS];
      if (!scraper || scraper.busy) continue;
      void this.#scrape(scraper);
      return;
    }
    this.missed += 1;
  }

  async #scrape(scraper: Scraper): Promise<void> {
    const { url, headers, agent, timeoutSeconds } = scraper;
    scraper.busy = true;
    this.#inFlight += 1;
    const sentAtMs = Date.now();
    if (this.#inFlight > MOST_AT_ONCE) this.#crowdedAtMs = sentAtMs;
    try {
      const answer = await ask(url, headers, agent);
      if (this.#inFlight > MOST_AT_ONCE) this.#crowdedAtMs = Date.now();
      this.#count(`${answer.status}`);
      if (answer.status === 200) this.#accept(scraper, answer);
      else if (answer.status !== 503 || !(this.stopping || this.#crowdedAtMs >= sentAtMs))
        this.#problems.add("unexpected status", `${answer.status} ${answer.text.slice(0, 100)}`);
      if (answer.status === 200) this.#timesOf(timeoutSeconds).push(answer.ms);
    } catch (error) {
      const code = error instanceof Error ? error.message : String(error);
      this.#count(this.stopping ? "cut off after SIGTERM" : "no answer");
      if (!this.stopping) this.#problems.add("no answer", code);
    } finally {
      this.#inFlight -= 1;
      scraper.busy = false;
    }
  }

  #accept(scraper: Scraper, { text, headers }: Answer): void {
    const openMetrics = headers["content-type"]?.startsWith("application/openmetrics-text") ?? false;
    const verdict = this.#judge.judge({ text, openMetrics, otel: scraper.otel });
    if (!verdict) return;
    const counters = countersOf(verdict.body);
    for (const [key, value] of counters) {
      const before = scraper.counters.get(key);
      if (before !== undefined && value < before && !key.startsWith(RESETS))
        this.#problems.add("a counter stepped back", `${key} from ${before} to ${value}`);
      scraper.counters.set(key, value);
    }
  }

  #count(status: string): void {
    this.counted += 1;
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
  }

  #timesOf(timeoutSeconds: number): number[] {
    const times = this.#times.get(timeoutSeconds) ?? [];
    this.#times.set(timeoutSeconds, times);
    return times;
  }
}

const COUNTERS = new WeakMap<Exposition, ReadonlyMap<string, number>>();

/** Counters and the cumulative parts of histograms, by series. */
function countersOf(body: Exposition): ReadonlyMap<string, number> {
  const known = COUNTERS.get(body);
  if (known) return known;
  const counters = new Map<string, number>();
  for (const [key, { type, value, name }] of body)
    if (type === "counter" || (type === "histogram" && !name.endsWith("_sum"))) counters.set(key, value);
  COUNTERS.set(body, counters);
  return counters;
}
