import type { AlertGroup, Values } from "./rule.ts";

const COLLECTOR = { collector: "nvml", target: "local" };
const NVML = 'collector="nvml",target="local"';
const SUCCESS = `ollama_gpu_exporter_collector_success{${NVML}}`;

/** Whether the exporter itself can be trusted. */
export const selfAlerts = (values: Values): AlertGroup => ({
  name: "self",
  alerts: [
    {
      name: "OllamaGpuExporterDown",
      expr: `up{job=~"${values.jobs}"} == 0`,
      for: "3m",
      severity: "critical",
      summary: "The exporter on {{ $labels.instance }} cannot be scraped.",
      description:
        "Look whether the process runs and whether Prometheus reaches its port; nothing is known of this host's GPUs and models meanwhile.",
      runbook: {
        meaning: "Prometheus gets no answer from the exporter's /metrics.",
        impact: "No GPU or Ollama metrics of the host; its other alerts cannot fire.",
        diagnosis: [
          "systemctl status ollama-gpu-exporter",
          "curl -sv http://HOST:9434/-/healthy",
          "journalctl -u ollama-gpu-exporter -n 50",
        ],
        fix: "Start the service; open the port; with TLS or a password compare Prometheus' scrape_config with the exporter's web config.",
      },
      labels: {},
      fires: { series: { up: "0x10" }, atMinute: 3 },
      quiet: { series: { up: "0 1x10" }, atMinute: 5 },
    },
    {
      name: "OllamaGpuExporterAbsent",
      expr: `absent(up{job=~"${values.jobs}"})`,
      for: "10m",
      severity: "warning",
      summary: "Prometheus has no target of the Ollama GPU exporter.",
      description: "Look into the scrape configuration and service discovery: the job is not there at all.",
      runbook: {
        meaning:
          "No target whose job name fits is known to Prometheus. Does not concern data that is pushed over OTLP.",
        impact: "No metrics and no alerts of any host.",
        diagnosis: ["promtool check config prometheus.yml", "curl -s http://PROMETHEUS:9090/api/v1/targets"],
        fix: "Add the scrape job, or set `jobs` in grafana/values.yaml to what yours is called and generate the rules anew.",
      },
      labels: {},
      fires: { series: { other: "1x20" }, atMinute: 10 },
      quiet: { series: { up: "1x20" }, atMinute: 12 },
      withoutTarget: true,
    },
    {
      name: "OllamaGpuCollectorFailing",
      expr: "ollama_gpu_exporter_collector_success == 0",
      for: "10m",
      severity: "warning",
      summary: "Collector {{ $labels.collector }} ({{ $labels.target }}) on {{ $labels.instance }} fails.",
      description: "The exporter's log names the reason and what to do; the other collectors' data is good.",
      runbook: {
        meaning: "A source of the exporter has not been read completely for ten minutes.",
        impact: "Its families are missing, never stale: panels show n/a.",
        diagnosis: [
          "journalctl -u ollama-gpu-exporter | grep 'collector failed'",
          "curl -s http://HOST:9434/api/v1/status | jq .collectors",
        ],
        fix: "nvml: install or reload the driver. ollama: start the server, correct --ollama.host. processes: give the exporter the host's /proc.",
      },
      labels: COLLECTOR,
      fires: { series: { [SUCCESS]: "0x20" }, atMinute: 10 },
      quiet: { series: { [SUCCESS]: "0 0 0 1x20" }, atMinute: 12 },
    },
    {
      name: "OllamaGpuCollectorStale",
      expr: `time() - ollama_gpu_exporter_collector_last_success_timestamp_seconds > ${values.snapshotAgeSeconds}`,
      for: "2m",
      severity: "warning",
      summary:
        "Collector {{ $labels.collector }} on {{ $labels.instance }} last succeeded {{ $value | humanizeDuration }} ago.",
      description: "It fails or the exporter's snapshot is old; look into its log.",
      runbook: {
        meaning: "The last complete reading of a source is too long ago, although the exporter is scraped.",
        impact: "As for OllamaGpuCollectorFailing; also when failures and timeouts take turns.",
        diagnosis: ["curl -s http://HOST:9434/api/v1/status | jq .collectors"],
        fix: "As for OllamaGpuCollectorFailing; with --refresh.interval longer than five minutes raise snapshotAgeSeconds.",
      },
      labels: COLLECTOR,
      fires: {
        series: { [`ollama_gpu_exporter_collector_last_success_timestamp_seconds{${NVML}}`]: "-301+60x20" },
        atMinute: 2,
      },
      quiet: {
        series: { [`ollama_gpu_exporter_collector_last_success_timestamp_seconds{${NVML}}`]: "-300+60x20" },
        atMinute: 10,
      },
    },
    {
      name: "OllamaGpuCollectorSlow",
      expr: `ollama_gpu_exporter_collector_duration_seconds > ${values.collectorDurationSeconds}`,
      for: "10m",
      severity: "info",
      summary: "Collector {{ $labels.collector }} on {{ $labels.instance }} takes {{ $value | humanizeDuration }}.",
      description: "A driver or server that answers slowly is often about to hang; look at it before it does.",
      runbook: {
        meaning: "Readings of a source have been slow for ten minutes.",
        impact: "Scrapes may be answered without it, when their deadline comes first.",
        diagnosis: ["time nvidia-smi", "time curl -s http://OLLAMA:11434/api/ps"],
        fix: "A slow driver: look for XID errors, switch persistence mode on (nvidia-smi -pm 1). A slow server: see its load.",
      },
      labels: COLLECTOR,
      fires: { series: { [`ollama_gpu_exporter_collector_duration_seconds{${NVML}}`]: "5.1x20" }, atMinute: 10 },
      quiet: { series: { [`ollama_gpu_exporter_collector_duration_seconds{${NVML}}`]: "5x20" }, atMinute: 12 },
    },
    {
      name: "OllamaGpuSnapshotStale",
      expr: `time() - ollama_gpu_exporter_snapshot_timestamp_seconds > ${values.snapshotAgeSeconds}`,
      for: "2m",
      severity: "warning",
      summary: "The exporter on {{ $labels.instance }} serves data that is {{ $value | humanizeDuration }} old.",
      description: "Readings do not finish, or the clocks of this host and of Prometheus differ; compare them first.",
      runbook: {
        meaning: "The snapshot behind /metrics is old.",
        impact: "Every value is as old.",
        diagnosis: ["date; ssh HOST date", "curl -s http://HOST:9434/api/v1/status | jq '{takenAtMs, collectors}'"],
        fix: "Synchronise the clocks; otherwise restart the exporter and report its log.",
      },
      labels: {},
      fires: { series: { ollama_gpu_exporter_snapshot_timestamp_seconds: "-301+60x20" }, atMinute: 2 },
      quiet: { series: { ollama_gpu_exporter_snapshot_timestamp_seconds: "-300+60x20" }, atMinute: 10 },
    },
    {
      name: "OllamaGpuDriverWorkerRestarting",
      expr: `increase(ollama_gpu_exporter_nvml_restarts_total[30m]) > ${values.workerRestartsPer30m}`,
      for: "1m",
      severity: "warning",
      summary:
        "The NVIDIA driver hung or crashed the exporter's worker {{ $value | humanize }} times in half an hour on {{ $labels.instance }}.",
      description: "A driver that hangs for one tool hangs for all: drain the host and reload the driver or reboot.",
      runbook: {
        meaning: "Native calls into libnvidia-ml did not return or killed the process that made them.",
        impact: "GPU metrics have gaps; nvidia-smi and CUDA programs are likely to hang too.",
        diagnosis: ["dmesg | grep -i -e xid -e nvrm", "timeout 10 nvidia-smi; echo $?"],
        fix: "Reload the driver or reboot. If nvidia-smi never hangs, report it to the exporter with the log.",
      },
      labels: {},
      fires: { series: { ollama_gpu_exporter_nvml_restarts_total: "0+0.08x60" }, atMinute: 26 },
      quiet: { series: { ollama_gpu_exporter_nvml_restarts_total: "0+0.06x60" }, atMinute: 60 },
    },
    {
      name: "OllamaGpuDriverCallErrors",
      expr: "increase(ollama_gpu_exporter_nvml_call_errors_total[15m]) > 0",
      for: "15m",
      severity: "info",
      summary: "{{ $labels.function }} fails with {{ $labels.code }} on {{ $labels.instance }}.",
      description: "NO_PERMISSION: run the exporter as a user who may ask. Other codes: see the runbook.",
      runbook: {
        meaning: "One driver call keeps failing; what a GPU does not support is not counted.",
        impact: "The families that come from this call are absent on some GPU.",
        diagnosis: ["curl -s http://HOST:9434/metrics | grep call_errors", "journalctl -u ollama-gpu-exporter -n 50"],
        fix: "NO_PERMISSION: grant access to the device files or the capability. UNKNOWN, TIMEOUT: look for XID errors; update the driver.",
      },
      labels: { function: "nvmlDeviceGetPowerUsage", code: "NVML_ERROR_UNKNOWN" },
      fires: {
        series: {
          'ollama_gpu_exporter_nvml_call_errors_total{function="nvmlDeviceGetPowerUsage",code="NVML_ERROR_UNKNOWN"}':
            "0+1x60",
        },
        atMinute: 16,
      },
      quiet: {
        series: {
          'ollama_gpu_exporter_nvml_call_errors_total{function="nvmlDeviceGetPowerUsage",code="NVML_ERROR_UNKNOWN"}':
            "3x60",
        },
        atMinute: 30,
      },
    },
    {
      name: "OllamaGpuItemsDropped",
      expr: "increase(ollama_gpu_exporter_dropped_total[15m]) > 0",
      for: "15m",
      severity: "info",
      summary: "The exporter on {{ $labels.instance }} leaves {{ $labels.kind }} out.",
      description:
        "More than 1,000 of them: series are bounded on purpose. Watch fewer servers per exporter, or --processes=ollama.",
      runbook: {
        meaning: "A reading had more models or processes than the exporter keeps.",
        impact: "Loaded models are kept first; some installed ones or some processes have no series.",
        diagnosis: ["curl -s http://OLLAMA:11434/api/tags | jq '.models | length'"],
        fix: "Remove models nobody uses, split servers over exporters, use --processes=ollama.",
      },
      labels: { kind: "models" },
      fires: { series: { 'ollama_gpu_exporter_dropped_total{kind="models"}': "0+5x60" }, atMinute: 16 },
      quiet: { series: { 'ollama_gpu_exporter_dropped_total{kind="models"}': "0x60" }, atMinute: 30 },
    },
    {
      name: "OllamaGpuPushFailing",
      expr: 'increase(ollama_gpu_exporter_otlp_exports_total{result="failed"}[15m]) > 0 unless on (job, instance) increase(ollama_gpu_exporter_otlp_exports_total{result="ok"}[15m]) > 0',
      for: "5m",
      severity: "warning",
      summary: "The exporter on {{ $labels.instance }} cannot push over OTLP.",
      description: "The log says what the receiver answers; scrapes are not affected.",
      runbook: {
        meaning: "Every push of the last quarter of an hour failed.",
        impact: "The OTLP receiver has a gap; totals continue when it is back.",
        diagnosis: [
          "journalctl -u ollama-gpu-exporter | grep OTLP",
          "curl -sv -X POST http://COLLECTOR:4318/v1/metrics",
        ],
        fix: "Start the receiver; correct endpoint, headers or certificates (docs/opentelemetry.md).",
      },
      labels: { result: "failed" },
      fires: {
        series: {
          'ollama_gpu_exporter_otlp_exports_total{result="failed"}': "0+1x60",
          'ollama_gpu_exporter_otlp_exports_total{result="ok"}': "5x60",
        },
        atMinute: 6,
      },
      quiet: {
        series: {
          'ollama_gpu_exporter_otlp_exports_total{result="failed"}': "0+1x60",
          'ollama_gpu_exporter_otlp_exports_total{result="ok"}': "0+1x60",
        },
        atMinute: 30,
      },
    },
    {
      name: "OllamaGpuScrapesRejected",
      expr: 'increase(ollama_gpu_exporter_http_requests_total{handler="metrics",code="503"}[10m]) > 0',
      for: "5m",
      severity: "warning",
      summary: "The exporter on {{ $labels.instance }} answers scrapes with 503.",
      description: "More scrapes at a time than --web.max-requests: find out who asks so often.",
      runbook: {
        meaning: "Scrapes were refused because too many ran at the same time.",
        impact: "Gaps in every family of the host.",
        diagnosis: ["ss -tn '( sport = :9434 )'", "curl -s http://HOST:9434/metrics | grep http_requests_total"],
        fix: "Fewer scrapers or longer intervals; raise --cache.duration so that scrapes share a reading; raise --web.max-requests.",
      },
      labels: { handler: "metrics", code: "503" },
      fires: {
        series: { 'ollama_gpu_exporter_http_requests_total{handler="metrics",code="503"}': "0+2x60" },
        atMinute: 6,
      },
      quiet: {
        series: {
          'ollama_gpu_exporter_http_requests_total{handler="metrics",code="503"}': "4x60",
          'ollama_gpu_exporter_http_requests_total{handler="metrics",code="200"}': "0+4x60",
        },
        atMinute: 20,
      },
    },
    {
      name: "OllamaGpuCollectionTimeouts",
      expr: `increase(ollama_gpu_exporter_collections_total{result="timeout"}[30m]) > ${values.timeoutsPer30m}`,
      for: "1m",
      severity: "warning",
      summary:
        "Collector {{ $labels.collector }} ({{ $labels.target }}) on {{ $labels.instance }} runs into its timeout.",
      description: "/api/ps blocks while Ollama loads a large model; a driver that times out is about to hang.",
      runbook: {
        meaning: "Readings of a source did not finish in time, several times in half an hour.",
        impact: "Gaps in its families.",
        diagnosis: ["curl -s http://HOST:9434/metrics | grep collections_total", "time nvidia-smi"],
        fix: "ollama: raise --ollama.timeout if loading a model is the reason. nvml: see OllamaGpuDriverWorkerRestarting.",
      },
      labels: { ...COLLECTOR, result: "timeout" },
      fires: {
        series: { [`ollama_gpu_exporter_collections_total{${NVML},result="timeout"}`]: "0+0.11x60" },
        atMinute: 29,
      },
      quiet: {
        series: {
          [`ollama_gpu_exporter_collections_total{${NVML},result="timeout"}`]: "0+0.095x60",
          [`ollama_gpu_exporter_collections_total{${NVML},result="ok"}`]: "0+1x60",
        },
        atMinute: 40,
      },
    },
  ],
});
