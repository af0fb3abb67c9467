import { joinRunners, type Join, type Joins } from "./attribution/join.ts";
import type { MonitoredServer } from "./attribution/candidates.ts";
import { gpuOwners, gpuProcessEntries, type ProcessSelection } from "./attribution/owners.ts";
import { measuredVram, reportableGpu, reportedVram } from "./attribution/vram.ts";
import { listGpuProcesses, type Placement, placementsByPid } from "./attribution/listed.ts";
import type {
  Gpu,
  GpuOwners,
  GpuProcessEntry,
  InstalledModel,
  LoadedModel,
  Model,
  NvmlReading,
  OllamaServer,
  ProcessDetail,
  ProcessesReading,
} from "./snapshot.ts";

/** What one collection has read. An absent reading is one that failed or is switched off. */
export interface AttributionInput {
  readonly nvml?: NvmlReading;
  readonly servers: readonly MonitoredServer[];
  readonly processes?: ProcessesReading;
  /** By PID that the driver listed. */
  readonly details: ReadonlyMap<number, ProcessDetail>;
  /** Whose processes become entries. */
  readonly show: ProcessSelection;
  /** Servers that were joined to a runner in an earlier collection: they stay on this host. */
  readonly everJoined?: ReadonlySet<string>;
}

/** The joined parts of a snapshot. */
export interface Attribution {
  /** In the order of the input. */
  readonly servers: readonly OllamaServer[];
  /** Every loaded or installed model once per server, by server and name. */
  readonly models: readonly Model[];
  readonly owners: readonly GpuOwners[];
  readonly processes: readonly GpuProcessEntry[];
  readonly droppedProcesses: number;
  /** Absent when the process table could not be read. */
  readonly orphanedRunners?: number;
}

/** Everything the parts are made from. */
interface Facts {
  readonly input: AttributionInput;
  readonly joins: Joins;
  readonly placements: ReadonlyMap<number, readonly Placement[]>;
  /** Whose memory Ollama's own numbers mean; absent where the driver measures, or where there is no telling. */
  readonly reportable: Gpu | undefined;
}

/**
 * Joins the driver's processes, the process table and the servers' models: who holds which bytes on which GPU.
 * Pure. A byte that may belong to two models is given to neither.
 */
export function attribute(input: AttributionInput): Attribution {
  const { nvml, servers, processes, everJoined } = input;
  const runners = (processes?.runners ?? []).filter(({ orphaned }) => !orphaned);
  const listed = nvml ? listGpuProcesses(nvml.gpus) : [];
  const joins = joinRunners({ servers, runners, everJoined: everJoined ?? new Set() });
  const reportable = nvml && reportableGpu({ nvml, listed, blind: processes?.blind ?? false });
  const facts: Facts = { input, joins, placements: placementsByPid(listed), reportable };
  const { entries, dropped } = gpuProcessEntries({ ...input, listed });
  return {
    servers: servers.map((server) => describeServer(server, facts)),
    models: servers.flatMap((server) => modelsOf(server, facts)),
    owners: processes ? gpuOwners(listed, processes) : [],
    processes: entries,
    droppedProcesses: dropped,
    ...(processes && { orphanedRunners: processes.runners.length - runners.length }),
  };
}

function describeServer({ identity, reading }: MonitoredServer, { input, joins }: Facts): OllamaServer {
  const onThisHost = joins.onThisHost.has(identity.server);
  const seesRunners = onThisHost && input.processes !== undefined && !input.processes.blind;
  return {
    server: identity.server,
    up: reading !== undefined,
    onThisHost,
    ...(reading && { loadedCount: reading.loadedCount }),
    ...(reading?.version !== undefined && { version: reading.version }),
    ...(reading?.installedCount !== undefined && { installedCount: reading.installedCount }),
    ...(reading && seesRunners && { loadingCount: joins.unmatchedRunners(identity.server).length }),
    ...(reading?.ownMetrics && { ownMetrics: reading.ownMetrics.mapped }),
  };
}

function modelsOf(server: MonitoredServer, facts: Facts): readonly Model[] {
  const loaded = new Map(server.reading?.loaded.map((model) => [model.name, model]));
  const installed = new Map(server.reading?.installed?.map((model) => [model.name, model]));
  const names = [...new Set([...loaded.keys(), ...installed.keys()])].sort();
  return names.map((name) => model({ server, loaded: loaded.get(name), installed: installed.get(name), name }, facts));
}

interface KnownModel {
  readonly server: MonitoredServer;
  readonly name: string;
  readonly loaded: LoadedModel | undefined;
  readonly installed: InstalledModel | undefined;
}

function model({ server, name, loaded, installed }: KnownModel, facts: Facts): Model {
  return {
    server: server.identity.server,
    name,
    ...(installed && { installed }),
    ...(loaded && { loaded, ...loadedParts(server, loaded, facts) }),
  };
}

function loadedParts(
  { identity, reading }: MonitoredServer,
  loaded: LoadedModel,
  { input, joins, placements, reportable }: Facts,
): Partial<Model> {
  const { nvml, processes } = input;
  const onThisHost = joins.onThisHost.has(identity.server);
  const join = joins.of(identity.server, loaded.name);
  const measured = join && nvml && measuredVram(placements, join.runners);
  const reported = onThisHost && reportable ? reportedVram(reportable, loaded, measured) : undefined;
  const vram = reported ?? measured;
  const runnerUp = onThisHost && processes && !processes.blind ? isRunnerUp(identity.server, loaded, joins) : undefined;
  return {
    method: reported ? "reported" : methodOf(join),
    ...(vram && { vram }),
    ...(join && { runners: join.runners }),
    ...(runnerUp !== undefined && { runnerUp }),
    ...(mayUseServersCounters(join, runnerUp) && countersOf(reading, loaded)),
  };
}

/** One source for each model: where a runner is asked for its counters, the server's in their place would look like resets. */
function mayUseServersCounters(join: Join | undefined, runnerUp: number | undefined): boolean {
  if (!join) return runnerUp === undefined;
  return join.runners.every(({ endpoints }) => endpoints === undefined || endpoints.answersMetrics === false);
}

function countersOf(reading: MonitoredServer["reading"], { name }: LoadedModel): Pick<Model, "requestCounters"> {
  const counters = reading?.ownMetrics?.counters ?? {};
  const own = Object.hasOwn(counters, name) ? counters[name] : undefined;
  return own ? { requestCounters: own } : {};
}

function methodOf(join: Join | undefined): NonNullable<Model["method"]> {
  return join?.method ?? "none";
}

function isRunnerUp(server: string, loaded: LoadedModel, joins: Joins): number | undefined {
  if (joins.of(server, loaded.name)) return 1;
  return joins.mayBeRun(server, loaded) ? undefined : 0;
}
