import type { AlertRow, Series, Values } from "./rule.ts";

const MODEL = { server: "127.0.0.1:11434", model: "m:latest" };
const of = (family: string, values: string, more = ""): Series => ({
  [`${family}{server="127.0.0.1:11434",model="m:latest"${more === "" ? "" : `,${more}`}}`]: values,
});
const SPEED = "job_instance_server_model:ollama_model_tokens_per_generating_second:rate5m";
const ENERGY = "job_instance_server_model:ollama_model_joules_per_token:rate15m";
const TOKENS = "job_instance_server_model:ollama_model_generated_tokens:rate5m";
/** Four hours of ten tokens a second, generating all the time. */
const STEADY = {
  ...of("ollama_model_generated_tokens_total", "0+600x300"),
  ...of("ollama_model_generation_seconds_total", "0+60x300"),
};

/** Slots, tokens and energy of the runners' requests. */
export const requestAlerts = (values: Values): readonly AlertRow[] => [
  {
    name: "OllamaSlotsSaturated",
    expr: "ollama_model_slots_busy >= ollama_model_slots and ollama_model_slots > 0",
    for: "10m",
    severity: "warning",
    summary: "All slots of {{ $labels.model }} on {{ $labels.server }} have been busy for ten minutes.",
    description:
      "Further requests wait in Ollama's queue: raise OLLAMA_NUM_PARALLEL if the VRAM allows, or add a server.",
    runbook: {
      meaning: "The runner works on as many requests as it can.",
      impact: "New requests wait for a slot before their first token.",
      diagnosis: ["curl -s http://HOST:9434/metrics | grep ollama_model_slots", "Board Models: Busy slots"],
      fix: "OLLAMA_NUM_PARALLEL (each slot needs its own context in VRAM), a second server, a smaller model.",
    },
    labels: MODEL,
    fires: { series: { ...of("ollama_model_slots_busy", "2x30"), ...of("ollama_model_slots", "2x30") }, atMinute: 10 },
    quiet: {
      series: { ...of("ollama_model_slots_busy", "2 2 2 1 2 2 2 2 1x30"), ...of("ollama_model_slots", "2x40") },
      atMinute: 15,
    },
  },
  {
    name: "OllamaModelSlow",
    expr: `${SPEED} < ${values.slowerThanWeekRatio} * avg_over_time(${SPEED}[7d] offset 1h) and on (job, instance, server, model) ${TOKENS} > ${values.slowMinTokensPerSecond}`,
    for: "10m",
    severity: "warning",
    summary:
      "{{ $labels.model }} on {{ $labels.server }} generates {{ $value | humanize }} tokens per second, less than half of its week.",
    description: "Look for a spill to the CPU, throttling clocks, or another program on the GPU.",
    runbook: {
      meaning: "While generating, the model is less than half as fast as over the last week.",
      impact: "Users wait twice as long.",
      diagnosis: ["ollama ps", "nvidia-smi -q -d PERFORMANCE", "Board GPU detail: What holds the clocks down"],
      fix: "OllamaModelSpilled, GpuThermalSlowdown and GpuMemoryForeign name the usual reasons; more parallel requests also make each slower.",
    },
    labels: MODEL,
    fires: {
      series: {
        ...of("ollama_model_generated_tokens_total", "0+600x200 120000+63x100"),
        ...of("ollama_model_generation_seconds_total", "0+60x200 12000+12.8x100"),
      },
      atMinute: 215,
    },
    quiet: {
      series: {
        ...of("ollama_model_generated_tokens_total", "0+600x200 120000+63x100"),
        ...of("ollama_model_generation_seconds_total", "0+60x200 12000+12.5x100"),
      },
      atMinute: 230,
    },
    alsoQuiet: {
      series: {
        ...of("ollama_model_generated_tokens_total", "0+600x200 120000+59x100"),
        ...of("ollama_model_generation_seconds_total", "0+60x200 12000+12x100"),
      },
      atMinute: 230,
    },
  },
  {
    name: "OllamaEnergyPerTokenDoubled",
    expr: `${ENERGY} > ${values.energyOverWeekRatio} * avg_over_time(${ENERGY}[7d] offset 1h)`,
    for: "15m",
    severity: "info",
    summary: "{{ $labels.model }} on {{ $labels.server }} needs {{ $value | humanize }} J per token, twice its week.",
    description: "Fewer requests at a time, a spill to the CPU or a higher power limit make each token dearer.",
    runbook: {
      meaning: "Active energy per generated token has doubled against the last week.",
      impact: "Cost.",
      diagnosis: ["Board Models: Energy per token, Busy slots, Share on the GPU"],
      fix: "Batch requests, bring the model back onto one GPU, lower the power limit.",
    },
    labels: MODEL,
    fires: {
      series: { ...STEADY, ...of("ollama_model_energy_joules_total", "0+6000x200 1200000+12300x100", 'gpu="0"') },
      atMinute: 230,
    },
    quiet: {
      series: { ...STEADY, ...of("ollama_model_energy_joules_total", "0+6000x200 1200000+11700x100", 'gpu="0"') },
      atMinute: 250,
    },
  },
  {
    name: "OllamaRequestMetricsOff",
    expr: "ollama_model_request_metrics == 0",
    for: "1h",
    severity: "info",
    summary: "{{ $labels.server }} was started without request metrics.",
    description: "Set LLAMA_ARG_ENDPOINT_METRICS=1 in the environment of ollama serve: deploy/ollama shows how.",
    runbook: {
      meaning: "The runner answers 501 on its /metrics.",
      impact: "No tokens per second and no energy per token; slots and power are there.",
      diagnosis: ["systemctl show ollama -p Environment"],
      fix: "systemctl edit ollama: Environment=LLAMA_ARG_ENDPOINT_METRICS=1; restart.",
    },
    labels: MODEL,
    fires: { series: of("ollama_model_request_metrics", "0x90"), atMinute: 60 },
    quiet: { series: of("ollama_model_request_metrics", "1x90"), atMinute: 70 },
  },
];
