import type { LoadedModel, Runner } from "../snapshot.ts";
import { candidatesByClaim, chooseCandidates, claimOf, type MonitoredServer } from "./candidates.ts";

/** The runners of a loaded model, and how that is known. */
export interface Join {
  readonly method: "pid" | "name" | "sole";
  readonly runners: readonly Runner[];
}

export interface JoinInput {
  readonly servers: readonly MonitoredServer[];
  /** Without the orphaned ones. */
  readonly runners: readonly Runner[];
  readonly everJoined: ReadonlySet<string>;
}

/** Which runner runs which model, and what is left open. */
export interface Joins {
  readonly onThisHost: ReadonlySet<string>;
  of(server: string, model: string): Join | undefined;
  /** Runners of this server that run none of its loaded models. */
  unmatchedRunners(server: string): readonly Runner[];
  /** Whether a runner that was joined to no model might be this model's. */
  mayBeRun(server: string, model: LoadedModel): boolean;
}

/** What the runners of a server that were joined to no model may run. */
interface OpenClaims {
  readonly digests: Set<string>;
  /** A runner without a digest may run any model. */
  hasUnknown: boolean;
}

/** Joins by digest, by name and, last, the only runner left to the only model left. */
export function joinRunners(input: JoinInput): Joins {
  const table = new JoinTable(input);
  table.joinByClaim();
  table.joinSole();
  return table;
}

class JoinTable implements Joins {
  readonly #input: JoinInput;
  readonly #joins = new Map<string, Join>();
  readonly #onThisHost: Set<string>;
  /** Servers by the process that is theirs: the parent of a runner joined to one of their models. */
  readonly #serversByParent = new Map<number, Set<string>>();
  /** Servers whose port is held by the parent of a runner joined to them: no other process is theirs. */
  readonly #withKnownProcess = new Set<string>();
  readonly #possible = new Map<Runner, readonly MonitoredServer[]>();
  /** Runners not joined yet. */
  readonly #open: Set<Runner>;
  /** What the open runners may run, by server; made anew after a join. */
  #openClaims: ReadonlyMap<string, OpenClaims> | undefined;

  constructor(input: JoinInput) {
    this.#input = input;
    this.#open = new Set(input.runners);
    this.#onThisHost = new Set(
      input.servers
        .map(({ identity }) => identity)
        .filter(({ local, server }) => local || input.everJoined.has(server))
        .map(({ server }) => server),
    );
  }

  get onThisHost(): ReadonlySet<string> {
    return this.#onThisHost;
  }

  of(server: string, model: string): Join | undefined {
    return this.#joins.get(keyOf(server, model));
  }

  unmatchedRunners(server: string): readonly Runner[] {
    return [...this.#open].filter((runner) => this.#serverOf(runner) === server);
  }

  mayBeRun(server: string, model: LoadedModel): boolean {
    this.#openClaims ??= this.#claimsOfOpenRunners();
    const claims = this.#openClaims.get(server);
    if (!claims) return false;
    return model.blobDigest === undefined || claims.hasUnknown || claims.digests.has(model.blobDigest);
  }

  joinByClaim(): void {
    const candidates = candidatesByClaim(this.#input.servers);
    for (const [claim, runners] of Map.groupBy(this.#input.runners, claimOf)) {
      const choices = chooseCandidates(runners, candidates.get(claim ?? "") ?? []);
      for (const { runner, candidate, byPort } of choices) {
        const [model, another] = candidate.models;
        // Two models on one blob cannot be told apart.
        if (!model || another) continue;
        this.#join(candidate.identity.server, model, { runner, method: methodOf(runner) });
        this.#recordServer(runner, candidate.identity.server, byPort);
      }
    }
  }

  joinSole(): void {
    for (const { identity, reading } of this.#input.servers) {
      const [runner, ...otherRunners] = this.unmatchedRunners(identity.server);
      const [model, ...otherModels] = (reading?.loaded ?? []).filter(({ name }) => !this.of(identity.server, name));
      if (!runner || !model || otherRunners.length > 0 || otherModels.length > 0) continue;
      const digestsDiffer = runner.blobDigest !== undefined && model.blobDigest !== undefined;
      if (!digestsDiffer) this.#join(identity.server, model, { runner, method: "sole" });
    }
  }

  #claimsOfOpenRunners(): ReadonlyMap<string, OpenClaims> {
    const claims = new Map<string, OpenClaims>();
    for (const runner of this.#open) {
      for (const { identity } of this.#possibleServers(runner)) {
        const known = claims.get(identity.server) ?? { digests: new Set(), hasUnknown: false };
        if (runner.blobDigest === undefined) known.hasUnknown = true;
        else known.digests.add(runner.blobDigest);
        claims.set(identity.server, known);
      }
    }
    return claims;
  }

  #recordServer(runner: Runner, server: string, byPort: boolean): void {
    this.#onThisHost.add(server);
    const servers = this.#serversByParent.get(runner.parentPid) ?? new Set();
    this.#serversByParent.set(runner.parentPid, servers.add(server));
    if (byPort) this.#withKnownProcess.add(server);
  }

  #join(server: string, model: LoadedModel, { runner, method }: { runner: Runner; method: Join["method"] }): void {
    const key = keyOf(server, model.name);
    const known = this.#joins.get(key);
    this.#joins.set(key, { method: known?.method ?? method, runners: [...(known?.runners ?? []), runner] });
    this.#open.delete(runner);
    this.#openClaims = undefined;
  }

  /** The server that a runner surely belongs to, whatever it runs. */
  #serverOf(runner: Runner): string | undefined {
    const [server, another] = this.#possibleServers(runner);
    const isCertain = this.#onThisHost.size === 1 || this.#isKnownParent(runner) || holdsPort(runner, server);
    return server && !another && isCertain ? server.identity.server : undefined;
  }

  #isKnownParent(runner: Runner): boolean {
    return this.#serversByParent.get(runner.parentPid)?.size === 1;
  }

  #possibleServers(runner: Runner): readonly MonitoredServer[] {
    const known = this.#possible.get(runner) ?? this.#findPossibleServers(runner);
    this.#possible.set(runner, known);
    return known;
  }

  /** Servers on this host that a runner may belong to, once the claims have been joined. */
  #findPossibleServers(runner: Runner): readonly MonitoredServer[] {
    const onThisHost = this.#input.servers.filter(({ identity }) => this.#onThisHost.has(identity.server));
    const parents = this.#serversByParent.get(runner.parentPid);
    if (parents) return onThisHost.filter(({ identity }) => parents.has(identity.server));
    const open = onThisHost.filter(({ identity }) => !this.#withKnownProcess.has(identity.server));
    const byPort = open.filter((server) => holdsPort(runner, server));
    if (byPort.length === 0) return open;
    const local = byPort.filter(({ identity }) => identity.local);
    return local.length === 1 ? local : byPort;
  }
}

function holdsPort(runner: Runner, server: MonitoredServer | undefined): boolean {
  const port = server?.identity.port;
  return port !== undefined && (runner.parentListenPorts?.includes(port) ?? false);
}

function methodOf(runner: Runner): "pid" | "name" {
  return runner.kind === "name" ? "name" : "pid";
}

function keyOf(server: string, model: string): string {
  return `${server}\n${model}`;
}
