/** From a configuration to a snapshot cache: sources, collector, cache. A GPU back-end is one line here. */
import type { Config } from "./config/options.ts";
import { SnapshotCache } from "./collect/cache.ts";
import { Collector, type CollectorSources } from "./collect/collector.ts";
import type { Clock } from "./lib/clock.ts";
import type { Logger } from "./logger.ts";
import { createOllamaClient } from "./sources/ollama/client.ts";
import { OllamaSource, type OllamaClient } from "./sources/ollama/source.ts";
import { createDemoSources } from "./sources/demo.ts";
import { NvmlSource } from "./sources/nvml/source.ts";
import { RunnerEndpointsSource } from "./sources/runner-endpoints/source.ts";
import { ProcessesSource } from "./sources/processes/source.ts";

export interface PipelineDependencies {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Used for the first server instead of one over HTTP. */
  readonly ollamaClient?: OllamaClient;
}

/** Everything below the outputs. */
export interface Pipeline {
  readonly cache: SnapshotCache;
  /** Ends the reading in flight, the native worker and the connections. */
  close(): Promise<void>;
}

/** Puts the pipeline together; nothing is read and no process is started yet. */
export function createPipeline(config: Config, dependencies: PipelineDependencies): Pipeline {
  const { clock, logger } = dependencies;
  const sources = createSources(config, dependencies);
  const collector = new Collector({ sources, showProcesses: config.processes, clock, logger });
  const cache = new SnapshotCache({
    collect: (signal) => collector.start(signal),
    maxAgeMs: config.cacheDurationMs,
    clock,
  });
  return {
    cache,
    close: async () => {
      cache.close();
      await collector.close();
    },
  };
}

function createSources(config: Config, dependencies: PipelineDependencies): CollectorSources {
  const { clock, logger } = dependencies;
  const demo = createDemoSources({ clock });
  if (config.demo) return demo;
  const { backend } = config.gpu;
  const nvml =
    backend === "demo" ? demo.nvml : backend === "none" ? undefined : nvmlSource(config, backend, dependencies);
  return {
    ...(nvml && { nvml }),
    ollama: ollamaSources(config, dependencies),
    ...(config.ollama.runnerMetrics && {
      runnerEndpoints: new RunnerEndpointsSource({ procfs: config.procfs, clock }),
    }),
    processes: new ProcessesSource({ procfs: config.procfs, timeoutMs: config.gpu.timeoutMs, clock, logger }),
  };
}

function nvmlSource(
  { gpu, energyIntervalMs, retry }: Config,
  mode: "auto" | "nvml",
  { clock, logger }: PipelineDependencies,
) {
  const { nvmlLibrary: library, timeoutMs, include, workerEnvironment } = gpu;
  return new NvmlSource({
    library,
    mode,
    timeoutMs,
    energyIntervalMs,
    workerEnvironment,
    retry,
    clock,
    logger,
    ...(include && { include }),
  });
}

function ollamaSources({ ollama, retry }: Config, dependencies: PipelineDependencies): CollectorSources["ollama"] {
  const { clock, logger, ollamaClient } = dependencies;
  const { timeoutMs, tagsIntervalMs, headers, runnerMetrics: readsOwnMetrics } = ollama;
  return ollama.servers.map((target, index) => {
    const client =
      (index === 0 ? ollamaClient : undefined) ?? createOllamaClient({ target, headers, timeoutMs, retry, clock });
    const { identity } = target;
    const options = { identity, client, timeoutMs, tagsIntervalMs, readsOwnMetrics, clock, logger };
    return { identity, source: new OllamaSource(options) };
  });
}
