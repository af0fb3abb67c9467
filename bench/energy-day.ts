/**
 * A day of random load on modelled GPUs through the real worker session, collector, attribution and ledger, at simulated
 * time: `npm run energy-day` compares the parts with the devices' counters, `-- --write` also puts the table into
 * docs/energy.md. Ends with 1 when a board's parts are more than 0.1 % away from its counter.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { EnergySimulation, SIMULATED_BOARDS } from "../test/support/energy-simulation.ts";

const MOST_ERROR = 0.001;
const { values } = parseArgs({ options: { seed: { type: "string", default: "1" }, write: { type: "boolean" } } });

const simulation = new EnergySimulation({
  seed: Number(values.seed),
  seconds: 86_400,
  energyIntervalSeconds: 1,
  readingIntervalSeconds: 15,
});
const { boards, models } = await simulation.run();
const kilojoules = (joules: number): string => (joules / 1000).toFixed(1);
const percent = (part: number, whole: number): string =>
  `${((part / whole - 1) * 100).toFixed(4).replace(/^-(0\.0+)$/, "$1")} %`;

const rows = boards.map(({ uuid, growthJoules, ollamaJoules, otherJoules, idleJoules, idleFloorWatts }) => {
  const board = SIMULATED_BOARDS.find((candidate) => candidate.uuid === uuid);
  const parts = ollamaJoules + otherJoules + idleJoules;
  const numbers = [growthJoules, ollamaJoules, otherJoules, idleJoules].map(kilojoules);
  return {
    text: `| ${[uuid, board?.name, ...numbers, percent(parts, growthJoules), idleFloorWatts?.toFixed(2) ?? "none"].join(" | ")} |`,
    // Without a counter there is no whole to be equal to but the model's own.
    isWithin: board?.counter === false || Math.abs(parts / growthJoules - 1) <= MOST_ERROR,
  };
});
const text = [
  "| board | | counter, kJ | ollama, kJ | other, kJ | idle, kJ | parts against counter | idle floor, W |",
  "|---|---|---|---|---|---|---|---|",
  ...rows.map((row) => row.text),
  "",
  "| model | board | attributed, kJ | true, kJ | error |",
  "|---|---|---|---|---|",
  ...models.map(
    ({ model, uuid, joules, trueJoules }) =>
      `| ${model} | ${uuid} | ${kilojoules(joules)} | ${kilojoules(trueJoules)} | ${percent(joules, trueJoules)} |`,
  ),
].join("\n");
console.log(text);
if (values.write === true) {
  const file = join(import.meta.dirname, "../docs/energy.md");
  const [before, after] = readFileSync(file, "utf8").split(/(?<=<!-- day:begin -->\n)[^]*(?=<!-- day:end -->)/);
  if (before === undefined || after === undefined) throw new Error("docs/energy.md has no place for the table");
  writeFileSync(file, `${before}${text}\n${after}`);
}
if (!rows.every(({ isWithin }) => isWithin)) process.exitCode = 1;
