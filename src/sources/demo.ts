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
import { DEMO, type Inventory } from "./demo/inventory.ts";
import { gpusAt, loadedAt, runnersAt } from "./demo/machine.ts";
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

/** Sources of a machine with four GPUs, two servers and six models, or of another one. */
export function createDemoSources({
  clock,
  inventory = DEMO,
}: {
  readonly clock: Clock;
  readonly inventory?: Inventory;
}): DemoSources {
  const { boards, servers, models } = inventory;
  const startedAtMs = clock.now();
  const age = () => Math.max(0, clock.now() - startedAtMs) / 1000;
  return {
    nvml: sourceOf("nvml", "local", () => {
      const gpus = gpusAt(inventory, { seconds: age(), unixSeconds: clock.now() / 1000 });
      return {
        gpus,
        boardCount: boards.length,
        callErrors: [],
        energySamples: gpus.flatMap((gpu) => energySample(gpu, clock.monotonic() / 1000)),
      };
    }),
    ollama: servers.map(({ server, port }) => ({
      identity: { server, host: "127.0.0.1", port, local: true },
      source: sourceOf("ollama", server, () =>
        ollamaReading(
          models.filter((model) => model.server === server),
          clock.now(),
          startedAtMs,
        ),
      ),
    })),
    processes: {
      ...sourceOf("processes", "local", () => ({
        runners: runnersAt(inventory, age(), startedAtMs / 1000),
        ollamaPids: new Set([...servers.map(({ pid }) => pid), ...models.flatMap(({ pid }) => pid ?? [])]),
        blind: false,
      })),
      describe: (pids) => Promise.resolve(new Map([...pids].map((pid) => [pid, describe(pid, inventory)]))),
    },
  };
}

function ollamaReading(own: Inventory["models"], nowMs: number, startedAtMs: number): OllamaReading {
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

function describe(pid: number, { foreign }: Inventory): ProcessDetail {
  if (pid === foreign?.pid) return { process: foreign.process, containerId: "", user: foreign.user };
  return { process: "llama-server", containerId: CONTAINER, user: "ollama" };
}

function sourceOf<T>(name: Source<T>["name"], target: string, read: () => T): Source<T> {
  const answer = (): Promise<SourceResult<T>> => Promise.resolve({ status: "ok", value: read() });
  return { name, target, read: answer, close: () => Promise.resolve() };
}
