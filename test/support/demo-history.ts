/** The demo's past week as blocks of a real Prometheus, so that queries that look back are answered. */
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { snapshotFamilies } from "../../src/families/build.ts";
import { silentLogger } from "../../src/logger.ts";
import { createPipeline } from "../../src/pipeline.ts";
import { FakeClock } from "./fake-clock.ts";
import { keyOf } from "./prometheus-series.ts";
import { tool } from "./real-tools.ts";
import { run } from "./tool-run.ts";

const WEEK_MS = 7 * 86_400_000;
/** Two samples in every five minutes, which `rate` needs. */
const STEP_MS = 120_000;

export interface History {
  /** Prometheus' data folder. */
  readonly data: string;
  /** `instance` of the series. */
  readonly instance: string;
  /** Families to write. */
  readonly families: ReadonlySet<string>;
  readonly untilMs: number;
}

/** Writes the blocks by promtool. */
export async function writeDemoHistory({ data, instance, families, untilMs }: History): Promise<void> {
  mkdirSync(data, { recursive: true });
  const file = join(data, "../history.om");
  writeFileSync(file, "");
  const clock = new FakeClock(untilMs - WEEK_MS);
  const { config } = loadConfig({ argv: ["--demo", "--cache.duration=0s"], env: {} });
  const pipeline = createPipeline(config, { clock, logger: silentLogger });
  const target = { job: "ollama-gpu", instance };
  for (let at = untilMs - WEEK_MS; at <= untilMs; at += STEP_MS) {
    const wanted = snapshotFamilies(await pipeline.cache.get()).filter(({ name }) => families.has(name));
    const lines = wanted.flatMap(({ name, samples }) =>
      samples.map(
        ({ labels, value }) => `${keyOf({ __name__: name, ...labels, ...target }, [])} ${value} ${at / 1000}\n`,
      ),
    );
    appendFileSync(file, lines.join(""));
    await clock.advance(STEP_MS);
  }
  await pipeline.close();
  appendFileSync(file, "# EOF\n");
  promtool("tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration=168h", file, data);
}

/** What the recording rules would have made of it; needs a Prometheus that serves the blocks. */
export function recordHistory({
  url,
  data,
  rules,
  untilMs,
}: {
  url: string;
  data: string;
  rules: string;
  untilMs: number;
}): void {
  const seconds = (ms: number) => String(Math.floor(ms / 1000));
  promtool(
    "tsdb",
    "create-blocks-from",
    "rules",
    `--url=${url}`,
    `--start=${seconds(untilMs - WEEK_MS)}`,
    `--end=${seconds(untilMs)}`,
    `--eval-interval=${STEP_MS / 1000}s`,
    `--output-dir=${data}`,
    rules,
  );
}

function promtool(...args: readonly string[]): void {
  const { status, output } = run(tool("promtool"), args);
  if (status !== 0) throw new Error(output);
}
