import { requestAlerts } from "./ollama-requests.ts";
import type { AlertGroup, Series, Values } from "./rule.ts";

const SERVER = { server: "127.0.0.1:11434" };
const MODEL = { ...SERVER, model: "m:latest" };
const of = (family: string, values: string, more = ""): Series => ({
  [`${family}{server="127.0.0.1:11434"${more === "" ? "" : `,${more}`}}`]: values,
});
const model = (family: string, values: string, more = ""): Series =>
  of(family, values, `model="m:latest"${more === "" ? "" : `,${more}`}`);
const ON_MODEL = "on (job, instance, server, model)";

/** Servers, models and their runners. */
export const ollamaAlerts = (values: Values): AlertGroup => ({
  name: "ollama",
  alerts: [
    {
      name: "OllamaDown",
      expr: "ollama_up == 0",
      for: "2m",
      severity: "critical",
      summary: "Ollama {{ $labels.server }} does not answer (seen from {{ $labels.instance }}).",
      description: "Look whether the service runs; /api/ps can also block for minutes while a large model is loaded.",
      runbook: {
        meaning: "/api/version or /api/ps did not answer in time with what Ollama answers.",
        impact: "Requests to this server most likely fail.",
        diagnosis: ["systemctl status ollama", "curl -s -m 5 http://SERVER/api/version", "journalctl -u ollama -n 50"],
        fix: "Start it; when it only blocks while loading, raise --ollama.timeout.",
      },
      labels: SERVER,
      fires: { series: of("ollama_up", "0x10"), atMinute: 2 },
      quiet: { series: of("ollama_up", "0 0 1x10"), atMinute: 5 },
    },
    {
      name: "OllamaFlapping",
      expr: `changes(ollama_up[30m]) > ${values.serverFlaps}`,
      for: "1m",
      severity: "warning",
      summary: "Ollama {{ $labels.server }} went down and up {{ $value }} times in half an hour.",
      description: "It crashes and is restarted, or answers only sometimes in time: look into its log.",
      runbook: {
        meaning: "The server's state keeps changing.",
        impact: "Requests fail now and then; models are loaded again each time.",
        diagnosis: ["journalctl -u ollama --since '-1h' | grep -i -e panic -e signal", "dmesg | grep -i oom"],
        fix: "Out of memory: fewer or smaller models. Otherwise update Ollama.",
      },
      labels: SERVER,
      fires: { series: of("ollama_up", "1 0 1 0 1 0x30"), atMinute: 6 },
      quiet: { series: of("ollama_up", "1 0 1 0 1x40"), atMinute: 15 },
    },
    {
      name: "OllamaModelSpilled",
      expr: `ollama_model_gpu_ratio < ${values.onGpuRatio} and ollama_model_gpu_ratio > 0`,
      for: "5m",
      severity: "warning",
      summary: "Only {{ $value | humanizePercentage }} of {{ $labels.model }} on {{ $labels.server }} is on a GPU.",
      description: "It runs at a fraction of its speed: free VRAM, shorten the context or take a smaller quantization.",
      runbook: {
        meaning: "A part of the model is computed by the CPU because it did not fit.",
        impact: "Often five to twenty times fewer tokens per second.",
        diagnosis: ["ollama ps", "ollama-gpu-exporter status"],
        fix: "Unload other models, lower num_ctx or OLLAMA_NUM_PARALLEL, set OLLAMA_FLASH_ATTENTION=1 with a quantized KV cache, take a smaller quantization.",
      },
      labels: MODEL,
      fires: { series: model("ollama_model_gpu_ratio", "0.98x20"), atMinute: 5 },
      quiet: { series: model("ollama_model_gpu_ratio", "0.99x20"), atMinute: 10 },
      alsoQuiet: { series: model("ollama_model_gpu_ratio", "0x20"), atMinute: 10 },
    },
    {
      name: "OllamaModelOnCpu",
      expr: "ollama_model_gpu_ratio == 0 and on (job, instance) (count by (job, instance) (gpu_up == 1) > 0)",
      for: "5m",
      severity: "warning",
      summary: "{{ $labels.model }} on {{ $labels.server }} runs on the CPU although the host has a GPU.",
      description: "Ollama found no GPU or no room: look at its log from the moment of loading.",
      runbook: {
        meaning: "No byte of the model is on a GPU.",
        impact: "The slowest way to run it.",
        diagnosis: ["journalctl -u ollama | grep -i -e cuda -e 'inference compute' -e offload"],
        fix: "Driver or CUDA library missing for Ollama; a container without --gpus; CUDA_VISIBLE_DEVICES; no free VRAM.",
      },
      labels: MODEL,
      fires: {
        series: { ...model("ollama_model_gpu_ratio", "0x20"), 'gpu_up{gpu="0",uuid="GPU-0"}': "1x20" },
        atMinute: 5,
      },
      quiet: { series: model("ollama_model_gpu_ratio", "0x20"), atMinute: 10 },
    },
    {
      name: "OllamaThrashing",
      expr: `sum by (job, instance, server) (increase(ollama_model_loads_total[15m])) > ${values.loadsPer15m}`,
      for: "5m",
      severity: "warning",
      summary: "{{ $labels.server }} loaded {{ $value | humanize }} models in a quarter of an hour.",
      description: "Models push each other out: requests wait for loading. Spread them over servers or free VRAM.",
      runbook: {
        meaning: "More loads than a keep-alive should cause.",
        impact: "Seconds to minutes of waiting before the first token.",
        diagnosis: ["ollama ps", "Board Models: Loads and unloads"],
        fix: "Longer OLLAMA_KEEP_ALIVE, OLLAMA_MAX_LOADED_MODELS that fits the VRAM, one server per model.",
      },
      labels: SERVER,
      fires: { series: model("ollama_model_loads_total", "0+0.45x60"), atMinute: 19 },
      quiet: { series: model("ollama_model_loads_total", "0+0.39x60"), atMinute: 50 },
    },
    {
      name: "OllamaReloadsSameModel",
      expr: `increase(ollama_model_loads_total[30m]) > ${values.reloadsPer30m}`,
      for: "5m",
      severity: "warning",
      summary: "{{ $labels.model }} was loaded {{ $value | humanize }} times in half an hour on {{ $labels.server }}.",
      description: "Requests with different num_ctx or options reload it each time, or its runner crashes.",
      runbook: {
        meaning: "One model is loaded again and again.",
        impact: "Each load costs seconds and interrupts who uses it.",
        diagnosis: ["journalctl -u ollama | grep -i -e 'starting llama' -e 'new model will fit' -e exited"],
        fix: "Let all clients send the same num_ctx (or none), raise the keep-alive, look for OllamaRunnerGone.",
      },
      labels: MODEL,
      fires: { series: model("ollama_model_loads_total", "0+0.11x60"), atMinute: 33 },
      quiet: { series: model("ollama_model_loads_total", "0+0.095x60"), atMinute: 60 },
    },
    {
      name: "OllamaRunnerGone",
      expr: "ollama_model_runner_up == 0",
      for: "1m",
      severity: "warning",
      summary: "{{ $labels.server }} lists {{ $labels.model }}, but its process is gone.",
      description: "The runner crashed; the next request starts it again. Look into Ollama's log for the reason.",
      runbook: {
        meaning: "/api/ps names the model although no process runs it.",
        impact: "The next request waits for a load or fails.",
        diagnosis: [
          "journalctl -u ollama | grep -i -e 'llama runner' -e signal -e 'out of memory'",
          "dmesg | grep -i -e oom -e xid",
        ],
        fix: "Out of memory: smaller context. XID: see GpuXidApplication. Otherwise report it to Ollama.",
      },
      labels: MODEL,
      fires: { series: model("ollama_model_runner_up", "0x10"), atMinute: 1 },
      quiet: { series: model("ollama_model_runner_up", "0 1x10"), atMinute: 5 },
    },
    {
      name: "OllamaOrphanedRunner",
      expr: "ollama_orphaned_vram_bytes > 0",
      for: "5m",
      severity: "warning",
      summary:
        "Runners without a server hold {{ $value | humanize1024 }}B on GPU {{ $labels.gpu }} of {{ $labels.instance }}.",
      description: "Their server died: end the processes, nobody can use them.",
      runbook: {
        meaning: "A process that ran a model outlived its Ollama server.",
        impact: "VRAM is lost until it ends.",
        diagnosis: [
          "curl -s http://HOST:9434/metrics | grep gpu_process_memory_bytes",
          "ps -ef | grep -e llama-server -e 'ollama runner'",
        ],
        fix: "kill PID.",
      },
      labels: { gpu: "0" },
      fires: { series: { 'ollama_orphaned_vram_bytes{gpu="0"}': "1000x20" }, atMinute: 5 },
      quiet: { series: { 'ollama_orphaned_vram_bytes{gpu="0"}': "0x20" }, atMinute: 10 },
    },
    {
      name: "OllamaLoadingStuck",
      expr: "ollama_models_loading > 0",
      for: "10m",
      severity: "warning",
      summary: "{{ $labels.server }} has been loading a model for ten minutes.",
      description: "A slow disk, or a runner that hangs: look at its CPU and at Ollama's log.",
      runbook: {
        meaning: "A runner process exists that /api/ps does not list.",
        impact: "Requests for the model wait.",
        diagnosis: ["ps -ef | grep -e llama-server -e 'ollama runner'", "iostat -x 5", "journalctl -u ollama -n 50"],
        fix: "Wait on a slow disk (OLLAMA_LOAD_TIMEOUT); otherwise end the runner.",
      },
      labels: SERVER,
      fires: { series: of("ollama_models_loading", "1x20"), atMinute: 10 },
      quiet: { series: of("ollama_models_loading", "1 1 1 0 1 1 1 1 0 1 1 1 0 0 0 0 0 0"), atMinute: 15 },
    },
    {
      name: "OllamaModelIdle",
      expr: `sum by (job, instance, server, model) (ollama_model_vram_bytes) > 0 unless ${ON_MODEL} sum by (job, instance, server, model) (max_over_time(ollama_model_gpu_utilization_ratio[6h])) > ${values.idleUtilizationRatio} unless ${ON_MODEL} (ollama_model_loaded unless ${ON_MODEL} ollama_model_loaded offset 6h == 1)`,
      for: "15m",
      severity: "info",
      summary:
        "{{ $labels.model }} on {{ $labels.server }} holds {{ $value | humanize1024 }}B and has done nothing for six hours.",
      description: "Its keep-alive is longer than its use: unload it if somebody else needs the memory.",
      runbook: {
        meaning: "Loaded for six hours without any GPU work.",
        impact: "VRAM that others could use.",
        diagnosis: ["ollama ps"],
        fix: "ollama stop MODEL; a shorter keep_alive in the request that loads it.",
      },
      labels: MODEL,
      fires: {
        series: {
          ...model("ollama_model_vram_bytes", "500x500", 'gpu="0"'),
          ...model("ollama_model_gpu_utilization_ratio", "0.01x500", 'gpu="0"'),
          ...model("ollama_model_loaded", "1x500"),
        },
        atMinute: 375,
      },
      quiet: {
        series: {
          ...model("ollama_model_vram_bytes", "500x500", 'gpu="0"'),
          ...model("ollama_model_gpu_utilization_ratio", "0x300 0.0105 0x200", 'gpu="0"'),
          ...model("ollama_model_loaded", "1x500"),
        },
        atMinute: 450,
      },
    },
    {
      name: "OllamaVersionsMixed",
      expr: "count by (job) (count by (job, version) (ollama_build_info)) > 1",
      for: "1h",
      severity: "info",
      summary: "{{ $value }} versions of Ollama run in job {{ $labels.job }}.",
      description: "Models behave and fit differently in each; finish the roll-out.",
      runbook: {
        meaning: "Servers of one job have had different versions for an hour.",
        impact: "Different memory estimates, runners and defaults.",
        diagnosis: ["count by (version) (ollama_build_info)"],
        fix: "Update the rest, or silence it during a roll-out.",
      },
      labels: { job: "ollama-gpu" },
      fires: {
        series: {
          ...of("ollama_build_info", "1x90", 'version="0.24.0"'),
          'ollama_build_info{server="b:11434",version="0.33.2"}': "1x90",
        },
        atMinute: 60,
      },
      quiet: { series: of("ollama_build_info", "1x90", 'version="0.33.2"'), atMinute: 70 },
      withoutTarget: true,
    },
    {
      name: "OllamaModelNotAttributed",
      expr: 'ollama_model_attribution_info{method="none"} == 1 and on (job, instance) (count by (job, instance) (gpu_up == 1) > 0)',
      for: "15m",
      severity: "info",
      summary: "No process of {{ $labels.model }} on {{ $labels.server }} is visible: its VRAM is not measured.",
      description: "Give the exporter the host's PID namespace, or run it on the server's host.",
      runbook: {
        meaning: "The loaded model could not be joined to a process.",
        impact: "No ollama_model_vram_bytes for it; nothing is guessed.",
        diagnosis: [
          "curl -s http://HOST:9434/api/v1/status | jq '.models[] | {name, method}'",
          "journalctl -u ollama-gpu-exporter | grep -i namespace",
        ],
        fix: "docker run --pid=host, hostPID: true; a server on another host wants an exporter there.",
      },
      labels: { ...MODEL, method: "none" },
      fires: {
        series: {
          ...model("ollama_model_attribution_info", "1x30", 'method="none"'),
          'gpu_up{gpu="0",uuid="GPU-0"}': "1x30",
        },
        atMinute: 15,
      },
      quiet: {
        series: {
          ...model("ollama_model_attribution_info", "1x30", 'method="pid"'),
          'gpu_up{gpu="0",uuid="GPU-0"}': "1x30",
        },
        atMinute: 20,
      },
    },
    {
      name: "OllamaVramAboveReport",
      expr: `sum by (job, instance, server, model) (ollama_model_vram_bytes) / ${ON_MODEL} (ollama_model_reported_vram_bytes > ${values.reportedMinBytes}) > ${values.measuredOverReportedRatio}`,
      for: "15m",
      severity: "info",
      summary:
        "{{ $labels.model }} on {{ $labels.server }} holds {{ $value | humanize }} times the VRAM that Ollama reports.",
      description: "Ollama plans with its own number: the next model may not fit although it thinks so.",
      runbook: {
        meaning: "The driver counts much more memory for the runner than /api/ps says.",
        impact: "Out-of-memory errors when the GPU fills up.",
        diagnosis: ["ollama ps", "nvidia-smi --query-compute-apps=pid,used_memory --format=csv"],
        fix: "OLLAMA_GPU_OVERHEAD reserves room; report model and version to Ollama.",
      },
      labels: MODEL,
      fires: {
        series: {
          ...model("ollama_model_vram_bytes", "1.6e9x30", 'gpu="0"'),
          ...model("ollama_model_reported_vram_bytes", "1.05e9x30"),
        },
        atMinute: 15,
      },
      quiet: {
        series: {
          ...model("ollama_model_vram_bytes", "6e9x30", 'gpu="0"'),
          ...model("ollama_model_reported_vram_bytes", "4e9x30"),
        },
        atMinute: 20,
      },
      alsoQuiet: {
        series: {
          ...model("ollama_model_vram_bytes", "9e9x30", 'gpu="0"'),
          ...model("ollama_model_reported_vram_bytes", "1e9x30"),
        },
        atMinute: 20,
      },
    },
    ...requestAlerts(values),
  ],
});
