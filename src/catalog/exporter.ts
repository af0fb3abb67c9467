/** Families of the exporter itself, prefix `ollama_gpu_exporter_`. */
import type { CollectorHealth, Snapshot } from "../snapshot.ts";
import { byLabel, type MetricSpec } from "./spec.ts";

/** What the exporter knows of itself beside the snapshot. */
export interface ExporterState {
  readonly version: string;
  readonly revision: string;
  readonly nodeVersion: string;
  readonly httpRequests: readonly { readonly handler: string; readonly code: string; readonly count: number }[];
  /** Present with OTLP on. */
  readonly otlp?: { readonly ok: number; readonly failed: number; readonly lastSuccessTimestampSeconds?: number };
}

/** Read from the exporter's own state; no labels. */
export const STATE_METRICS: readonly MetricSpec<ExporterState>[] = [
  {
    name: "ollama_gpu_exporter_build_info",
    type: "gauge",
    unit: "none",
    labels: ["version", "revision", "node_version"],
    help: "Version, commit and Node.js version of the exporter as labels, always 1.",
    source: "package.json",
    read: ({ version, revision, nodeVersion }) => [
      { labels: { version, revision, node_version: nodeVersion }, value: 1 },
    ],
  },
  {
    name: "ollama_gpu_exporter_http_requests_total",
    type: "counter",
    unit: "none",
    labels: ["handler", "code"],
    help: "Answered HTTP requests.",
    source: "since start",
    since: "exporter",
    read: ({ httpRequests }) =>
      httpRequests.map(({ handler, code, count }) => ({ labels: { handler, code }, value: count })),
  },
  {
    name: "ollama_gpu_exporter_otlp_exports_total",
    type: "counter",
    unit: "none",
    labels: ["result"],
    help: "OTLP pushes by result; only with OTLP on.",
    source: "since start",
    since: "exporter",
    read: ({ otlp }) => otlp && byLabel("result", { ok: otlp.ok, failed: otlp.failed }),
  },
  {
    name: "ollama_gpu_exporter_otlp_last_success_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Unix time of the last OTLP push that was accepted; only with OTLP on.",
    source: "since start",
    read: ({ otlp }) => otlp?.lastSuccessTimestampSeconds,
  },
];

/** Read from a collector's health; labels collector, target. */
export const COLLECTOR_METRICS: readonly MetricSpec<CollectorHealth>[] = [
  {
    name: "ollama_gpu_exporter_collector_success",
    type: "gauge",
    unit: "none",
    help: "1 when the collector's last reading was complete, else 0.",
    source: "the collection of this snapshot",
    read: ({ success }) => success,
  },
  {
    name: "ollama_gpu_exporter_collector_duration_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Time that the collector's last reading took.",
    source: "the collection of this snapshot",
    read: ({ durationSeconds }) => durationSeconds,
  },
  {
    name: "ollama_gpu_exporter_collector_last_success_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Unix time of the collector's last complete reading.",
    source: "the collection of this snapshot",
    read: ({ lastSuccessTimestampSeconds }) => lastSuccessTimestampSeconds,
  },
  {
    name: "ollama_gpu_exporter_collections_total",
    type: "counter",
    unit: "none",
    labels: ["result"],
    help: "Finished readings of the collector by result: ok, failed, timeout.",
    source: "since start",
    since: "exporter",
    read: ({ collections }) => byLabel("result", collections),
  },
];

/** Read from the whole snapshot; no labels. */
export const SNAPSHOT_METRICS: readonly MetricSpec<Snapshot>[] = [
  {
    name: "ollama_gpu_exporter_snapshot_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Unix time at which the snapshot served here was taken.",
    source: "the collection of this snapshot",
    read: ({ takenAtMs }) => takenAtMs / 1000,
  },
  {
    name: "ollama_gpu_exporter_nvml_restarts_total",
    type: "counter",
    unit: "none",
    help: "Native worker processes that were killed or died and were replaced.",
    source: "since start",
    since: "exporter",
    read: ({ nvmlRestarts }) => nvmlRestarts,
  },
  {
    name: "ollama_gpu_exporter_nvml_call_errors_total",
    type: "counter",
    unit: "none",
    labels: ["function", "code"],
    help: "Driver calls that failed, by function and NVML code; what a GPU does not support is no error.",
    source: "since start",
    since: "exporter",
    read: ({ nvmlCallErrors }) =>
      nvmlCallErrors.map(({ function: name, code, count }) => ({ labels: { function: name, code }, value: count })),
  },
  {
    name: "ollama_gpu_exporter_dropped_total",
    type: "counter",
    unit: "none",
    labels: ["kind"],
    help: "Models and GPU processes left out of readings beyond the limits of 1,000 each.",
    source: "since start",
    since: "exporter",
    read: ({ dropped }) => byLabel("kind", { ...dropped }),
  },
];
