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

/** Everything of one snapshot, with the exporter's own numbers as of now. */
export function metricDataOf(
  snapshot: Snapshot,
  state: ExporterState,
  { naming = "native", nowMs }: ProducerOptions & { readonly nowMs: number },
): MetricData[] {
  const { gpus, startedAtMs, takenAtMs } = snapshot;
  const read = [...snapshotFamilies(snapshot), ...(naming === "semconv" ? semconvFamilies(snapshot) : [])];
  const options = { naming, gpus, startedAtMs };
  return [
    ...toMetricData(read, { ...options, timeMs: takenAtMs }),
    // Not part of the reading: under its time they would change although time stands still.
    ...toMetricData(stateFamilies(state), { ...options, timeMs: Math.max(nowMs, takenAtMs) }),
  ];
}

/** What metrics are produced from. `snapshot` shares its cache with all other readers. */
export interface ProducerSource {
  readonly snapshot: (options: { readonly timeoutMs?: number }) => Promise<Snapshot>;
  readonly state: () => ExporterState;
  readonly now: () => number;
}

/** A producer that never rejects: what fails is in its `errors`, and the metrics are empty then. */
export function producerOf(source: ProducerSource, options: ProducerOptions = {}): MetricProducer {
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
        return result(metricDataOf(snapshot, source.state(), { ...options, nowMs: source.now() }), []);
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
      now: () => Date.now(),
    },
    options,
  );
}
