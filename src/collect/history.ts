/** The load and unload transitions of every model: a pure fold over attributed readings. */
import type { Model, ModelTransitions, OllamaServer, Runner } from "../snapshot.ts";

/** A PID may be given to another process: only with the start it names one. */
type Identity = Pick<Runner, "pid" | "startTicks">;

interface Tracked {
  readonly loads: number;
  readonly unloads: number;
  readonly loaded: boolean;
  /** The last runners seen; kept while the model stays loaded, so that a crash and its new runner are told apart. */
  readonly runners: readonly Identity[];
  readonly digest: string | undefined;
}

/** What is remembered between snapshots, by server and model name. */
export type History = ReadonlyMap<string, ReadonlyMap<string, Tracked>>;

export const emptyHistory: History = new Map();

/**
 * The history after one more reading. A server that is down keeps its state; the first good reading of a server counts
 * no load; a model disappears when it is neither installed nor loaded.
 */
export function advance(history: History, servers: readonly OllamaServer[], models: readonly Model[]): History {
  const next = new Map(history);
  for (const server of servers) {
    if (!server.up) continue;
    const before = history.get(server.server);
    const now = new Map<string, Tracked>();
    for (const model of models) {
      if (model.server === server.server)
        now.set(model.name, step(before?.get(model.name), model, before === undefined));
    }
    // Without /api/tags nobody knows whether a model that left /api/ps is still installed.
    if (server.installedCount === undefined) keepUnlisted(now, before);
    next.set(server.server, now);
  }
  return next;
}

/** The counters of every server that is up, in the history's order. */
export function transitionsOf(history: History, servers: readonly OllamaServer[]): readonly ModelTransitions[] {
  return servers
    .filter(({ up }) => up)
    .flatMap(({ server }) =>
      [...(history.get(server) ?? [])].map(([name, { loads, unloads }]) => ({ server, name, loads, unloads })),
    );
}

function step(before: Tracked | undefined, model: Model, firstReading: boolean): Tracked {
  const loaded = model.loaded !== undefined;
  const runners = model.runners ?? [];
  const digest = model.loaded?.digest;
  if (!before) return { loads: loaded && !firstReading ? 1 : 0, unloads: 0, loaded, runners, digest };
  const reloaded = before.loaded && loaded && (replaced(before.runners, runners) || differs(before.digest, digest));
  return {
    loads: before.loads + (loaded && (!before.loaded || reloaded) ? 1 : 0),
    unloads: before.unloads + (before.loaded && (!loaded || reloaded) ? 1 : 0),
    loaded,
    runners: loaded && runners.length === 0 ? before.runners : runners,
    digest: loaded ? (digest ?? before.digest) : undefined,
  };
}

function keepUnlisted(now: Map<string, Tracked>, before: ReadonlyMap<string, Tracked> | undefined): void {
  for (const [name, tracked] of before ?? []) {
    if (now.has(name)) continue;
    const unloads = tracked.unloads + (tracked.loaded ? 1 : 0);
    now.set(name, { ...tracked, unloads, loaded: false, runners: [], digest: undefined });
  }
}

const isSame = (a: Identity, b: Identity): boolean =>
  a.pid === b.pid && (a.startTicks ?? b.startTicks) === (b.startTicks ?? a.startTicks);

const replaced = (before: readonly Identity[], now: readonly Identity[]): boolean =>
  before.length > 0 && now.length > 0 && !now.some((runner) => before.some((known) => isSame(known, runner)));

const differs = (before: string | undefined, now: string | undefined): boolean =>
  before !== undefined && now !== undefined && before !== now;
