/** Metric families -> Prometheus text or OpenMetrics. The only file that imports prom-client. */
import {
  collectDefaultMetrics,
  type Metric,
  type MetricObjectWithValues,
  type MetricValue,
  Registry,
} from "prom-client";
import type { Labels, MetricFamily } from "../../catalog/spec.ts";
import { Turns } from "../../lib/turns.ts";
import type { ExpositionFormat } from "./negotiate.ts";

/** Gauges of prom-client whose names end in `_total`: OpenMetrics keeps that ending for counters, so they are left out. */
const MISNAMED = new Set([
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
  "nodejs_active_resources_total",
]);

/** The event loop monitor's own timer: at prom-client's 10 ms it would be the exporter's largest idle cost. */
const EVENT_LOOP_PRECISION_MS = 250;

/** The usual process_* and nodejs_* families of this process. */
export class RuntimeMetrics {
  readonly #registry = new Registry();

  constructor() {
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
    for (const name of MISNAMED) this.#registry.removeSingleMetric(name);
  }

  /** Their values now. */
  read(): Promise<MetricObjectWithValues<MetricValue<string>>[]> {
    return this.#registry.getMetricsAsJSON();
  }
}

/**
 * The whole body. Every rendering has a registry of its own: prom-client renames counters for OpenMetrics in place, so a
 * shared one would lose `_total` for good.
 */
export async function renderFamilies(
  families: readonly MetricFamily[],
  format: ExpositionFormat,
  runtime?: RuntimeMetrics,
): Promise<string> {
  const registry = new Registry();
  const inTurn = turnGiver();
  if (format === "openmetrics") openMetrics(registry).setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const repeated = repeatedLabels(families);
  for (const { name, help, type, samples } of families) {
    const values = samples.map(({ labels, value }) =>
      repeated.has(labels) ? { value, sharedLabels: labels } : { value, labels, sharedLabels: NO_LABELS },
    );
    register(registry, { name, help, type, values, inTurn });
  }
  for (const { name, help, type, values } of (await runtime?.read()) ?? []) {
    register(registry, { name, help, type, values: values.filter(isNumber), inTurn });
  }
  return registry.metrics();
}

/**
 * prom-client keeps the text of `sharedLabels` by their object: worth it for the labels of a GPU or a model, which most of its
 * families share. Without any it would make and keep an empty object for each sample.
 */
const NO_LABELS: Labels = {};

function repeatedLabels(families: readonly MetricFamily[]): ReadonlySet<Labels> {
  const [seen, repeated] = [new Set<Labels>(), new Set<Labels>()];
  for (const { samples } of families)
    for (const { labels } of samples)
      if (seen.has(labels)) repeated.add(labels);
      else seen.add(labels);
  return repeated;
}

interface ConstMetric {
  readonly name: string;
  readonly help: string;
  readonly type: unknown;
  readonly values: readonly unknown[];
  /** Resolves when the metric may be rendered. */
  readonly inTurn: () => Promise<void>;
}

/** The registry asks for all metrics at once: they are given one after the other, with pauses in between. */
function turnGiver(): () => Promise<void> {
  const turns = new Turns();
  let last = Promise.resolve();
  return () => (last = last.then(() => turns.pause()));
}

/** A metric with fixed values, as far as Registry looks at one: `type`, `name`, which it rewrites for OpenMetrics counters, and `get()`. */
function register(registry: Registry, { name, help, type, values, inTurn }: ConstMetric): void {
  if (values.length === 0) return;
  const metric = {
    name,
    type,
    async get() {
      await inTurn();
      return { name: this.name, help, type, values, aggregator: "omit" };
    },
  };
  registry.registerMetric(metric as unknown as Metric);
}

/** prom-client's types know one content type per registry class; its code knows both. */
function openMetrics(registry: Registry): { setContentType(type: string): void } {
  return registry;
}

/** No collection yet leaves NaN in the event loop's gauges, and 0/0 in others. */
function isNumber({ value }: { readonly value: unknown }): boolean {
  return typeof value === "number" && !Number.isNaN(value);
}
