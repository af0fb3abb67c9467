/** Files that no compiler sees, through their linters. */
import { describe, expect, it } from "@jest/globals";
import { join } from "node:path";
import { tool } from "../support/real-tools.ts";
import { ROOT, run, text } from "../support/tool-run.ts";

/** Tracked or new, as git sees them. */
const FILES = run("git", ["ls-files", "--cached", "--others", "--exclude-standard"]).stdout.trim().split("\n");
/** Go templates: what they render is linted in their place. */
const isTemplate = (name: string): boolean => name.includes("/templates/");
const CLEAN = { status: 0, stdout: "", output: "" };

describe("YAML", () => {
  const yaml = FILES.filter((name) => /\.ya?ml(\.example)?$/.test(name) && !isTemplate(name));

  it("passes yamllint in every file", () => {
    expect(yaml.length).toBeGreaterThan(20);
    expect(run(tool("yamllint"), ["--strict", ...yaml])).toEqual(CLEAN);
  });

  it("would not with a key given twice", () => {
    const { status, output } = run(tool("yamllint"), ["--strict", "-"], "a: 1\na: 2\n");
    expect([status, output]).toEqual([1, expect.stringContaining("key-duplicates")]);
  });
});

describe("shell scripts", () => {
  const scripts = FILES.filter((name) => name.endsWith(".sh") || name === ".ci/run");

  it("pass shellcheck", () => {
    expect(scripts.length).toBeGreaterThan(1);
    expect(run(tool("shellcheck"), scripts)).toEqual(CLEAN);
  });

  it("are all there are", () => {
    const others = FILES.filter((name) => !/\.(ts|js|json|md|ya?ml|png|svg|txt|prom|c|h)$/.test(name));
    const shells = others.filter((name) => text(name).startsWith("#!") && /^#!.*\b(ba)?sh\b/.test(text(name)));
    expect(shells.filter((name) => !scripts.includes(name))).toEqual([]);
  });
});

it("lints the Dockerfile with hadolint", () => {
  expect(run(tool("hadolint"), [join(ROOT, "Dockerfile")])).toEqual(CLEAN);
});
