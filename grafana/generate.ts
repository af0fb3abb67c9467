/** Writes dashboards, rules, their tests and runbooks from grafana/src; with --check says what is stale. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { capacity } from "./src/boards/capacity.ts";
import { exporterHealth } from "./src/boards/exporter.ts";
import { fleet } from "./src/boards/fleet.ts";
import { gpuDetail } from "./src/boards/gpu.ts";
import { models } from "./src/boards/models.ts";
import { buildBoard } from "./src/build.ts";
import type { BoardSpec } from "./src/panel.ts";
import { ruleFiles, ruleTests, runbookFiles } from "./src/rules/files.ts";
import { recordingTests } from "./src/rules/recording-tests.ts";

/** In the order in which somebody looks at them. */
export const BOARDS: readonly BoardSpec[] = [fleet, gpuDetail, models, capacity, exporterHealth];

const CHART = "deploy/helm/ollama-gpu-exporter/files";
type Files = Readonly<Record<string, string>>;

const dashboards = (): Files =>
  Object.fromEntries(BOARDS.map((spec) => [`${spec.uid}.json`, `${JSON.stringify(buildBoard(spec), undefined, 2)}\n`]));

/** Folder -> everything in it. A chart cannot reach outside itself, so it holds copies. */
export function generated(): Readonly<Record<string, Files>> {
  const [boards, rules] = [dashboards(), ruleFiles()];
  return {
    "grafana/dashboards": boards,
    "deploy/prometheus/rules": rules,
    "deploy/prometheus/tests": { "alerts.test.yml": ruleTests(), "recording.test.yml": recordingTests() },
    "docs/runbooks": runbookFiles(),
    [`${CHART}/dashboards`]: boards,
    [`${CHART}/rules`]: rules,
  };
}

function run(check: boolean): void {
  for (const [folder, files] of Object.entries(generated())) {
    if (!check) mkdirSync(folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) write(join(folder, name), text, check);
    for (const name of readdirSync(folder)) if (!(name in files)) discard(join(folder, name), check);
  }
}

function write(path: string, text: string, check: boolean): void {
  if (!check) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  } else if (read(path) !== text) stale(path);
}

function discard(path: string, check: boolean): void {
  if (check) stale(path);
  else rmSync(path);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function stale(path: string): void {
  console.error(`${path} is stale: run npm run grafana`);
  process.exitCode = 1;
}

if (import.meta.main) run(process.argv.includes("--check"));
