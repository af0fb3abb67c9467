/** --demo: synthetic hardware and models behind the same interface as the real ones; deterministic for a given clock. */
import type { Clock } from "../lib/clock.ts";
import type {
  EnergySample,
  Gpu,
  NvmlReading,
  OllamaReading,
  ProcessDetail,
  ProcessesReading,
  ServerIdentity,
} from "../snapshot.ts";
import { FOREIGN, MODELS, SERVERS } from "./demo/inventory.ts";
import { BOARD_COUNT, gpusAt, loadedAt, runnersAt } from "./demo/machine.ts";
import type { Source, SourceResult } from "./source.ts";

const VERSION = "0.33.2";
const CONTAINER = "0123456789ab";

export interface DemoSources {
  readonly nvml: Source<NvmlReading>;
  readonly ollama: readonly { readonly identity: ServerIdentity; readonly source: Source<OllamaReading> }[];
  readonly processes: Source<ProcessesReading> & {
    describe(pids: Iterable<number>): Promise<ReadonlyMap<number, ProcessDetail>>;
  };
}

/** Sources of a machine with four GPUs, two servers and six models. */
export function createDemoSources({ clock }: { readonly clock: Clock }): DemoSources {
  const startedAtMs = clock.now();
  const age = () => Math.max(0, clock.now() - startedAtMs) / 1000;
  return {
    nvml: sourceOf("nvml", "local", () => {
      const gpus = gpusAt(age(), clock.now() / 1000);
      return {
        gpus,
        boardCount: BOARD_COUNT,
        callErrors: [],
        energySamples: gpus.flatMap((gpu) => energySample(gpu, clock.monotonic() / 1000)),
      };
    }),
    ollama: SERVERS.map(({ server, port }) => ({
      identity: { server, host: "127.0.0.1", port, local: true },
      source: sourceOf("ollama", server, () => ollamaReading(server, clock.now(), startedAtMs)),
    })),
    processes: {
      ...sourceOf("processes", "local", () => ({
        runners: runnersAt(age(), startedAtMs / 1000),
        ollamaPids: new Set([...SERVERS.map(({ pid }) => pid), ...MODELS.flatMap(({ pid }) => pid ?? [])]),
        blind: false,
      })),
      describe: (pids) => Promise.resolve(new Map([...pids].map((pid) => [pid, describe(pid)]))),
    },
  };
}

function ollamaReading(server: string, nowMs: number, startedAtMs: number): OllamaReading {
  const own = MODELS.filter((model) => model.server === server);
  const loaded = own.filter(({ pid }) => pid !== undefined).map((model) => loadedAt(model, nowMs));
  const installed = own.map(({ name, hex, family, parameterSize, quantization, fileBytes }) => ({
    name,
    digest: hex,
    family,
    parameterSize,
    quantization,
    format: "gguf",
    fileBytes,
    modifiedAtMs: Math.floor(startedAtMs / 86_400_000) * 86_400_000 - 30 * 86_400_000,
  }));
  return {
    version: VERSION,
    loaded,
    installed,
    loadedCount: loaded.length,
    installedCount: installed.length,
    dropped: 0,
  };
}

/** One per reading: the demo has no worker that samples in between. */
function energySample(
  { uuid, energyJoules, processes, parentUuid, migModeEnabled }: Gpu,
  atSeconds: number,
): readonly EnergySample[] {
  if (energyJoules === undefined || parentUuid !== undefined) return [];
  const busy =
    migModeEnabled === 1
      ? undefined
      : processes?.map(({ pid, smUtilizationRatio = 0 }) => [pid, smUtilizationRatio] as const);
  return [{ uuid, atSeconds, energyJoules, ...(busy && { busy }) }];
}

function describe(pid: number): ProcessDetail {
  if (pid === FOREIGN.pid) return { process: FOREIGN.process, containerId: "", user: FOREIGN.user };
  return { process: "llama-server", containerId: CONTAINER, user: "ollama" };
}

function sourceOf<T>(name: Source<T>["name"], target: string, read: () => T): Source<T> {
  const answer = (): Promise<SourceResult<T>> => Promise.resolve({ status: "ok", value: read() });
  return { name, target, read: answer, close: () => Promise.resolve() };
}
