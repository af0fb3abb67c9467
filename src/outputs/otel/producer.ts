/** The snapshot as an OpenTelemetry MetricProducer: a push, a scrape and an application's own reader share one reading. */
import { resourceFromAttributes } from "@opentelemetry/resources";
import type { MetricData, MetricProducer } from "@opentelemetry/sdk-metrics";
import { buildInfo } from "../../build-info.ts";
import type { ExporterState } from "../../catalog/exporter.ts";
import { semconvFamilies, snapshotFamilies, stateFamilies } from "../../families/build.ts";
import type { Snapshot } from "../../snapshot.ts";
import { type Naming, toMetricData } from "./metric-data.ts";

/** Name of the instrumentation scope. */
export const SCOPE_NAME = "ollama-gpu-exporter";

export interface ProducerOptions {
  /** Default "native". */
  readonly naming?: Naming;
}

/** Everything of one snapshot, and the exporter's own numbers, all at the time of the reading. */
export function metricDataOf(snapshot: Snapshot, state: ExporterState, naming: Naming): MetricData[] {
  const { gpus, startedAtMs, takenAtMs } = snapshot;
  const conventions = naming === "semconv" ? semconvFamilies(snapshot) : [];
  const families = [...snapshotFamilies(snapshot), ...conventions, ...stateFamilies(state)];
  return toMetricData(families, { naming, gpus, startedAtMs, timeMs: takenAtMs });
}

/** What metrics are produced from. `snapshot` shares its cache with all other readers. */
export interface ProducerSource {
  readonly snapshot: (options: { readonly timeoutMs?: number }) => Promise<Snapshot>;
  readonly state: () => ExporterState;
}

/**
 * A producer that never rejects: what fails is in its `errors`, and the metrics are empty then. A snapshot that is still
 * fresh is told in the same words again: one series with two values at one time makes Prometheus refuse a push.
 */
export function producerOf(source: ProducerSource, { naming = "native" }: ProducerOptions = {}): MetricProducer {
  const told = new WeakMap<Snapshot, MetricData[]>();
  const { version } = buildInfo();
  const resource = resourceFromAttributes({}); // a reader takes its own provider's
  const result = (metrics: MetricData[], errors: unknown[]) => ({
    resourceMetrics: { resource, scopeMetrics: [{ scope: { name: SCOPE_NAME, version }, metrics }] },
    errors,
  });
  return {
    collect: async ({ timeoutMillis } = {}) => {
      try {
        const snapshot = await source.snapshot(timeoutMillis === undefined ? {} : { timeoutMs: timeoutMillis });
        const metrics = told.get(snapshot) ?? metricDataOf(snapshot, source.state(), naming);
        told.set(snapshot, metrics);
        return result(metrics, []);
      } catch (error) {
        return result([], [error]);
      }
    },
  };
}

/**
 * Our metrics for an application that has a MeterProvider of its own: pass the producer to its reader. Every collection
 * asks the monitor, whose cache decides whether the hardware is read anew.
 *
 * @example
 * ```ts
 * const monitor = new OllamaGPUMonitor();
 * const reader = new PeriodicExportingMetricReader({
 *   exporter: new OTLPMetricExporter(),
 *   metricProducers: [createMetricProducer(monitor)],
 * });
 * const provider = new MeterProvider({ readers: [reader] });
 * ```
 */
export function createMetricProducer(
  monitor: { readonly snapshot: () => Promise<Snapshot> },
  options: ProducerOptions = {},
): MetricProducer {
  const build = buildInfo();
  return producerOf(
    {
      snapshot: () => monitor.snapshot(),
      state: () => ({ ...build, httpRequests: [] }),
    },
    options,
  );
}
