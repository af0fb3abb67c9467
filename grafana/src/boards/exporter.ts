import type { BoardSpec } from "../panel.ts";
import { increase, own, rate } from "../selectors.ts";

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
      queries: [
        {
          expr: `count(${own("ollama_gpu_exporter_collector_success")} == 0) or 0 * count(${own("ollama_gpu_exporter_collector_success")})`,
          legend: "failing",
        },
      ],
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
      queries: [{ expr: `sum(${increase(own("ollama_gpu_exporter_nvml_restarts_total"))})`, legend: "restarts" }],
      thresholds: [{ value: 1, color: "orange" }],
      width: 6,
    },
    {
      kind: "stat",
      title: "Left out",
      description: "Models and processes beyond the limits, in the shown time.",
      unit: "none",
      queries: [{ expr: `sum(${increase(own("ollama_gpu_exporter_dropped_total"))})`, legend: "dropped" }],
      thresholds: [{ value: 1, color: "orange" }],
      width: 6,
    },
    {
      kind: "statetimeline",
      title: "Collectors",
      description: "Whether each collector's last reading was complete.",
      unit: "none",
      queries: [{ expr: own("ollama_gpu_exporter_collector_success"), legend: COLLECTOR }],
      words: { 0: "failed", 1: "ok" },
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
      description: "Finished readings per second.",
      unit: "none",
      queries: [{ expr: rate(own("ollama_gpu_exporter_collections_total")), legend: `${COLLECTOR} {{result}}` }],
    },
    {
      kind: "timeseries",
      title: "Driver call errors",
      description: "Driver calls that failed, by function and code; what a GPU does not support is no error.",
      unit: "none",
      queries: [
        { expr: rate(own("ollama_gpu_exporter_nvml_call_errors_total")), legend: "{{instance}} {{function}} {{code}}" },
      ],
      noValue: "none",
    },
    {
      kind: "timeseries",
      title: "Requests",
      description: "Answered HTTP requests per second.",
      unit: "reqps",
      queries: [
        { expr: rate(own("ollama_gpu_exporter_http_requests_total")), legend: "{{instance}} {{handler}} {{code}}" },
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
