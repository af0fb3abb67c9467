/**
 * A fleet in one process, scraped by a real Prometheus with the bundled rules: `npm run fleet -- [--hosts=1000] [--minutes=10]
 * [--write]`. Prints what it costs and how long each query of the Fleet overview takes; exits 1 when one takes more than 2 s.
 * `--write` puts it into docs/scaling.md. Needs prometheus (test/real/provision.sh core).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, getPriority, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { query } from "../test/support/prometheus-series.ts";
import { FleetPrometheus } from "./fleet/prometheus.ts";
import { type Answered, askAll } from "./fleet/questions.ts";
import { FleetServer } from "./fleet/server.ts";

const SCRAPE_SECONDS = 15;
const MOST_SECONDS = 2;
const BEGIN = "<!-- fleet:begin -->";
const END = "<!-- fleet:end -->";

const { values } = parseArgs({
  options: {
    hosts: { type: "string", default: "1000" },
    minutes: { type: "string", default: "10" },
    write: { type: "boolean", default: false },
  },
});
const [hosts, minutes] = [Number(values.hosts), Number(values.minutes)];
const failures: string[] = [];

const server = await FleetServer.create(hosts);
const prometheus = new FleetPrometheus();
try {
  await prometheus.start(`${await server.listen()}/targets`, { scrapeSeconds: SCRAPE_SECONDS });
  console.log(`${hosts} hosts, ${minutes} minutes`);
  const rows = await measure();
  const answers = await askAll(prometheus.base);
  const slowest = answers.toSorted((a, b) => b.seconds - a.seconds);
  for (const { panel, form, seconds } of answers)
    if (seconds > MOST_SECONDS) failures.push(`${panel} (${form}): ${seconds.toFixed(2)} s`);
  for (const { panel, form } of answers.filter(({ series, panel: name }) => series === 0 && name !== "Alerts firing"))
    failures.push(`${panel} (${form}): no data`);
  const text = `${table(["what", "measured"], rows)}\n\n${table(["query of the Fleet overview", "form", "seconds, slowest of 3", "series"], slowest.map(rowOf))}`;
  console.log(text);
  if (values.write) write(text);
} finally {
  await prometheus.close();
  server.close();
}
for (const failure of failures) console.error(`FAILED ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;

async function measure(): Promise<readonly (readonly string[])[]> {
  const resident: number[] = [];
  const until = performance.now() + minutes * 60_000;
  // The first minute makes the series; what comes then is what a running server does.
  await delay(60_000);
  const [cpu, wal, appended] = [prometheus.cpuSeconds(), prometheus.walMb(), await appendedSamples()];
  const measuredFrom = performance.now();
  while (performance.now() < until) {
    resident.push(prometheus.residentMb());
    await delay(5000);
  }
  const seconds = (performance.now() - measuredFrom) / 1000;
  const series = sum(await prometheus.own("prometheus_tsdb_head_series"));
  const rate = ((await appendedSamples()) - appended) / seconds;
  const api = `${prometheus.base}/api/v1/`;
  const up = await query(api, "sum(up)");
  const failed = await query(api, `sum(count_over_time(up[${minutes}m]) - sum_over_time(up[${minutes}m]))`);
  const slowScrape = await query(api, `max(max_over_time(scrape_duration_seconds[${minutes}m]))`);
  const rules = await prometheus.own("prometheus_rule_group_last_duration_seconds");
  const missed = sum(await prometheus.own("prometheus_rule_group_iterations_missed_total"));
  const recorded = await query(api, 'count({__name__=~"job.*:.*"})');
  const alerts = await query(api, 'count(ALERTS{alertstate="firing"})');
  if (Number(up[0]?.value[1]) !== hosts) failures.push(`only ${up[0]?.value[1] ?? 0} hosts are up`);
  const memory = Math.max(...resident);
  const walMb = prometheus.walMb() - wal;
  const own = server.hosts.map((host) => host.series).sort((a, b) => a - b);
  const perHost = (value: number) => value / hosts;
  return [
    ["hosts; scrapes that failed", `${up[0]?.value[1] ?? 0} of ${hosts}; ${failed[0]?.value[1] ?? "none"}`],
    [
      "series of a host: lowest, median, highest",
      `${own[0] ?? 0}, ${own[Math.floor(own.length / 2)] ?? 0}, ${own.at(-1) ?? 0}; ${(server.meanBytes / 1000).toFixed(0)} kB of text`,
    ],
    [
      "series in the head",
      `${series}, ${perHost(series).toFixed(0)} a host; ${recorded[0]?.value[1] ?? 0} recorded, ${alerts[0]?.value[1] ?? 0} alerts firing`,
    ],
    [
      "memory, resident, highest",
      `${memory.toFixed(0)} MB: ${perHost(memory).toFixed(2)} MB a host, ${((memory * 1024) / series).toFixed(1)} kB a series`,
    ],
    ["samples a second, rules included", `${rate.toFixed(0)}: ${perHost(rate).toFixed(1)} a host`],
    [
      "write-ahead log",
      `${((walMb / seconds) * 60).toFixed(1)} MB a minute: ${((perHost(walMb) / seconds) * 60 * 1024).toFixed(1)} kB a host and minute`,
    ],
    [
      "load average of the machine, priority of both",
      `${loadavg()
        .map((load) => load.toFixed(0))
        .join(", ")} on ${availableParallelism()} cores; nice ${getPriority()}`,
    ],
    ["CPU of Prometheus", `${(((prometheus.cpuSeconds() - cpu) / seconds) * 100).toFixed(0)} % of a core`],
    ["slowest scrape", `${Number(slowScrape[0]?.value[1]).toFixed(2)} s`],
    ["last evaluation of all rules, every 30 s", `${sum(rules).toFixed(2)} s: ${groups(rules)}; missed ${missed}`],
  ];
}

function groups(durations: ReadonlyMap<string, number>): string {
  const nameOf = (labels: string): string => /ollama-gpu-exporter\.(\w+)/.exec(labels)?.[1] ?? labels;
  return [...durations].map(([labels, value]) => `${nameOf(labels)} ${value.toFixed(2)} s`).join(", ");
}

async function appendedSamples(): Promise<number> {
  return sum(await prometheus.own("prometheus_tsdb_head_samples_appended_total"));
}

function sum(samples: ReadonlyMap<string, number>): number {
  return [...samples.values()].reduce((total, value) => total + value, 0);
}

function rowOf({ panel, form, seconds, series }: Answered): readonly string[] {
  return [panel, form, seconds.toFixed(3), `${series}`];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

function write(text: string): void {
  const file = join(import.meta.dirname, "../docs/scaling.md");
  const page = readFileSync(file, "utf8");
  const [before] = page.split(BEGIN);
  const head = `Written by \`npm run fleet -- --hosts=${hosts} --minutes=${minutes} --write\` on ${new Date().toISOString().slice(0, 10)}: Prometheus 3.16, ${availableParallelism()} cores and ${Math.round(totalmem() / 1024 ** 3)} GB shared with the fleet itself and other work; every ${SCRAPE_SECONDS} s.`;
  writeFileSync(
    file,
    `${before ?? ""}${BEGIN}\n${head}\n\n${text}\n${END}${page.slice(page.indexOf(END) + END.length)}`,
  );
}
