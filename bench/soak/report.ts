/** What a run says in the end: figures as a table, and what failed. */
import type { Fault } from "./faults.ts";
import type { Judge } from "./judge.ts";
import type { Problems } from "./problems.ts";
import { type Sample, type Slope, slopeOf } from "./resources.ts";
import type { Scrapers } from "./scraper.ts";
import type { FaultTally } from "./soak.ts";

export interface RunFacts {
  readonly minutes: number;
  readonly seed: number;
  readonly templates: string;
  readonly ending: { readonly code: number | null; readonly ms: number };
  readonly scrapers: Scrapers;
  readonly judge: Judge;
  readonly problems: Problems;
  readonly samples: readonly Sample[];
  readonly tallies: ReadonlyMap<string, FaultTally>;
  readonly pushes: { readonly count: number; readonly points: number };
  readonly workers: number;
  readonly faults: readonly Fault[];
}

/** The first third of a short run, five minutes of a long one: caches fill and code is compiled. */
const WARM_UP_SECONDS = 300;
/** From this length on the warm-up is long enough for caches, compiled code and the allocator's pages. */
const LONG_MINUTES = 20;
/** What the fitted line may rise over the rest of the run: a heap that finds its size, not a leak; a short run sees few collections. */
const MOST_GROWTH = {
  short: { pssMb: 64, oldMb: 32, descriptors: 8 },
  long: { pssMb: 16, oldMb: 8, descriptors: 4 },
};
/** Share of the bodies that may be cut off by their deadline although nothing is broken: the machine has other users. */
const MOST_LATE = 0.02;

export function reportOf(facts: RunFacts): { readonly report: string; readonly failures: readonly string[] } {
  const { problems, judge, scrapers } = facts;
  const { pss, old, descriptors, warmUpSeconds } = slopesOf(facts);
  const most = facts.minutes >= LONG_MINUTES ? MOST_GROWTH.long : MOST_GROWTH.short;
  checkSlope(problems, "PSS", pss, most.pssMb, "MB");
  checkSlope(problems, "the old generation", old, most.oldMb, "MB");
  checkSlope(problems, "file descriptors", descriptors, most.descriptors, "");
  const quantiles = scrapers.quantiles(0.99);
  for (const { timeoutSeconds, ms } of quantiles)
    if (ms > timeoutSeconds * 1000)
      problems.add("p99 beyond the time limit", `${ms.toFixed(0)} ms of ${timeoutSeconds} s`);
  checkLoad(facts);
  const rows: readonly (readonly [string, string])[] = [
    [
      "scrapes",
      `${scrapers.counted}, ${scrapers.perSecond.toFixed(1)} a second; by status: ${listOf(scrapers.statuses)}`,
    ],
    [
      "bodies compared with the machine's state",
      `${judge.compared}; read during a change, only parsed: ${judge.parsedOnly}; cut off by their deadline in calm: ${judge.late}`,
    ],
    ["series when all is well", facts.templates],
    ...quantiles.map(
      ({ timeoutSeconds, count, ms }) =>
        [`p99 of ${count} scrapes with a time limit of ${timeoutSeconds} s`, `${ms.toFixed(0)} ms`] as const,
    ),
    ["OTLP pushes received", `${facts.pushes.count}, ${facts.pushes.points} points in the last`],
    ["PSS of parent and worker", describe(pss, most.pssMb, "MB")],
    ["old generation of the parent's JavaScript heap", describe(old, most.oldMb, "MB")],
    ["lowest PSS in each quarter after the warm-up", `${quarters(facts, warmUpSeconds)} MB`],
    ["open file descriptors", describe(descriptors, most.descriptors, "")],
    ["worker processes used", `${facts.workers}`],
    [
      "SIGTERM under load, the driver hanging",
      `exit ${facts.ending.code ?? "none"} after ${facts.ending.ms.toFixed(0)} ms`,
    ],
    ["problems", `${problems.count}`],
  ];
  const report = [
    `${facts.minutes} minutes, seed ${facts.seed}; slopes after ${warmUpSeconds.toFixed(0)} s of warm-up.`,
    "",
    table(["what", "measured"], rows),
    "",
    table(["fault", "times", "seconds until all was well again: median", "longest", "allowed"], faultRows(facts)),
  ].join("\n");
  return { report, failures: problems.lines() };
}

function slopesOf({ samples }: RunFacts) {
  const first = samples[0]?.atSeconds ?? 0;
  const warmUpSeconds = Math.min(WARM_UP_SECONDS, ((samples.at(-1)?.atSeconds ?? 0) - first) / 3);
  const warm = samples.filter(({ atSeconds }) => atSeconds - first >= warmUpSeconds);
  return {
    warmUpSeconds,
    pss: slopeOf(warm, ({ pssMb }) => pssMb),
    old: slopeOf(warm, ({ oldMb }) => oldMb),
    descriptors: slopeOf(warm, (sample) => sample.descriptors),
  };
}

function quarters({ samples }: RunFacts, warmUpSeconds: number): string {
  const first = samples[0]?.atSeconds ?? 0;
  const warm = samples.filter(({ atSeconds }) => atSeconds - first >= warmUpSeconds);
  const lowest = [0, 1, 2, 3].map((quarter) => {
    const part = warm.slice((quarter * warm.length) / 4, ((quarter + 1) * warm.length) / 4);
    return Math.min(...part.map(({ pssMb }) => pssMb)).toFixed(1);
  });
  return lowest.join(", ");
}

function checkSlope(problems: Problems, what: string, slope: Slope | undefined, most: number, unit: string): void {
  if (!slope) problems.add("too few samples for a slope", what);
  else if (slope.growth > most)
    problems.add(`${what} grows`, `${slope.growth.toFixed(1)} ${unit} by the fitted line, allowed ${most}`);
}

/** A run that did not do what it is for is no passed run. */
function checkLoad({ scrapers, judge, tallies, faults, pushes, minutes, problems }: RunFacts): void {
  if (scrapers.perSecond < 45) problems.add("too little load", `${scrapers.perSecond.toFixed(1)} scrapes a second`);
  if (judge.compared < minutes * 20) problems.add("too little compared", `${judge.compared} bodies`);
  if (judge.late > judge.compared * MOST_LATE)
    problems.add("too often too late", `${judge.late} of ${judge.compared} bodies were cut off in calm`);
  if (pushes.count < minutes * 20) problems.add("too few pushes", `${pushes.count}`);
  for (const { name, sign } of faults) {
    const happened = (tallies.get(name)?.times ?? 0) > 0;
    if (happened && sign && ![...judge.unwellEver].some((part) => sign.test(part)))
      problems.add("a fault without effect", name);
  }
}

function describe(slope: Slope | undefined, most: number, unit: string): string {
  if (!slope) return "no slope";
  const { median, perHour, growth } = slope;
  return `median ${median.toFixed(1)} ${unit}, slope ${perHour.toFixed(2)} ${unit} an hour: ${growth.toFixed(2)} over the run, allowed ${most}`;
}

function faultRows({ faults, tallies }: RunFacts): readonly (readonly string[])[] {
  return faults.map(({ name, recoverySeconds: allowed }) => {
    const { times, recoverySeconds } = tallies.get(name) ?? { times: 0, recoverySeconds: [] };
    const sorted = recoverySeconds.toSorted((a, b) => a - b);
    const seconds = (value: number | undefined) => value?.toFixed(1) ?? "-";
    return [name, `${times}`, seconds(sorted[Math.floor(sorted.length / 2)]), seconds(sorted.at(-1)), `${allowed}`];
  });
}

const listOf = (counts: ReadonlyMap<string, number>): string =>
  [...counts].map(([status, count]) => `${status} ${count}`).join(", ");

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}
