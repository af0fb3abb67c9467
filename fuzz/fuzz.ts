/**
 * `npm run fuzz -- TARGET MINUTES [--seed NUMBER]`: fuzzes one target for that long, writes what it has learnt to
 * fuzz/corpus/TARGET/grown.jsonl and what it has broken to fuzz/found, and ends with 1 when it broke something.
 */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readCorpus, writeGrown } from "./corpus.ts";
import { Coverage, instrumentFolder } from "./coverage.ts";
import { fuzz, type Finding, type Progress } from "./loop.ts";
import { loadTarget, TARGETS } from "./targets.ts";

const FOUND = join(import.meta.dirname, "found");
const USAGE = `npm run fuzz -- TARGET MINUTES [--seed NUMBER]; targets: ${TARGETS.join(", ")}`;
const BETWEEN_LINES_MS = 30_000;

const { positionals, values } = parseArgs({ allowPositionals: true, options: { seed: { type: "string" } } });
const [name = "", minutes = "1"] = positionals;
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (!TARGETS.includes(name) || !(Number(minutes) > 0) || !Number.isInteger(seed)) {
  console.error(USAGE);
  process.exit(2);
}

const coverage = new Coverage();
const words = instrumentFolder(new URL("../src/", import.meta.url), coverage);
const target = await loadTarget(name);
const startedAt = performance.now();
let saidAt = startedAt;
console.log(`${name}: ${minutes} minutes from seed ${seed}`);

const outcome = await fuzz({
  target,
  coverage,
  corpus: readCorpus(name).map(({ input }) => input),
  words,
  seed,
  goOn: (progress) => {
    const now = performance.now();
    if (now - saidAt > BETWEEN_LINES_MS) {
      saidAt = now;
      say(progress);
    }
    return now - startedAt < Number(minutes) * 60_000;
  },
});
say(outcome);
writeGrown(name, outcome.kept);
for (const finding of outcome.found) report(finding);
process.exitCode = outcome.found.length > 0 ? 1 : 0;

function say({ executions, corpus, branches, findings }: Progress): void {
  const seconds = (performance.now() - startedAt) / 1000;
  const rate = Math.round(executions / seconds);
  console.log(
    `${name}: ${seconds.toFixed(0)} s, ${executions} executions (${rate}/s), corpus ${corpus}, branches ${branches}/${coverage.total}, findings ${findings}`,
  );
}

function report({ input, error }: Finding): void {
  const file = join(FOUND, `${name}-${createHash("sha256").update(input).digest("hex").slice(0, 12)}`);
  mkdirSync(FOUND, { recursive: true });
  writeFileSync(file, input);
  console.log(`FOUND ${error}\n  ${file}: ${JSON.stringify(input.toString().slice(0, 200))}`);
}
