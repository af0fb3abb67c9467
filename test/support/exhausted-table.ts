/** Reads the process table, takes every free descriptor while it is being read, and prints what the source says. */
import { closeSync, openSync } from "node:fs";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLogger } from "../../src/logger.ts";
import { ProcessesSource } from "../../src/sources/processes/source.ts";

const source = new ProcessesSource({
  procfs: "/proc",
  timeoutMs: 10_000,
  clock: systemClock,
  logger: silentLogger,
});
const { signal } = new AbortController();
const reading = source.read(signal); // has listed the processes, and looks at them in the next turn
const taken: number[] = [];
try {
  for (;;) taken.push(openSync("/dev/null", "r"));
} catch {
  // there is none left
}
const exhausted = await reading;
for (const file of taken) closeSync(file);
const after = await source.read(signal);
process.stdout.write(JSON.stringify([exhausted, after.status]));
