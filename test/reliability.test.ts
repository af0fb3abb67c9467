import { describe, expect, it } from "@jest/globals";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const rows = readFileSync(join(ROOT, "docs/reliability.md"), "utf8")
  .split("\n")
  .map((line) => line.split(" | "))
  .filter((cells) => cells.length === 4 && !cells[0]?.startsWith("| fault"));

describe("docs/reliability.md", () => {
  it("has a row for every fault that was asked for", () => {
    const asked = [
      ..."cannot be read,1 GB,another processor,initialising fails,hangs for ever,crashes,one GPU of eight".split(","),
      ..."between the driver's list and /proc,UTF-8,one blob,clock,Accept,10 MB,does not read,unknown keys".split(","),
      ..."disk is full,EPIPE,EMFILE,ENOMEM,SIGSTOP,SIGKILL,restarted,resolver,IPv6 only,+1 h".split(","),
      "1,200 models",
      ..."GPU processes,7 MIG,PID of a runner,upgraded,appears later,slow,hangs at shutdown".split(","),
    ];
    const faults = rows.map(([fault = ""]) => fault).join("\n");
    expect(asked.filter((words) => !faults.includes(words))).toEqual([]);
  });

  it.each(rows.map((cells) => [cells[0]?.slice(2) ?? "", cells[3] ?? ""]))(
    "names a test that exists for: %s",
    (_fault, cell) => {
      const [, file = "", title = ""] = /^`(test\/\S+\.test\.ts)`: (.+) \|$/.exec(cell) ?? [];
      const source = readFileSync(join(ROOT, file), "utf8");
      const quoted = [`"${title}"`, `'${title}'`, `\`${title}\``];
      expect(quoted.some((text) => source.includes(text))).toBe(true);
    },
  );
});
