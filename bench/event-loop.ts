/**
 * How long the exporter's event loop is blocked at most by machines far larger than real ones: `node bench/event-loop.ts`
 * prints a table. The exporter is the built one (`npm run build`) on the fake driver, a fake Ollama and a made-up process
 * table. Every scrape is a fresh reading.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type FakeProcess, ProcTree } from "../test/processes/proc-tree.ts";
import { ExporterProcess } from "../test/support/exporter-process.ts";
import { FakeOllama } from "../test/support/fake-ollama.ts";
import { a100Mig, FakeDriver, h100, type Process, type Scenario } from "../test/support/nvml/fake-nvml.ts";

const ROUNDS = 20;
const PROBE = join(import.meta.dirname, "../test/support/event-loop-probe.ts");
const CLI = join(import.meta.dirname, "../dist/cli.js");
const SERVER_PID = 2;

interface Machine {
  readonly what: string;
  readonly scenario: Scenario;
  readonly runners: number;
  readonly installed: number;
  /** Runners that are asked for slots and tokens; here nobody listens on their ports. */
  readonly withEndpoints?: true;
  readonly path?: string;
  readonly args?: readonly string[];
}

const hexOf = (index: number): string => index.toString(16).padStart(64, "0");
const compute = (count: number, first = 1_000): readonly Process[] =>
  Array.from({ length: count }, (_, index) => ({ pid: first + index, kind: "compute", memory: 1e6 }));

const THOUSAND_RUNNERS: Machine = {
  what: "1,000 loaded of 2,000 models, each with a runner, 8 GPUs",
  scenario: {
    gpus: Array.from({ length: 8 }, (_, gpu) =>
      h100({ uuid: `GPU-${gpu}`, processes: compute(125, 1_000 + gpu * 125) }),
    ),
  },
  runners: 1_000,
  installed: 2_000,
};

const MACHINES: readonly Machine[] = [
  THOUSAND_RUNNERS,
  { ...THOUSAND_RUNNERS, what: "the same with runners that have endpoints, which refuse", withEndpoints: true },
  { ...THOUSAND_RUNNERS, what: "the first, on /metrics/otel", path: "/metrics/otel" },
  { ...THOUSAND_RUNNERS, what: "the first, on /api/v1/status", path: "/api/v1/status" },
  {
    what: "1,000 GPU processes, all shown, 8 GPUs",
    scenario: {
      gpus: Array.from({ length: 8 }, (_, gpu) =>
        h100({ uuid: `GPU-${gpu}`, processes: compute(125, 1_000_000 + gpu * 125) }),
      ),
    },
    runners: 0,
    installed: 0,
    args: ["--processes=all"],
  },
  {
    what: "16 GPUs x 7 MIG instances, a runner on each",
    scenario: {
      gpus: Array.from({ length: 16 }, (_, gpu) => {
        const board = a100Mig();
        const [pattern] = board.mig ?? [];
        return {
          ...board,
          uuid: `GPU-${gpu}`,
          maxMigDevices: 7,
          mig: Array.from({ length: 7 }, (_, mig) => ({
            ...pattern,
            mig,
            uuid: `MIG-${gpu}-${mig}`,
            processes: compute(1, 1_000 + gpu * 7 + mig),
          })),
        };
      }),
    },
    runners: 112,
    installed: 200,
  },
];

function processTable({ runners, withEndpoints }: Machine): ProcTree {
  const program = withEndpoints ? ["/usr/local/lib/ollama/llama-server"] : ["/usr/local/bin/ollama", "runner"];
  const server: FakeProcess = { pid: SERVER_PID, argv: ["/usr/local/bin/ollama", "serve"] };
  const runner = (_: unknown, index: number): FakeProcess => ({
    pid: 1_000 + index,
    parentPid: SERVER_PID,
    argv: [...program, "--model", `/m/blobs/sha256-${hexOf(index)}`, "--port", String(index + 1)],
  });
  return new ProcTree([server, ...Array.from({ length: runners }, runner)]);
}

async function measure(machine: Machine): Promise<string> {
  const { what, scenario, runners, installed, path = "/metrics", args = [] } = machine;
  const folder = mkdtempSync(join(tmpdir(), "event-loop-"));
  const file = join(folder, "delays");
  const table = processTable(machine);
  const ollama = new FakeOllama();
  ollama.models = Array.from({ length: installed }, (_, index) => ({
    name: `model-${index}:latest`,
    blob: hexOf(index),
    ...(index < runners && { loaded: { size: 2e6, sizeVram: 1e6 } }),
  }));
  const driver = new FakeDriver(scenario);
  const exporter = await ExporterProcess.start(
    [
      ...[
        `--gpu.nvml-library=${driver.library}`,
        `--ollama.host=${await ollama.listen()}`,
        `--path.procfs=${table.root}`,
      ],
      ...["--cache.duration=0", "--ollama.timeout=20s", "--gpu.timeout=20s", "--energy.interval=0", ...args],
    ],
    { env: { ...driver.env, EVENT_LOOP_PROBE: file, NODE_OPTIONS: `--import=${PROBE}` }, cli: CLI },
  );
  try {
    const lines = (): readonly string[] =>
      readFileSync(file, { encoding: "utf8", flag: "a+" }).split("\n").slice(0, -1);
    const longestBlock = async (): Promise<readonly number[]> => {
      const had = lines().length;
      exporter.child.kill("SIGUSR2");
      while (lines().length === had) await nextTurn();
      return lines().at(-1)?.split(" ").map(Number) ?? [];
    };
    const rounds: (readonly number[])[] = [];
    let text = "";
    await longestBlock(); // before it listened, while the code was loaded, nobody waited
    for (let round = 0; round < ROUNDS; round++) {
      const startedAt = performance.now();
      text = await (await fetch(exporter.url(path))).text();
      rounds.push([performance.now() - startedAt, ...(await longestBlock())]);
    }
    const series = text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length;
    const column = (index: number): readonly number[] => rounds.map((round) => round[index] ?? NaN);
    const [first = NaN, ...others] = column(1);
    const cells = [series, median(column(0)), first, median(others), Math.max(...others), median(column(2))];
    return `| ${what} | ${cells.map((value) => value.toFixed(0)).join(" | ")} |`;
  } finally {
    await exporter.stop("SIGKILL");
    await ollama.close();
    driver[Symbol.dispose]();
    table.close();
    rmSync(folder, { recursive: true });
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

console.log(
  `Of ${ROUNDS} fresh scrapes, in ms; "work" is the processor time of the main thread between two turns of the event loop:\n`,
);
console.log(
  "| machine | series | scrape, median | longest work, first scrape, code not compiled yet | longest work, median of the others | worst of the others | wall clock, median |",
);
console.log("|---|---|---|---|---|---|---|");
for (const machine of MACHINES) console.log(await measure(machine));
