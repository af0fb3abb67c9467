/**
 * The built exporter under load and faults: `npm run soak -- MINUTES [--seed=N] [--write]`. Prints what it measured and exits 1
 * when anything was wrong; `--write` also puts it into docs/soak.md. Needs a C compiler.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Soak } from "./soak/soak.ts";

const USAGE = "usage: npm run soak -- MINUTES [--seed=N] [--write]";
const BEGIN = "<!-- soak:begin -->";
const END = "<!-- soak:end -->";

function settings(): { readonly minutes: number; readonly seed: number; readonly write: boolean } {
  const { values, positionals } = parseArgs({
    options: {
      seed: { type: "string", default: `${Date.now() % 1_000_000}` },
      write: { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  const [minutes, seed] = [Number(positionals[0]), Number(values.seed)];
  if (!(minutes >= 1) || !Number.isInteger(seed)) {
    console.error(`${USAGE}; at least one minute`);
    process.exit(2);
  }
  return { minutes, seed, write: values.write };
}

function writeSection(text: string, command: string): void {
  const file = join(import.meta.dirname, "../docs/soak.md");
  const machine = `${availableParallelism()} cores, ${Math.round(totalmem() / 1024 ** 3)} GB, shared virtual machine, Node ${process.version}, ${execFileSync("uname", ["-m"], { encoding: "utf8" }).trim()}`;
  const head = `Written by \`${command} --write\` on ${new Date().toISOString().slice(0, 10)}: ${machine}.`;
  const page = readFileSync(file, "utf8");
  const [before] = page.split(BEGIN);
  const after = page.slice(page.indexOf(END) + END.length);
  writeFileSync(file, `${before ?? ""}${BEGIN}\n${head}\n\n${text}\n${END}${after}`);
}

const { minutes, seed, write } = settings();
const command = `npm run soak -- ${minutes} --seed=${seed}`;
console.log(command);
const { report, failures } = await new Soak({ minutes, seed }).run();
console.log(`\n${report}\n`);
if (write) writeSection(report, command);
for (const line of failures) console.error(line);
console.log(failures.length === 0 ? "soak: passed" : `soak: FAILED, again with ${command}`);
process.exitCode = failures.length === 0 ? 0 : 1;
