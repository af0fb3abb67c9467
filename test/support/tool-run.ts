/** Runs a program over files of the checkout, for the suites that check what is deployed. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");

/** A file of the checkout. */
export const text = (path: string): string => readFileSync(join(ROOT, path), "utf8");

export interface Run {
  readonly status: number | null;
  readonly stdout: string;
  /** Both streams. */
  readonly output: string;
}

/** In the checkout's folder. Throws when the program cannot be started. */
export function run(program: string, args: readonly string[], input = ""): Run {
  const { status, stdout, stderr, error } = spawnSync(program, args, { input, encoding: "utf8", cwd: ROOT });
  if (error) throw error;
  return { status, stdout, output: `${stdout}${stderr}` };
}

/** package.json, as far as deployments repeat it. */
export const manifest = JSON.parse(text("package.json")) as {
  readonly version: string;
  readonly devDependencies: Readonly<Record<string, string>>;
};
