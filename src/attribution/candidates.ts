import type { LoadedModel, OllamaReading, Runner, ServerIdentity } from "../snapshot.ts";

/** A configured server and, when it answered, what it said. */
export interface MonitoredServer {
  readonly identity: ServerIdentity;
  readonly reading?: OllamaReading;
}

/** A server with the loaded models that a runner's command line may mean. */
export interface Candidate {
  readonly identity: ServerIdentity;
  readonly models: readonly LoadedModel[];
}

/** A runner with the server it belongs to. */
export interface Choice {
  readonly runner: Runner;
  readonly candidate: Candidate;
  /** Its parent holds the server's port; otherwise nothing speaks against it. */
  readonly byPort: boolean;
}

/** What a runner's command line says it runs; undefined when it says nothing. */
export function claimOf(runner: Runner): string | undefined {
  if (runner.blobDigest !== undefined) return blobClaim(runner.blobDigest);
  return runner.modelName === undefined ? undefined : nameClaim(runner.modelName);
}

/** For every claim a runner could make: the servers with the models it means, in their order. */
export function candidatesByClaim(servers: readonly MonitoredServer[]): ReadonlyMap<string, readonly Candidate[]> {
  const candidates = new Map<string, Candidate[]>();
  for (const { identity, reading } of servers) {
    const claims = (reading?.loaded ?? []).flatMap((model) => claimsOf(model).map((claim) => ({ claim, model })));
    for (const [claim, rows] of Map.groupBy(claims, (row) => row.claim)) {
      const known = candidates.get(claim) ?? [];
      candidates.set(claim, [...known, { identity, models: rows.map(({ model }) => model) }]);
    }
  }
  return candidates;
}

/** The claims that mean this model. */
function claimsOf(model: LoadedModel): readonly string[] {
  const byName = nameClaim(model.name);
  return model.blobDigest === undefined ? [byName] : [blobClaim(model.blobDigest), byName];
}

/**
 * Decides between servers for runners that all claim the same blob or name: the one whose port the parent holds, else
 * the only candidate, else the only one on this host. A runner without a certain server is left out.
 */
export function chooseCandidates(runners: readonly Runner[], candidates: readonly Candidate[]): readonly Choice[] {
  const byPort = runners.flatMap((runner): readonly Choice[] => {
    const candidate = preferred(holders(runner, candidates));
    return candidate ? [{ runner, candidate, byPort: true }] : [];
  });
  // A server runs a blob once: beside a runner that holds its port, another one belongs to a server not monitored here.
  const taken = new Set(byPort.map(({ candidate }) => candidate));
  const fallback = preferred(candidates);
  if (fallback === undefined || taken.has(fallback)) return byPort;
  const rest = runners.filter((runner) => holders(runner, candidates).length === 0);
  return [...byPort, ...rest.map((runner) => ({ runner, candidate: fallback, byPort: false }))];
}

function holders(runner: Runner, candidates: readonly Candidate[]): readonly Candidate[] {
  const ports = runner.parentListenPorts ?? [];
  return candidates.filter(({ identity }) => identity.port !== undefined && ports.includes(identity.port));
}

function preferred(candidates: readonly Candidate[]): Candidate | undefined {
  if (candidates.length === 1) return candidates[0];
  const local = candidates.filter(({ identity }) => identity.local);
  return local.length === 1 ? local[0] : undefined;
}

function blobClaim(digest: string): string {
  return `sha256:${digest}`;
}

/** Ollama's names without a tag mean `latest` (types/model/name.go). */
function nameClaim(name: string): string {
  return `name:${name.slice(name.lastIndexOf("/") + 1).includes(":") ? name : `${name}:latest`}`;
}
