/** Families of Ollama's servers, models and runners. Labels of the scope: server, and model where a model is read. */
import type { GpuOwners, Model, ModelTransitions, ModelVram, OllamaServer, Runner, Snapshot } from "../snapshot.ts";
import type { MetricSpec, Reading } from "./spec.ts";

/** Read from a server; label server. */
export const SERVER_METRICS: readonly MetricSpec<OllamaServer>[] = [
  {
    name: "ollama_up",
    type: "gauge",
    unit: "none",
    help: "1 when /api/version and /api/ps answered in time with what Ollama answers, else 0.",
    source: "GET /api/version, GET /api/ps",
    read: (server) => server.up,
  },
  {
    name: "ollama_build_info",
    type: "gauge",
    unit: "none",
    labels: ["version"],
    help: "Version of the server as a label, always 1.",
    source: "GET /api/version",
    read: ({ version }) => (version === undefined ? undefined : [{ labels: { version }, value: 1 }]),
  },
  {
    name: "ollama_models_installed",
    type: "gauge",
    unit: "none",
    help: "Models on the server's disk.",
    source: "GET /api/tags",
    read: (server) => server.installedCount,
  },
  {
    name: "ollama_models_loaded",
    type: "gauge",
    unit: "none",
    help: "Models in the server's memory.",
    source: "GET /api/ps",
    read: (server) => server.loadedCount,
  },
  {
    name: "ollama_models_loading",
    type: "gauge",
    unit: "none",
    help: "Runner processes of the server that hold no model of /api/ps yet; only for servers on this host.",
    source: "process table, GET /api/ps",
    read: (server) => server.loadingCount,
  },
];

/** Read from a model, installed or loaded; labels server, model. */
export const MODEL_METRICS: readonly MetricSpec<Model>[] = [
  {
    name: "ollama_model_info",
    type: "gauge",
    unit: "none",
    labels: ["digest", "family", "parameter_size", "quantization", "format"],
    help: "Installed or loaded model as labels, always 1; digest as `ollama list` shows it.",
    source: "GET /api/ps, GET /api/tags",
    read: info,
  },
  {
    name: "ollama_model_file_bytes",
    type: "gauge",
    unit: "bytes",
    help: "Size of the model on disk, all layers.",
    source: "GET /api/tags: size",
    read: ({ installed }) => installed?.fileBytes,
  },
  {
    name: "ollama_model_modified_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Unix time at which the model was last changed on disk.",
    source: "GET /api/tags: modified_at",
    read: ({ installed }) => inSeconds(installed?.modifiedAtMs),
  },
  {
    name: "ollama_model_loaded",
    type: "gauge",
    unit: "none",
    help: "1 when the model is in memory, 0 when it is only installed.",
    source: "GET /api/ps, GET /api/tags",
    read: ({ loaded }) => loaded !== undefined,
  },
  {
    name: "ollama_model_size_bytes",
    type: "gauge",
    unit: "bytes",
    help: "Memory of the loaded model on CPU and GPU, as Ollama reports it.",
    source: "GET /api/ps: size",
    read: ({ loaded }) => loaded?.sizeBytes,
  },
  {
    name: "ollama_model_reported_vram_bytes",
    type: "gauge",
    unit: "bytes",
    help: "GPU memory of the loaded model over all GPUs, as Ollama reports it; see ollama_model_vram_bytes for what the driver measures.",
    source: "GET /api/ps: size_vram",
    read: ({ loaded }) => loaded?.sizeVramBytes,
  },
  {
    name: "ollama_model_gpu_ratio",
    type: "gauge",
    unit: "ratio",
    help: "Share of the loaded model that is in GPU memory by Ollama's report, 0 to 1: the PROCESSOR column of `ollama ps`.",
    source: "GET /api/ps: size_vram / size",
    read: gpuRatio,
  },
  {
    name: "ollama_model_vram_bytes",
    type: "gauge",
    unit: "bytes",
    labels: ["gpu"],
    help: "GPU memory that the driver counts for the model's runner processes on this GPU; how it was joined: ollama_model_attribution_info.",
    source: "NVML process lists joined by PID and blob digest",
    read: ({ vram }) => perGpu(vram, ({ bytes }) => bytes),
  },
  {
    name: "ollama_model_attribution_info",
    type: "gauge",
    unit: "none",
    labels: ["method"],
    help: "How the loaded model was joined to processes, always 1: pid, name, sole, reported or none.",
    source: "attribution",
    read: ({ method }) => (method === undefined ? undefined : [{ labels: { method }, value: 1 }]),
  },
  {
    name: "ollama_model_gpu_utilization_ratio",
    type: "gauge",
    unit: "ratio",
    labels: ["gpu"],
    help: "Share of time in which the model's runners kept the GPU's multiprocessors busy, 0 to 1.",
    source: "ProcessUtilization, summed, at most 1",
    read: ({ vram }) => perGpu(vram, ({ utilizationRatio }) => utilizationRatio),
  },
  {
    name: "ollama_model_context_tokens",
    type: "gauge",
    unit: "tokens",
    help: "Context length with which the model was loaded.",
    source: "GET /api/ps: context_length",
    read: ({ loaded }) => loaded?.contextTokens,
  },
  {
    name: "ollama_model_expires_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Unix time at which the model will be unloaded when idle; +Inf = never.",
    source: "GET /api/ps: expires_at",
    read: ({ loaded }) => inSeconds(loaded?.expiresAtMs),
  },
  {
    name: "ollama_model_runner_up",
    type: "gauge",
    unit: "none",
    help: "0 when Ollama lists the model but no runner process lives, else 1; only for servers on this host.",
    source: "process table",
    read: (model) => model.runnerUp,
  },
  {
    name: "ollama_model_runner_start_time_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Unix time at which the model's runner process started; with several, the newest.",
    source: "/proc/PID/stat",
    read: ({ runners }) => combine(runners, ({ startTimeSeconds }) => startTimeSeconds, Math.max),
  },
  {
    name: "ollama_model_runner_resident_memory_bytes",
    type: "gauge",
    unit: "bytes",
    help: "Resident CPU memory of the model's runner processes.",
    source: "/proc/PID/status",
    read: ({ runners }) => combine(runners, ({ residentMemoryBytes }) => residentMemoryBytes, add),
  },
  {
    name: "ollama_model_runner_cpu_seconds_total",
    type: "counter",
    unit: "seconds",
    help: "CPU time of the model's runner processes, user and system.",
    source: "/proc/PID/stat",
    read: runnerCpu,
  },
];

/** Read from the history of a model; labels server, model. */
export const TRANSITION_METRICS: readonly MetricSpec<ModelTransitions>[] = [
  {
    name: "ollama_model_loads_total",
    type: "counter",
    unit: "none",
    help: "Times the model was loaded since the exporter started; one found loaded at the start does not count.",
    source: "transitions between readings",
    since: "exporter",
    read: ({ loads }) => loads,
  },
  {
    name: "ollama_model_unloads_total",
    type: "counter",
    unit: "none",
    help: "Times the model was unloaded, crashed or was replaced since the exporter started.",
    source: "transitions between readings",
    since: "exporter",
    read: ({ unloads }) => unloads,
  },
];

/** Read from the whole snapshot; no labels. */
export const RUNNER_METRICS: readonly MetricSpec<Snapshot>[] = [
  {
    name: "ollama_orphaned_runners",
    type: "gauge",
    unit: "none",
    help: "Runner processes whose server is gone.",
    source: "process table",
    read: (snapshot) => snapshot.orphanedRunners,
  },
];

/** Read from the owners of a GPU's memory; label gpu. */
export const ORPHAN_METRICS: readonly MetricSpec<GpuOwners>[] = [
  {
    name: "ollama_orphaned_vram_bytes",
    type: "gauge",
    unit: "bytes",
    help: "GPU memory held by runner processes whose server is gone.",
    source: "NVML process lists, process table",
    read: ({ orphanedBytes }) => orphanedBytes,
  },
];

/** As `ollama list` cuts a digest. */
const DIGEST_LENGTH = 12;

function info({ loaded, installed }: Model): Reading {
  const labels = {
    digest: (loaded?.digest ?? installed?.digest ?? "").slice(0, DIGEST_LENGTH),
    family: loaded?.family ?? installed?.family ?? "",
    parameter_size: loaded?.parameterSize ?? installed?.parameterSize ?? "",
    quantization: loaded?.quantization ?? installed?.quantization ?? "",
    format: loaded?.format ?? installed?.format ?? "",
  };
  return [{ labels, value: 1 }];
}

/** Counts from the start of the youngest of the model's runners. */
function runnerCpu({ runners }: Model): Reading {
  const value = combine(runners, ({ cpuSeconds }) => cpuSeconds, add);
  const startTimeSeconds = combine(runners, (runner) => runner.startTimeSeconds, Math.max);
  if (value === undefined) return undefined;
  return [{ labels: {}, value, ...(startTimeSeconds !== undefined && { startTimeSeconds }) }];
}

function gpuRatio({ loaded }: Model): Reading {
  const { sizeBytes, sizeVramBytes } = loaded ?? {};
  if (sizeBytes === undefined || sizeVramBytes === undefined) return undefined;
  return sizeBytes === 0 || sizeVramBytes > sizeBytes ? undefined : sizeVramBytes / sizeBytes;
}

function perGpu(vram: readonly ModelVram[] | undefined, pick: (entry: ModelVram) => number | undefined): Reading {
  return vram?.flatMap((entry) => {
    const value = pick(entry);
    return value === undefined ? [] : [{ labels: { gpu: entry.gpu }, value }];
  });
}

function combine(
  runners: readonly Runner[] | undefined,
  pick: (runner: Runner) => number | undefined,
  join: (a: number, b: number) => number,
): number | undefined {
  const values = runners?.map(pick).filter((value) => value !== undefined) ?? [];
  return values.length === 0 ? undefined : values.reduce((a, b) => join(a, b));
}

const add = (a: number, b: number): number => a + b;

const inSeconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000);
