import type { Config } from "./config/options.ts";
import { defaultConfig } from "./config/load.ts";
import { buildFamilies } from "./families/build.ts";
import { ConfigError, NoSnapshotError } from "./errors.ts";
import { systemClock } from "./lib/clock.ts";
import { type Logger, silentLogger } from "./logger.ts";
import { type ExpositionFormat, negotiate } from "./outputs/prometheus/negotiate.ts";
import { renderFamilies } from "./outputs/prometheus/render.ts";
import { RenderedBodies } from "./outputs/rendered.ts";
import { type Condition, conditionsOf } from "./outputs/status/conditions.ts";
import { toStatusDict, type StatusDict } from "./outputs/status/json.ts";
import {
  type Alert,
  type AlertThresholds,
  alertsOf,
  type GpuStatus,
  gpuStatuses,
  type ModelGpuUsage,
  modelGpuUsages,
  type OllamaProcess,
  ollamaProcesses,
} from "./outputs/status/status.ts";
import { formatStatusText } from "./outputs/status/text.ts";
import type { Snapshot } from "./snapshot.ts";
import type { OllamaClient } from "./sources/ollama/source.ts";
import { type ByteUnit, convertByteUnit } from "./units.ts";
import { createPipeline, type Pipeline } from "./pipeline.ts";
import { buildInfo } from "./build-info.ts";

/** Options of the class: names, units and defaults of the original Python class, durations in seconds. */
export interface OllamaGPUMonitorOptions {
  /** An `Ollama` of the npm package "ollama", or anything with its ps(), list(), show() and version(). */
  readonly ollamaClient?: OllamaClient;
  /** Unit of memory sizes in every answer. Default "MB" (1024 based). */
  readonly defaultMemoryUnit?: ByteUnit;
  /** Seconds for which a snapshot is served again. Default 5; 0 = read every time. */
  readonly cacheDuration?: number;
  /** Start reading in the background at once. Default false. */
  readonly enableBackgroundRefresh?: boolean;
  /** Seconds between background readings. Default 10. */
  readonly backgroundRefreshInterval?: number;
  /** Attempts per reading, within its deadline. Default 3. */
  readonly retryAttempts?: number;
  /** Seconds between attempts. Default 1. */
  readonly retryDelay?: number;
  /** As OLLAMA_HOST; default OLLAMA_HOST, else http://127.0.0.1:11434. `none` = no Ollama. */
  readonly ollamaHost?: string;
  /** Default "auto". */
  readonly gpuBackend?: Config["gpu"]["backend"];
  /** File name or path of libnvidia-ml. Default "libnvidia-ml.so.1". */
  readonly nvmlLibrary?: string;
  /** Root of the process table. Default "/proc". */
  readonly procfs?: string;
  /** Default: silent. */
  readonly logger?: Logger;
  /** Closes the monitor when aborted. */
  readonly signal?: AbortSignal;
}

export interface FormatOptions {
  readonly includeGpu?: boolean;
  readonly includeTimestamp?: boolean;
}

interface ReadOptions {
  readonly forceRefresh?: boolean;
}

/**
 * A unified view of Ollama's models and the GPUs they run on. Every method works with no GPU and no Ollama: lists are
 * empty then, and `snapshot().collectors` says why. Throws ConfigError from the constructor on a wrong option.
 *
 * @example
 * ```ts
 * await using monitor = new OllamaGPUMonitor({ cacheDuration: 2 });
 * for (const { modelName, gpus } of await monitor.getModelGpuUsage()) console.log(modelName, gpus);
 * ```
 * @example A subclass, as with the original class
 * ```ts
 * class Watcher extends OllamaGPUMonitor {
 *   async hot(): Promise<string[]> {
 *     return (await this.checkAlerts({ temperatureCelsius: 80 })).map((alert) => `GPU ${alert.gpuId}: ${alert.value}`);
 *   }
 * }
 * ```
 */
export class OllamaGPUMonitor implements AsyncDisposable {
  readonly #pipeline: Pipeline;
  readonly #bodies = new RenderedBodies<ExpositionFormat>((snapshot, format) =>
    renderFamilies(buildFamilies(snapshot, { ...buildInfo(), httpRequests: [] }), format),
  );
  readonly #memoryUnit: ByteUnit;
  readonly #refreshIntervalMs: number;

  /**
   * @param options - see OllamaGPUMonitorOptions
   * @param config - a complete configuration in place of the one that the options mean; the command line passes its own
   */
  constructor(options: OllamaGPUMonitorOptions = {}, config: Config = configOf(options)) {
    const { logger = silentLogger, ollamaClient, defaultMemoryUnit = "MB", backgroundRefreshInterval = 10 } = options;
    convertByteUnit(0, defaultMemoryUnit, defaultMemoryUnit); // an unknown unit is refused here, not at the first reading
    this.#memoryUnit = defaultMemoryUnit;
    if (!(backgroundRefreshInterval > 0 && Number.isFinite(backgroundRefreshInterval)))
      throw new ConfigError([`backgroundRefreshInterval: expected seconds above 0, got ${backgroundRefreshInterval}`]);
    this.#refreshIntervalMs = backgroundRefreshInterval * 1000;
    this.#pipeline = createPipeline(config, { clock: systemClock, logger, ...(ollamaClient && { ollamaClient }) });
    options.signal?.addEventListener("abort", () => void this.close(), { once: true });
    if (options.enableBackgroundRefresh) this.startBackgroundRefresh();
  }

  /**
   * The boards, in NVML order. A value that is unknown is undefined.
   * @example `const [first] = await monitor.getGpuStatus({ unit: "GB" });`
   */
  async getGpuStatus(options: ReadOptions & { readonly unit?: ByteUnit } = {}): Promise<GpuStatus[]> {
    return gpuStatuses(await this.#read(options), options.unit ?? this.#memoryUnit);
  }

  /**
   * The loaded models of every server, in the words of `ollama ps`.
   * @example `const names = (await monitor.getOllamaProcesses()).map(({ name }) => name);`
   */
  async getOllamaProcesses(options: ReadOptions = {}): Promise<OllamaProcess[]> {
    return ollamaProcesses(await this.#read(options), Date.now());
  }

  /**
   * One entry per loaded model, with the bytes that the driver measured for it on each GPU.
   * @example `const [{ gpus, method }] = await monitor.getModelGpuUsage({ forceRefresh: true });`
   */
  async getModelGpuUsage(options: ReadOptions = {}): Promise<ModelGpuUsage[]> {
    return this.#usages(await this.#read(options));
  }

  /** As getGpuStatus, from the last snapshot. Throws NoSnapshotError before the first. @example `monitor.getGpuStatusSync()` */
  getGpuStatusSync(options: { readonly unit?: ByteUnit } = {}): GpuStatus[] {
    return gpuStatuses(this.snapshotSync(), options.unit ?? this.#memoryUnit);
  }

  /** As getOllamaProcesses, from the last snapshot. Throws NoSnapshotError before the first. @example `monitor.getOllamaProcessesSync()` */
  getOllamaProcessesSync(): OllamaProcess[] {
    return ollamaProcesses(this.snapshotSync(), Date.now());
  }

  /** As getModelGpuUsage, from the last snapshot. Throws NoSnapshotError before the first. @example `monitor.getModelGpuUsageSync()` */
  getModelGpuUsageSync(): ModelGpuUsage[] {
    return this.#usages(this.snapshotSync());
  }

  /**
   * The status as text, as the command `status` prints it above what is wrong (activeConditions).
   * @example `console.log(await monitor.formatStatus({ includeTimestamp: false }));`
   */
  async formatStatus(options: FormatOptions = {}): Promise<string> {
    return this.#format(await this.snapshot(), options);
  }

  /** As formatStatus, from the last snapshot. Throws NoSnapshotError before the first. @example `monitor.formatStatusSync()` */
  formatStatusSync(options: FormatOptions = {}): string {
    return this.#format(this.snapshotSync(), options);
  }

  /**
   * The original class's dictionary: snake_case, null for unknown.
   * @example `const { model_gpu_usage } = await monitor.toDict();`
   */
  async toDict(): Promise<StatusDict> {
    return this.#dict(await this.snapshot());
  }

  /** As toDict, from the last snapshot. Throws NoSnapshotError before the first. @example `monitor.toDictSync()` */
  toDictSync(): StatusDict {
    return this.#dict(this.snapshotSync());
  }

  /** toDict() as JSON. @example `await writeFile("status.json", await monitor.toJson());` */
  async toJson(indent = 2): Promise<string> {
    return JSON.stringify(await this.toDict(), undefined, indent);
  }

  /**
   * What crosses a threshold now. Memory and power are ratios 0..1; a threshold left out is not checked, memory is by default.
   * @example `for (const { type, gpuId, value } of await monitor.checkAlerts({ memoryRatio: 0.95 })) notify(type, gpuId, value);`
   */
  async checkAlerts(thresholds: AlertThresholds = {}): Promise<Alert[]> {
    return alertsOf(await this.snapshot(), thresholds);
  }

  /**
   * What is wrong now, beyond thresholds of one's own: the bundled Prometheus alerts that need no history, by their names.
   * @example `for (const { name, labels } of await monitor.activeConditions()) console.warn(name, labels);`
   */
  async activeConditions(): Promise<readonly Condition[]> {
    return conditionsOf(await this.snapshot());
  }

  /** See units.ts. @example `monitor.convertByteUnit(1, "GB", "MB") // 1024` */
  convertByteUnit(value: number | null | undefined, sourceUnit: ByteUnit, targetUnit: ByteUnit): number {
    return convertByteUnit(value, sourceUnit, targetUnit);
  }

  /**
   * The whole snapshot; at most `maxAge` seconds old when given, else as old as the cache duration allows.
   * @example `const { gpus, collectors } = await monitor.snapshot({ maxAge: 0 });`
   */
  async snapshot(options: { readonly maxAge?: number } = {}): Promise<Snapshot> {
    return this.#pipeline.cache.get(options.maxAge === undefined ? {} : { maxAgeMs: options.maxAge * 1000 });
  }

  /** The last snapshot, however old. Throws NoSnapshotError before the first. @example `monitor.snapshotSync().takenAtMs` */
  snapshotSync(): Snapshot {
    const { latest } = this.#pipeline.cache;
    if (!latest) throw new NoSnapshotError();
    return latest;
  }

  /**
   * The body of /metrics, without the process_* and nodejs_* families, which belong to the application.
   * @example `const { contentType, body } = await monitor.metricsText(request.headers.accept);`
   */
  async metricsText(accept?: string): Promise<{ contentType: string; body: string }> {
    const { contentType, format } = negotiate(accept);
    return { contentType, body: (await this.#bodies.body(await this.snapshot(), format)).toString() };
  }

  /** Reads now and then every backgroundRefreshInterval seconds; readers are served the newest snapshot at once. @example `monitor.startBackgroundRefresh()` */
  startBackgroundRefresh(): void {
    this.#pipeline.cache.startRefresh(this.#refreshIntervalMs);
  }

  /** @example `monitor.stopBackgroundRefresh()` */
  stopBackgroundRefresh(): void {
    this.#pipeline.cache.stopRefresh();
  }

  /** Ends the refresh, the native worker and the connections. @example `await monitor.close()` */
  async close(): Promise<void> {
    await this.#pipeline.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #read({ forceRefresh = false }: ReadOptions): Promise<Snapshot> {
    return this.#pipeline.cache.get(forceRefresh ? { maxAgeMs: 0 } : {});
  }

  #usages(snapshot: Snapshot): ModelGpuUsage[] {
    return modelGpuUsages(snapshot, { unit: this.#memoryUnit, nowMs: Date.now() });
  }

  #dict(snapshot: Snapshot): StatusDict {
    return toStatusDict(snapshot, { unit: this.#memoryUnit, nowMs: Date.now() });
  }

  #format(snapshot: Snapshot, { includeGpu = true, includeTimestamp = true }: FormatOptions): string {
    return formatStatusText(snapshot, { unit: this.#memoryUnit, includeGpu, includeTimestamp, nowMs: Date.now() });
  }
}

/** The configuration that the options mean: the command line's defaults, with the class's own. */
function configOf(options: OllamaGPUMonitorOptions): Config {
  const seconds = (name: "cacheDuration" | "retryDelay", fallback: number) => {
    const value = options[name] ?? fallback;
    if (!Number.isFinite(value) || value < 0) throw new ConfigError([`${name}: expected seconds >= 0, got ${value}`]);
    return value * 1000;
  };
  const defaults = defaultConfig(options.ollamaHost);
  const { gpuBackend: backend, nvmlLibrary, procfs = defaults.procfs, retryAttempts = 3 } = options;
  if (!Number.isInteger(retryAttempts) || retryAttempts < 0)
    throw new ConfigError([`retryAttempts: expected a whole number >= 0, got ${retryAttempts}`]);
  return {
    ...defaults,
    gpu: { ...defaults.gpu, ...(backend && { backend }), ...(nvmlLibrary !== undefined && { nvmlLibrary }) },
    cacheDurationMs: seconds("cacheDuration", 5),
    retry: { attempts: Math.max(1, retryAttempts), delayMs: seconds("retryDelay", 1) },
    procfs,
  };
}

/** A monitor for a configuration that has been loaded already. */
export function createMonitor(config: Config, logger: Logger, memoryUnit: ByteUnit = "MB"): OllamaGPUMonitor {
  return new OllamaGPUMonitor({ logger, defaultMemoryUnit: memoryUnit }, config);
}
