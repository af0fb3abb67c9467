/** Which series each kind of entity has when it is well: learnt from the first calm bodies, then never again. */
import type { Exposition, Series } from "./exposition.ts";
import type { WorldModel, WorldState } from "./world.ts";

/** What a series is about. */
export type Entity = "board" | "server" | "model" | "process" | "self";

export function entityOf({ name, labels }: Series): Entity {
  if ("pid" in labels) return "process";
  if ("model" in labels) return "model";
  if ("server" in labels) return "server";
  return "gpu" in labels && !name.startsWith("ollama_gpu_exporter_") ? "board" : "self";
}

/**
 * Series that come with use, and then stay: http codes, failed driver calls, events, energy of a model that ran before.
 * The mean of the event loop's lag is none, and absent, when nothing was measured between two renderings.
 */
export const COMES_WITH_USE =
  /^(?:ollama_gpu_exporter_(?:http_requests_total|nvml_call_errors_total|otlp_last_success\w*|collector_last_success\w*)|ollama_model_energy_joules_total|gpu_xid_last\w*|nodejs_(?:gc_duration\w*|eventloop_lag_(?:mean|stddev)_seconds|active_(?:handles|resources|requests)))\b/;

/** Labels that differ from one entity to the next, or with the process that runs. */
const OWN = new Set(["server", "model", "gpu", "uuid", "pid", "digest"]);

/** A series without what names its entity. */
export function shapeOf({ name, labels }: Series): string {
  const rest = Object.keys(labels)
    .filter((label) => !OWN.has(label))
    .sort();
  return `${name}{${rest.map((label) => `${label}="${labels[label] ?? ""}"`).join(",")}}`;
}

/** One family for each thing that is measured: a machine that does not show them would teach that they may be absent. */
const MUST_BE_KNOWN = [
  ["board 0", "gpu_sm_active_ratio"],
  ["board 0", "gpu_attributed_energy_joules_total"],
  ["model running", "ollama_model_vram_bytes"],
  ["model running", "ollama_model_power_watts"],
  ["model running", "ollama_model_slots"],
  ["model running", "ollama_model_generated_tokens_total"],
  ["process", "gpu_process_memory_bytes"],
] as const;

/** Compared between two readings of the driver by one worker: absent in the first. */
export const FROM_TWO_READINGS = /^lost gpu_(?:sm_active|sm_occupancy|tensor_active|dram_active)_ratio\{/;

export type Shapes = ReadonlySet<string>;

/** By what they are of: `board 0`, `server`, `model idle`, `model running`, `process`, `self`. */
export class Templates {
  readonly #shapes: ReadonlyMap<string, Shapes>;

  private constructor(shapes: ReadonlyMap<string, Shapes>) {
    this.#shapes = shapes;
  }

  /** @throws when the body has not every kind of entity in it */
  static learn(body: Exposition, { models }: WorldState): Templates {
    const all = [...body.values()];
    const idle = models.find(({ loaded }) => !loaded);
    const running = models.find(({ runnerPid }) => runnerPid !== undefined);
    const kinds = new Map<string, readonly Series[]>([
      ["self", all.filter((series) => entityOf(series) === "self")],
      ["server", all.filter((series) => entityOf(series) === "server" && series.labels.server === "soak0")],
      ["model idle", all.filter((series) => isOf(series, idle))],
      ["model running", all.filter((series) => isOf(series, running))],
      ["process", all.filter(({ labels }) => labels.pid === `${running?.runnerPid ?? 0}`)],
    ]);
    const boards = new Set(all.flatMap((series) => (entityOf(series) === "board" ? (series.labels.gpu ?? []) : [])));
    for (const gpu of boards)
      kinds.set(
        `board ${gpu}`,
        all.filter((series) => entityOf(series) === "board" && series.labels.gpu === gpu),
      );
    const shapes = new Map<string, Shapes>();
    for (const [kind, series] of kinds) {
      if (series.length === 0) throw new Error(`nothing is known of ${kind}`);
      shapes.set(kind, new Set(series.map(shapeOf)));
    }
    return new Templates(shapes);
  }

  /** What every kind of entity must have shown. */
  get lacking(): readonly string[] {
    return MUST_BE_KNOWN.filter(
      ([kind, family]) => ![...(this.#shapes.get(kind) ?? [])].some((shape) => shape.startsWith(`${family}{`)),
    ).map(([kind, family]) => `${family} of a ${kind}`);
  }

  get boards(): readonly string[] {
    return [...this.#shapes.keys()].flatMap((kind) => /^board (.*)/.exec(kind)?.[1] ?? []);
  }

  /** What is missing from an entity's series, or is there although it must not be; empty when they are right. */
  differences(kind: string, series: readonly Series[]): readonly string[] {
    const wanted = this.#shapes.get(kind) ?? new Set<string>();
    const found = new Set(series.map(shapeOf));
    const optional = (shape: string): boolean => COMES_WITH_USE.test(shape);
    return [
      ...[...wanted].filter((shape) => !found.has(shape) && !optional(shape)).map((shape) => `lost ${shape}`),
      ...[...found].filter((shape) => !wanted.has(shape) && !optional(shape)).map((shape) => `unexpected ${shape}`),
    ];
  }

  describe(): string {
    return [...this.#shapes].map(([kind, { size }]) => `${kind}: ${size}`).join(", ");
  }
}

/** The series of one model. */
export function isOf({ labels }: Series, model: WorldModel | undefined): boolean {
  return model !== undefined && labels.model === model.name && labels.server === `soak${model.server}`;
}
