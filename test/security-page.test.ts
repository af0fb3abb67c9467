import { describe, expect, it } from "@jest/globals";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");

describe("SECURITY.md", () => {
  const rows = readFileSync(join(ROOT, "SECURITY.md"), "utf8")
    .split("\n## What it defends against")[1]
    ?.split("\n## ")[0]
    ?.split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| threat"));

  it("names a test for every defence, and every one exists", () => {
    expect(rows?.length).toBeGreaterThan(15);
    for (const row of rows ?? []) {
      const tests = [...row.matchAll(/`(test\/[^`]+)`/g)].map(([, path = ""]) => path);
      expect([row, tests.length > 0, tests.filter((path) => !existsSync(join(ROOT, path)))]).toEqual([row, true, []]);
    }
  });
});
