import type { BoardSpec } from "../panel.ts";
import { increase, model, modelGpu, rate, server, steps, zeros } from "../selectors.ts";

/** Most servers are 127.0.0.1:11434: the host tells them apart. */
const MODEL = "{{model}} on {{instance}} {{server}}";
const KEY = "job, instance, server, model";

export const models: BoardSpec = {
  uid: "ollama-gpu-models",
  title: "Ollama GPU / Models",
  description: "Which model holds what on which GPU, how much of it spilled to the CPU, what was loaded when.",
  variables: ["gpu", "server", "model"],
  panels: [
    {
      kind: "stat",
      title: "Servers down",
      description: "Servers that do not answer.",
      unit: "none",
      queries: [{ expr: zeros(server("ollama_up")), legend: "down" }],
      thresholds: [{ value: 1, color: "red" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Loaded",
      description: "Models in memory.",
      unit: "none",
      queries: [{ expr: `sum(${model("ollama_model_loaded")})`, legend: "loaded" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Loading",
      description: "Runner processes that hold no model yet; only for servers on the exporter's host.",
      unit: "none",
      queries: [{ expr: `sum(${server("ollama_models_loading")})`, legend: "loading" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Spilled to the CPU",
      description: "Loaded models of which a part is not on a GPU.",
      unit: "none",
      queries: [
        {
          expr: `count(${model("ollama_model_gpu_ratio")} < 0.99) or 0 * count(${model("ollama_model_gpu_ratio")})`,
          legend: "spilled",
        },
      ],
      thresholds: [{ value: 1, color: "orange" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Crashed runners",
      description: "Models that Ollama lists although their process is gone.",
      unit: "none",
      queries: [{ expr: zeros(model("ollama_model_runner_up")), legend: "crashed" }],
      thresholds: [{ value: 1, color: "red" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Loads",
      description: "Models loaded in the shown time.",
      unit: "none",
      queries: [{ expr: `round(sum(${increase(model("ollama_model_loads_total"))}))`, legend: "loads" }],
      width: 4,
    },
    {
      kind: "timeseries",
      title: "VRAM per model and GPU, measured",
      description:
        "What the driver counts for the model's runner processes; absent where it cannot be measured, never guessed.",
      unit: "bytes",
      queries: [{ expr: modelGpu("ollama_model_vram_bytes"), legend: `${MODEL} GPU {{gpu}}` }],
      stacked: true,
    },
    {
      kind: "timeseries",
      title: "Measured beside reported",
      description: "The driver's bytes over all GPUs beside Ollama's own number, which leaves out the CUDA context.",
      unit: "bytes",
      queries: [
        { expr: `sum by (${KEY}) (${model("ollama_model_vram_bytes")})`, legend: `${MODEL} measured` },
        { expr: model("ollama_model_reported_vram_bytes"), legend: `${MODEL} reported`, dashed: true },
      ],
    },
    {
      kind: "bargauge",
      title: "Share on the GPU",
      description: "The PROCESSOR column of `ollama ps`: below 100 % the rest is computed on the CPU, slowly.",
      unit: "percentunit",
      queries: [{ expr: model("ollama_model_gpu_ratio"), legend: MODEL }],
      max: 1,
    },
    {
      kind: "timeseries",
      title: "GPU utilisation per model",
      description: "SM utilisation of the model's runners on each GPU.",
      unit: "percentunit",
      queries: [{ expr: modelGpu("ollama_model_gpu_utilization_ratio"), legend: `${MODEL} GPU {{gpu}}` }],
      max: 1,
    },
    {
      kind: "table",
      title: "Models",
      description:
        "Loaded models with their identity, context, the time until they are unloaded, and how often each was loaded in the shown time.",
      unit: "none",
      queries: [
        { expr: `${model("ollama_model_info")} and on (${KEY}) ${model("ollama_model_loaded")} == 1`, legend: "" },
        { expr: `sum by (${KEY}) (${model("ollama_model_size_bytes")})`, legend: "" },
        { expr: `sum by (${KEY}) (${model("ollama_model_context_tokens")})`, legend: "" },
        {
          expr: `sum by (${KEY}) (clamp_min(${model("ollama_model_expires_timestamp_seconds")} - time(), 0))`,
          legend: "",
        },
        { expr: `sum by (${KEY}) (${model("ollama_model_gpu_ratio")})`, legend: "" },
        {
          expr: `round(sum by (${KEY}) (${increase(model("ollama_model_loads_total"))})) and on (${KEY}) ${model("ollama_model_loaded")} == 1`,
          legend: "",
        },
      ],
      columns: [
        { field: "instance", name: "Host" },
        { field: "server", name: "Server" },
        { field: "model", name: "Model" },
        { field: "parameter_size", name: "Parameters" },
        { field: "quantization", name: "Quantization" },
        { field: "Value #B", name: "Size", unit: "bytes" },
        { field: "Value #C", name: "Context, tokens", unit: "none" },
        { field: "Value #E", name: "On the GPU", unit: "percentunit" },
        { field: "Value #D", name: "Unloaded in", unit: "s", words: { Infinity: "never" } },
        { field: "Value #F", name: "Loads" },
      ],
      width: 24,
    },
    {
      kind: "timeseries",
      title: "Loads and unloads",
      description: "Transitions of each server's models; many of both mean that models push each other out.",
      unit: "none",
      queries: [
        {
          expr: `sum by (job, instance, server) (${steps(model("ollama_model_loads_total"))})`,
          legend: "{{instance}} {{server}} loads",
        },
        {
          expr: `sum by (job, instance, server) (${steps(model("ollama_model_unloads_total"))})`,
          legend: "{{instance}} {{server}} unloads",
          dashed: true,
        },
      ],
    },
    {
      kind: "timeseries",
      title: "Time until unloaded",
      description: "Countdown of the keep-alive; models that are never unloaded are not shown.",
      unit: "s",
      queries: [
        { expr: `clamp_min((${model("ollama_model_expires_timestamp_seconds")} < +Inf) - time(), 0)`, legend: MODEL },
      ],
    },
    {
      kind: "timeseries",
      title: "Runner CPU",
      description:
        "CPU seconds per second of the model's processes: near the number of cores when the model is partly on the CPU.",
      unit: "none",
      queries: [{ expr: rate(model("ollama_model_runner_cpu_seconds_total")), legend: MODEL }],
    },
    {
      kind: "timeseries",
      title: "Runner memory",
      description: "Resident memory of the model's processes.",
      unit: "bytes",
      queries: [{ expr: model("ollama_model_runner_resident_memory_bytes"), legend: MODEL }],
    },
    {
      kind: "timeseries",
      title: "Tokens per second",
      description: "Generated tokens per second of wall time; needs request metrics, see deploy/ollama.",
      unit: "suffix:tok/s",
      queries: [{ expr: rate(model("ollama_model_generated_tokens_total")), legend: MODEL }],
    },
    {
      kind: "timeseries",
      title: "Speed while generating",
      description:
        "Generated tokens per request second, the time that requests spent generating: what a user sees, and idle times are not in it.",
      unit: "suffix:tok/s",
      queries: [
        {
          expr: `${rate(model("ollama_model_generated_tokens_total"))} / (${rate(model("ollama_model_generation_seconds_total"))} > 0)`,
          legend: MODEL,
        },
      ],
    },
    {
      kind: "timeseries",
      title: "Prompt tokens per second",
      description: "Prompt tokens per second of prompt work, those from the cache not counted.",
      unit: "suffix:tok/s",
      queries: [
        {
          expr: `sum by (${KEY}) (${rate(model("ollama_model_prompt_tokens_total", 'cached="false"'))}) / (sum by (${KEY}) (${rate(model("ollama_model_prompt_seconds_total"))}) > 0)`,
          legend: MODEL,
        },
      ],
    },
    {
      kind: "timeseries",
      title: "Busy slots",
      description: "Requests worked on, those that wait for a slot, and the most that the runner works on at a time.",
      unit: "none",
      queries: [
        { expr: model("ollama_model_slots_busy"), legend: `${MODEL} busy` },
        { expr: `${model("ollama_model_requests_deferred")} > 0`, legend: `${MODEL} waiting` },
        { expr: model("ollama_model_slots"), legend: `${MODEL} slots`, dashed: true },
      ],
    },
    {
      kind: "timeseries",
      title: "Power per model",
      description: "Mean power of the model's work above the board's idle floor, shared by process utilisation.",
      unit: "watt",
      queries: [{ expr: modelGpu("ollama_model_power_watts"), legend: `${MODEL} GPU {{gpu}}` }],
      stacked: true,
    },
    {
      kind: "timeseries",
      title: "Energy per token",
      description:
        "Active energy over generated tokens; idle energy is nobody's. Not shown below a token in ten seconds.",
      unit: "joule",
      queries: [
        {
          expr: `sum by (${KEY}) (${rate(model("ollama_model_energy_joules_total"))}) / (sum by (${KEY}) (${rate(model("ollama_model_generated_tokens_total"))}) > 0.1)`,
          legend: MODEL,
        },
      ],
    },
    {
      kind: "table",
      title: "How each model was joined to processes",
      description:
        "pid = by the blob in the process's arguments, name, sole = the only one left, reported = Ollama's own number, none = nothing is claimed. Token counters are off until Ollama runs with LLAMA_ARG_ENDPOINT_METRICS=1.",
      unit: "none",
      queries: [
        { expr: model("ollama_model_attribution_info"), legend: "" },
        { expr: `sum by (${KEY}) (${model("ollama_model_request_metrics")})`, legend: "" },
      ],
      columns: [
        { field: "instance", name: "Host" },
        { field: "server", name: "Server" },
        { field: "model", name: "Model" },
        { field: "method", name: "Method" },
        { field: "Value #B", name: "Token counters", words: { 0: "off", 1: "on" } },
      ],
    },
    {
      kind: "statetimeline",
      title: "Loaded models over time",
      description: "When each model was in memory.",
      unit: "none",
      queries: [{ expr: `${model("ollama_model_loaded")} == 1`, legend: MODEL }],
      words: { 1: "loaded" },
    },
  ],
};
