/** The library: `import { OllamaGPUMonitor } from "ollama-gpu-exporter"`. */
export { ConfigError, NoSnapshotError } from "./errors.ts";
export type { Logger, LogFields } from "./logger.ts";
export { type FormatOptions, OllamaGPUMonitor, type OllamaGPUMonitorOptions } from "./monitor.ts";
export type { Naming } from "./outputs/otel/metric-data.ts";
export { createMetricProducer, type ProducerOptions } from "./outputs/otel/producer.ts";
export type { Condition } from "./outputs/status/conditions.ts";
export type { StatusDict } from "./outputs/status/json.ts";
export type { Alert, AlertThresholds, GpuStatus, ModelGpuUsage, OllamaProcess } from "./outputs/status/status.ts";
export type * from "./snapshot.ts";
export type { OllamaClient } from "./sources/ollama/source.ts";
export { type ByteUnit, convertByteUnit } from "./units.ts";
