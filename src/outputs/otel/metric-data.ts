/** Metric families -> OpenTelemetry metric data, under native names or those of the hardware conventions. Pure. */
import { type HrTime, ValueType } from "@opentelemetry/api";
import { AggregationTemporality, type DataPoint, DataPointType, type MetricData } from "@opentelemetry/sdk-metrics";
import { type Labels, type MetricFamily, otelName, type Sample, UNITS } from "../../catalog/spec.ts";
import type { Gpu } from "../../snapshot.ts";

/** `native`: Prometheus' translation gives the pull name. `semconv`: the hardware conventions' names where they have one. */
export type Naming = "native" | "semconv";

export interface MetricDataOptions {
  readonly naming: Naming;
  /** The boards and instances that the families speak of. */
  readonly gpus: readonly Gpu[];
  /** From when the exporter's own counters count, Unix milliseconds. */
  readonly startedAtMs: number;
  /** When the families' values were read, Unix milliseconds. */
  readonly timeMs: number;
}

/** A family under the name and in the words of one convention. */
interface Stream {
  readonly name: string;
  readonly unit: string;
  readonly isSum: boolean;
  readonly isMonotonic: boolean;
  readonly attributesOf: (labels: Labels) => Labels;
}

/** A start that nobody knows: OTLP's "unset", never a guess. */
const UNKNOWN_START: HrTime = [0, 0];

/** One metric per name, in the order of the families; families that share a convention's name become one metric. */
export function toMetricData(families: readonly MetricFamily[], options: MetricDataOptions): MetricData[] {
  const hardware = new Map(options.gpus.map((gpu) => [gpu.gpu, hardwareAttributes(gpu)]));
  const named = families.map((family) => ({ family, stream: streamOf(family, options.naming, hardware) }));
  return [...Map.groupBy(named, ({ stream }) => stream.name).values()].flatMap((group) => {
    const [first] = group;
    if (!first) return [];
    const dataPoints = group.flatMap(({ family, stream }) =>
      family.samples.map((sample) => pointOf(sample, family, stream, options)),
    );
    return metricOf(first.stream, first.family.help, dataPoints);
  });
}

function metricOf(
  { name, unit, isSum, isMonotonic }: Stream,
  help: string,
  dataPoints: DataPoint<number>[],
): MetricData {
  const shared = {
    descriptor: { name, unit, description: help, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
    dataPoints,
  };
  return isSum
    ? { ...shared, dataPointType: DataPointType.SUM, isMonotonic }
    : { ...shared, dataPointType: DataPointType.GAUGE };
}

function pointOf(
  { labels, value, startTimeSeconds }: Sample,
  family: MetricFamily,
  stream: Stream,
  { startedAtMs, timeMs }: MetricDataOptions,
): DataPoint<number> {
  const knownMs = startTimeSeconds === undefined ? undefined : startTimeSeconds * 1000;
  const startMs = family.since === "exporter" ? startedAtMs : knownMs;
  return {
    // A clock that was set back must not make a series end before it begins.
    startTime: startMs === undefined ? UNKNOWN_START : toHrTime(Math.min(startMs, timeMs)),
    endTime: toHrTime(timeMs),
    attributes: stream.attributesOf(labels),
    value,
  };
}

function streamOf(family: MetricFamily, naming: Naming, hardware: ReadonlyMap<string, Labels>): Stream {
  const { semconv, type, unit } = family;
  if (naming === "native" || !semconv) {
    const isSum = type === "counter";
    return {
      name: otelName(family),
      unit: UNITS[unit].ucum,
      isSum,
      isMonotonic: isSum,
      attributesOf: (labels) => labels,
    };
  }
  const { name, instrument, attributes } = semconv;
  return {
    name,
    unit: semconv.unit,
    isSum: instrument !== "gauge",
    isMonotonic: instrument === "counter",
    attributesOf: (labels) => ({ ...hardware.get(labels.gpu ?? ""), ...attributes?.(labels) }),
  };
}

/** Which piece of hardware; hw.id is required, so a GPU that was lost before it was ever read goes by its index. */
function hardwareAttributes({ gpu, uuid, parentUuid, name, vendor, driverVersion }: Gpu): Labels {
  return {
    "hw.id": uuid === "" ? gpu : uuid,
    "hw.type": "gpu",
    "hw.name": `GPU ${gpu}`,
    "hw.vendor": vendor,
    ...(name !== undefined && { "hw.model": name }),
    ...(driverVersion !== undefined && { "hw.driver_version": driverVersion }),
    ...(parentUuid !== undefined && { "hw.parent": parentUuid }),
  };
}

function toHrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
