/** Compares every body with the machine that it was read from: what is well must be there, whole and once. */
import { type Exposition, keyOf, parseStrictly, type Series } from "./exposition.ts";
import type { Problems } from "./problems.ts";
import { entityOf, FROM_TWO_READINGS, isOf, shapeOf, Templates } from "./templates.ts";
import { SERVERS, type World, type WorldModel, type WorldState } from "./world.ts";

const SELF = "ollama_gpu_exporter_";
/** Between the clocks and the moments at which this process and the exporter note a change. */
const CLOCK_SLACK_MS = 100;

/**
 * How long a source has run that a scrape's deadline of 0.5 s (a limit of 1 s) cut off: less is a source that fails by itself, more is
 * one that ran into its own limit of 2 s.
 */
const CUT_OFF_SECONDS = [0.4, 1.9] as const;

export interface Body {
  readonly text: string;
  readonly openMetrics: boolean;
  /** From /metrics/otel: the SDK's own labels are on every series. */
  readonly otel: boolean;
}

/** What a body says of the exporter's health. */
export interface Verdict {
  readonly body: Exposition;
  readonly readingFromMs: number;
  readonly takenAtMs: number;
  /** Collectors and boards that are not well, in words. */
  readonly unwell: readonly string[];
  /** All of that only because the scrape's deadline came before the reading was done, as on a busy machine. */
  readonly isLate: boolean;
}

export class Judge {
  readonly #world: World;
  readonly #problems: Problems;
  readonly #known = new Map<string, Verdict | undefined>();
  readonly #driverReadings: DriverReading[] = [];
  #templates: Templates | undefined;
  /** Start of the newest reading in which everything was well. */
  wellAtMs = 0;
  compared = 0;
  /** What the exporter logged last of a collector that failed. */
  reason: () => string = () => "";
  /** Bodies that were cut off by their deadline although nothing was broken. */
  late = 0;
  /** What of the exporter's JavaScript heap has outlived a collection, by its newest body, MB. */
  oldMb = 0;
  /** Bodies whose reading overlapped a change: only parsed. */
  parsedOnly = 0;
  /** Everything that was ever said to be unwell. */
  readonly unwellEver = new Set<string>();

  constructor(world: World, problems: Problems) {
    this.#world = world;
    this.#problems = problems;
  }

  /** Takes this body for what is right from now on. */
  learn({ body, readingFromMs, takenAtMs, unwell }: Verdict): string {
    const state = this.#world.during(readingFromMs, takenAtMs);
    if (!state || unwell.length > 0) throw new Error(`no body to learn from: ${unwell.join()}`);
    this.#templates = Templates.learn(body, state);
    const { lacking } = this.#templates;
    if (lacking.length > 0) throw new Error(`the first body lacks ${lacking.join(", ")}`);
    return this.#templates.describe();
  }

  /** Undefined when it does not parse. A body that has been judged before is not judged again. */
  judge(answer: Body): Verdict | undefined {
    if (this.#known.has(answer.text)) return this.#known.get(answer.text);
    const verdict = this.#read(answer);
    this.#known.set(answer.text, verdict);
    const [oldest] = this.#known.keys();
    if (this.#known.size > 24 && oldest !== undefined) this.#known.delete(oldest);
    if (!verdict || answer.otel) return verdict;
    this.oldMb = oldGenerationMb(verdict.body);
    for (const part of verdict.unwell) this.unwellEver.add(part);
    if (verdict.unwell.length === 0) this.wellAtMs = Math.max(this.wellAtMs, verdict.readingFromMs);
    this.#compare(verdict);
    return verdict;
  }

  #read({ text, openMetrics }: Body): Verdict | undefined {
    try {
      const body = parseStrictly(text, { openMetrics });
      const all = [...body.values()];
      const valuesOf = (name: string) => all.filter((series) => series.name === name);
      const takenAtMs = Math.max(...valuesOf(`${SELF}snapshot_timestamp_seconds`).map(({ value }) => value)) * 1000;
      const unwell = [
        ...valuesOf(`${SELF}collector_success`)
          .filter(({ value }) => value !== 1)
          .map(({ labels }) => `${labels.collector ?? ""} ${labels.target ?? ""}`),
        ...valuesOf("gpu_up")
          .filter(({ value }) => value !== 1)
          .map(({ labels }) => `gpu ${labels.gpu ?? ""}`),
        ...valuesOf("ollama_model_runner_up")
          .filter(({ value }) => value !== 1)
          .map(() => "runner"),
      ];
      return { body, unwell, takenAtMs, isLate: isLate(body), readingFromMs: readingFromMs(body) };
    } catch (error) {
      this.#problems.add("a body does not parse", error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  /** The driver's reading before the one in this body. */
  #driverReadingBefore(body: Exposition): DriverReading | undefined {
    const own = driverReadingOf(body);
    const before = this.#driverReadings.findLast(({ atSeconds }) => atSeconds < own.atSeconds);
    if (this.#driverReadings.every(({ atSeconds }) => atSeconds !== own.atSeconds)) this.#driverReadings.push(own);
    this.#driverReadings.sort((a, b) => a.atSeconds - b.atSeconds).splice(0, this.#driverReadings.length - 20);
    return before;
  }

  #compare({ body, readingFromMs, takenAtMs, unwell, isLate }: Verdict): void {
    if (!this.#templates) return;
    const state = this.#world.during(readingFromMs, takenAtMs);
    if (!state) {
      this.parsedOnly += 1;
      return;
    }
    this.compared += 1;
    if (state.calm && unwell.length > 0 && isLate) this.late += 1;
    else if (state.calm && unwell.length > 0)
      this.#problems.add("unwell although nothing is broken", `${unwell.join(", ")}: ${this.reason()}`);
    const parts = new Comparison(body, { state, templates: this.#templates, before: this.#driverReadingBefore(body) });
    for (const { what, differences } of parts.all())
      if (differences.length > 0)
        this.#problems.add("series lost or not expected", `${what}: ${differences.join("; ").slice(0, 400)}`);
  }
}

/** When the first of the sources that have succeeded began; what failed has no data in the body that could be older. */
function readingFromMs(body: Exposition): number {
  const starts = collectorsOf(body)
    .filter(({ isWell }) => isWell)
    .map(({ lastSuccess, duration }) => lastSuccess - duration);
  return Math.min(...starts) * 1000 - CLOCK_SLACK_MS;
}

function isLate(body: Exposition): boolean {
  const boards = [...body.values()].filter(({ name }) => name === "gpu_up" || name === "ollama_model_runner_up");
  return (
    boards.every(({ value }) => value === 1) &&
    collectorsOf(body).every(
      ({ isWell, duration }) => isWell || (duration > CUT_OFF_SECONDS[0] && duration < CUT_OFF_SECONDS[1]),
    )
  );
}

function collectorsOf(body: Exposition) {
  const own = [...body.values()].filter(({ name }) => name === `${SELF}collector_success`);
  return own.map(({ labels, value }) => {
    const { collector = "", target = "" } = labels;
    const of = (name: string): number => body.get(keyOf(`${SELF}collector_${name}`, { collector, target }))?.value ?? 0;
    const [lastSuccess, duration] = [of("last_success_timestamp_seconds"), of("duration_seconds")];
    return { isWell: value === 1, lastSuccess, duration };
  });
}

/** The heap's spaces but those for new objects. */
function oldGenerationMb(body: Exposition): number {
  const used = [...body.values()].filter(({ name, labels }) => {
    return name === "nodejs_heap_space_size_used_bytes" && !labels.space?.startsWith("new");
  });
  return used.reduce((sum, { value }) => sum + value, 0) / 1024 ** 2;
}

/** Families that the runner itself is asked for. */
const OF_RUNNER =
  /^lost ollama_model_(?:slots|slots_busy|active_tokens|(?:generated|prompt)_tokens_total|(?:prompt|generation)_seconds_total|requests_(?:processing|deferred)|request_metrics)\{/;

/** What tells whether two readings are one worker's. */
interface DriverReading {
  readonly atSeconds: number;
  readonly restarts: number;
  readonly boardsUp: ReadonlySet<string>;
}

function driverReadingOf(body: Exposition): DriverReading {
  const nvml = keyOf(`${SELF}collector_last_success_timestamp_seconds`, { collector: "nvml", target: "local" });
  const up = [...body.values()].filter(({ name, value }) => name === "gpu_up" && value === 1);
  return {
    atSeconds: body.get(nvml)?.value ?? 0,
    restarts: body.get(keyOf(`${SELF}nvml_restarts_total`, {}))?.value ?? 0,
    boardsUp: new Set(up.map(({ labels }) => labels.gpu ?? "")),
  };
}

interface Part {
  readonly what: string;
  readonly differences: readonly string[];
}

/** One body against one state of the machine. */
class Comparison {
  readonly #body: Exposition;
  readonly #state: WorldState;
  readonly #templates: Templates;
  readonly #all: readonly Series[];
  readonly #driverIsWell: boolean;
  /** Every source has answered: nothing was cut off by a deadline. */
  readonly #isWhole: boolean;

  readonly #before: DriverReading | undefined;

  constructor(
    body: Exposition,
    { state, templates, before }: { state: WorldState; templates: Templates; before: DriverReading | undefined },
  ) {
    this.#before = before;
    this.#body = body;
    this.#state = state;
    this.#templates = templates;
    this.#all = [...body.values()];
    this.#driverIsWell = this.#collectorIsWell("nvml", "local");
    this.#isWhole = collectorsOf(body).every(({ isWell }) => isWell);
  }

  *all(): Generator<Part> {
    yield { what: "self", differences: this.#templates.differences("self", this.#entity("self")) };
    for (const gpu of this.#templates.boards) yield this.#board(gpu);
    for (let server = 0; server < SERVERS; server++) yield* this.#server(server);
    yield this.#processes();
  }

  #board(gpu: string): Part {
    const own = this.#entity("board").filter(({ labels }) => labels.gpu === gpu);
    const what = `board ${gpu}`;
    if (!this.#driverIsWell) return { what: `${what} while the driver fails`, differences: own.map(shapeOf) };
    const isLost = this.#state.lostBoards.has(Number(gpu));
    const up = this.#value("gpu_up", { gpu });
    if (up !== (isLost ? 0 : 1)) return { what, differences: [`gpu_up is ${up ?? "absent"}`] };
    if (!isLost) {
      const isSecond =
        this.#before?.restarts === driverReadingOf(this.#body).restarts && this.#before.boardsUp.has(gpu);
      const differences = this.#templates.differences(what, own);
      return {
        what,
        differences: isSecond ? differences : differences.filter((text) => !FROM_TWO_READINGS.test(text)),
      };
    }
    const names = own.map(({ name }) => name).sort();
    return { what: `lost ${what}`, differences: names.join() === "gpu_info,gpu_up" ? [] : names };
  }

  *#server(server: number): Generator<Part> {
    const label = `soak${server}`;
    const own = this.#entity("server").filter(({ labels }) => labels.server === label);
    const ofModels = this.#entity("model").filter(({ labels }) => labels.server === label);
    const isUp = own.find(({ name }) => name === "ollama_up")?.value;
    if (isUp === 0) {
      const others = [...own.filter(({ name }) => name !== "ollama_up"), ...ofModels];
      yield { what: `${label} while it is down`, differences: others.map(shapeOf) };
      return;
    }
    if (!this.#collectorIsWell("ollama", label)) return; // up, but something beside /api/ps failed: parts may be absent
    yield { what: label, differences: this.#templates.differences("server", own) };
    const models = this.#state.models.filter((model) => model.server === server);
    for (const model of models) yield this.#model(model);
    const others = ofModels.filter((series) => !models.some((model) => isOf(series, model)));
    yield { what: `models of ${label}`, differences: others.map((series) => `unexpected ${shapeOf(series)}`) };
  }

  #model(model: WorldModel): Part {
    const own = this.#entity("model").filter((series) => isOf(series, model));
    const identity = { server: `soak${model.server}`, model: model.name };
    const loaded = this.#value("ollama_model_loaded", identity);
    if (loaded !== (model.loaded ? 1 : 0))
      return { what: model.name, differences: [`loaded is ${loaded ?? "absent"}`] };
    if (!model.loaded) return { what: model.name, differences: this.#templates.differences("model idle", own) };
    if (!this.#collectorIsWell("processes", "local")) return { what: model.name, differences: [] };
    const up = this.#value("ollama_model_runner_up", identity);
    // Without its runner it is 0, or unknown while another test's runner of an unknown blob runs on this machine.
    if (model.runnerPid === undefined ? (up ?? 0) !== 0 : up !== 1)
      return { what: model.name, differences: [`runner_up is ${up ?? "absent"}`] };
    const measured = this.#value("ollama_model_vram_bytes", { ...identity, gpu: `${model.gpu}` });
    const isMeasured = up === 1 && this.#driverIsWell && !this.#state.lostBoards.has(model.gpu);
    if (measured !== (isMeasured ? model.bytes : undefined))
      return { what: model.name, differences: [`vram is ${measured ?? "absent"}, not ${model.bytes}`] };
    if (!isMeasured) return { what: model.name, differences: [] };
    const isAnswered = ["ollama_model_request_metrics", "ollama_model_slots"].every(
      (name) => this.#value(name, identity) !== undefined,
    );
    const differences = this.#templates
      .differences("model running", own)
      // A runner that does not answer in half a second costs its own families and nothing else (contract, section 3).
      .filter((text) => isAnswered || !OF_RUNNER.test(text))
      // Power is that of the last whole reading, in which the board may have been lost; this one was cut off before its end.
      .filter((text) => (this.#isWhole && isAnswered) || !text.startsWith("lost ollama_model_power_watts"));
    return { what: model.name, differences };
  }

  #processes(): Part {
    const own = this.#entity("process");
    if (!this.#driverIsWell) return { what: "processes while the driver fails", differences: own.map(shapeOf) };
    const running = this.#state.models.filter(
      ({ runnerPid, gpu }) => runnerPid !== undefined && !this.#state.lostBoards.has(gpu),
    );
    const pids = new Set(running.map(({ runnerPid }) => `${runnerPid ?? 0}`));
    const others = own.filter(({ labels }) => !pids.has(labels.pid ?? "")).map(shapeOf);
    const wrong = [...pids].flatMap((pid) =>
      this.#templates.differences(
        "process",
        own.filter(({ labels }) => labels.pid === pid),
      ),
    );
    return { what: "processes", differences: [...others, ...wrong] };
  }

  #entity(kind: ReturnType<typeof entityOf>): readonly Series[] {
    return this.#all.filter((series) => entityOf(series) === kind);
  }

  #collectorIsWell(collector: string, target: string): boolean {
    return this.#value(`${SELF}collector_success`, { collector, target }) === 1;
  }

  #value(name: string, labels: Readonly<Record<string, string>>): number | undefined {
    const exact = this.#body.get(keyOf(name, labels));
    if (exact) return exact.value;
    const matches = ({ labels: own }: Series) => Object.entries(labels).every(([key, value]) => own[key] === value);
    return this.#all.find((series) => series.name === name && matches(series))?.value;
  }
}
