import type { BoardSpec } from "../panel.ts";
import { increase, own, rate, zeros } from "../selectors.ts";

const COLLECTOR = "{{instance}} {{collector}} {{target}}";

export const exporterHealth: BoardSpec = {
  uid: "ollama-gpu-exporter",
  title: "Ollama GPU / Exporter health",
  description:
    "Whether the numbers can be trusted: what each collector did, how old the snapshot is, what the exporter costs.",
  variables: [],
  panels: [
    {
      kind: "stat",
      title: "Collectors failing",
      description: "Collectors whose last reading was not complete.",
      unit: "none",
      queries: [{ expr: zeros(own("ollama_gpu_exporter_collector_success")), legend: "failing" }],
      thresholds: [{ value: 1, color: "red" }],
      width: 6,
    },
    {
      kind: "stat",
      title: "Oldest snapshot",
      description: "Age of the data that is served.",
      unit: "s",
      queries: [{ expr: `max(time() - ${own("ollama_gpu_exporter_snapshot_timestamp_seconds")})`, legend: "age" }],
      thresholds: [{ value: 300, color: "orange" }],
      width: 6,
    },
    {
      kind: "stat",
      title: "Driver workers replaced",
      description: "Native workers that hung or died in the shown time.",
      unit: "none",
      queries: [
        { expr: `round(sum(${increase(own("ollama_gpu_exporter_nvml_restarts_total"))}))`, legend: "restarts" },
      ],
      thresholds: [{ value: 1, color: "orange" }],
      width: 6,
    },
    {
      kind: "stat",
      title: "Left out",
      description: "Models and processes beyond the limits, in the shown time.",
      unit: "none",
      queries: [{ expr: `round(sum(${increase(own("ollama_gpu_exporter_dropped_total"))}))`, legend: "dropped" }],
      thresholds: [{ value: 1, color: "orange" }],
      width: 6,
    },
    {
      kind: "statetimeline",
      title: "Collectors",
      description: "Whether each collector's last reading was complete.",
      unit: "none",
      queries: [{ expr: own("ollama_gpu_exporter_collector_success"), legend: COLLECTOR }],
      words: { 0: { text: "failed", color: "red" }, 1: "ok" },
    },
    {
      kind: "timeseries",
      title: "Time per reading",
      description: "How long each collector's last reading took.",
      unit: "s",
      queries: [{ expr: own("ollama_gpu_exporter_collector_duration_seconds"), legend: COLLECTOR }],
    },
    {
      kind: "timeseries",
      title: "Readings by result",
      description: "Finished readings per second of all collectors of a host.",
      unit: "none",
      queries: [
        {
          expr: `sum by (job, instance, result) (${rate(own("ollama_gpu_exporter_collections_total"))})`,
          legend: "{{instance}} {{result}}",
        },
      ],
    },
    {
      kind: "timeseries",
      title: "Age of the last good reading",
      description: "Time since each collector last succeeded; grows while it fails.",
      unit: "s",
      queries: [
        { expr: `time() - ${own("ollama_gpu_exporter_collector_last_success_timestamp_seconds")}`, legend: COLLECTOR },
      ],
      thresholds: [{ value: 300, color: "orange" }],
    },
    {
      kind: "timeseries",
      title: "Driver call errors",
      description:
        "Driver calls that failed per second, by function and code: a 0 without a function while none has failed, n/a without a driver. What a GPU does not support is no error.",
      unit: "none",
      queries: [
        {
          expr: `${rate(own("ollama_gpu_exporter_nvml_call_errors_total"))} or on (job, instance) 0 * ${own("ollama_gpu_exporter_collector_success", 'collector="nvml"')}`,
          legend: "{{instance}} {{function}} {{code}}",
        },
      ],
    },
    {
      kind: "timeseries",
      title: "Requests",
      description: "Answered HTTP requests per second, by status code.",
      unit: "reqps",
      queries: [
        {
          expr: `sum by (job, instance, code) (${rate(own("ollama_gpu_exporter_http_requests_total"))})`,
          legend: "{{instance}} {{code}}",
        },
      ],
    },
    {
      kind: "timeseries",
      title: "OTLP pushes",
      description: "Pushes per second by result; n/a while nothing is pushed.",
      unit: "none",
      queries: [{ expr: rate(own("ollama_gpu_exporter_otlp_exports_total")), legend: "{{instance}} {{result}}" }],
    },
    {
      kind: "timeseries",
      title: "Scrape duration",
      description: "As Prometheus sees it; n/a for pushed data.",
      unit: "s",
      queries: [{ expr: own("scrape_duration_seconds"), legend: "{{instance}}" }],
    },
    {
      kind: "timeseries",
      title: "Memory of the exporter",
      description: "Resident memory of the main process; the native worker adds about 20 MB.",
      unit: "bytes",
      queries: [{ expr: own("process_resident_memory_bytes"), legend: "{{instance}}" }],
    },
    {
      kind: "timeseries",
      title: "CPU of the exporter",
      description: "CPU seconds per second of the main process.",
      unit: "percentunit",
      queries: [{ expr: rate(own("process_cpu_seconds_total")), legend: "{{instance}}" }],
    },
    {
      kind: "timeseries",
      title: "Samples per scrape",
      description: "Series that each exporter costs Prometheus; n/a for pushed data.",
      unit: "none",
      queries: [{ expr: own("scrape_samples_scraped"), legend: "{{instance}}" }],
    },
    {
      kind: "table",
      title: "Versions",
      description: "Exporter and Node.js per host.",
      unit: "none",
      queries: [{ expr: own("ollama_gpu_exporter_build_info"), legend: "" }],
      columns: [
        { field: "instance", name: "Host" },
        { field: "version", name: "Exporter" },
        { field: "node_version", name: "Node.js" },
      ],
    },
  ],
};
