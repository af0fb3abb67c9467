import type { RecordingRow } from "./rule.ts";

/** Boards, not their MIG instances, which would count twice. */
const BOARDS = '{gpu!~".+:.+"}';

/** level:metric:operation; what a fleet's dashboards and alerts ask often. */
export const RECORDING_RULES: readonly RecordingRow[] = [
  { record: "job_instance:gpu_up:sum", expr: `sum by (job, instance) (gpu_up${BOARDS})` },
  { record: "job_instance:gpu_memory_used_bytes:sum", expr: `sum by (job, instance) (gpu_memory_used_bytes${BOARDS})` },
  {
    record: "job_instance:gpu_memory_total_bytes:sum",
    expr: `sum by (job, instance) (gpu_memory_total_bytes${BOARDS})`,
  },
  {
    record: "job_instance:gpu_memory_used:ratio",
    expr: `sum by (job, instance) (gpu_memory_used_bytes${BOARDS}) / sum by (job, instance) (gpu_memory_total_bytes${BOARDS})`,
  },
  { record: "job_instance:gpu_memory_owner_bytes:sum", expr: "sum by (job, instance, owner) (gpu_memory_owner_bytes)" },
  { record: "job_instance:gpu_power_draw_watts:sum", expr: `sum by (job, instance) (gpu_power_draw_watts${BOARDS})` },
  {
    record: "job_instance_gpu:gpu_energy_joules:rate5m",
    expr: `sum by (job, instance, gpu) (rate(gpu_energy_joules_total${BOARDS}[5m]))`,
  },
  { record: "job_instance:gpu_utilization_ratio:avg", expr: `avg by (job, instance) (gpu_utilization_ratio${BOARDS})` },
  {
    record: "job_instance_server_model:ollama_model_vram_bytes:sum",
    expr: "sum by (job, instance, server, model) (ollama_model_vram_bytes)",
  },
  { record: "job_instance:ollama_models_loaded:sum", expr: "sum by (job, instance) (ollama_models_loaded)" },
  {
    record: "job_instance:ollama_model_loads:increase1h",
    expr: "sum by (job, instance) (increase(ollama_model_loads_total[1h]))",
  },
  {
    record: "job_instance_server_model:ollama_model_generated_tokens:rate5m",
    expr: "sum by (job, instance, server, model) (rate(ollama_model_generated_tokens_total[5m]))",
  },
  {
    record: "job_instance_server_model:ollama_model_tokens_per_generating_second:rate5m",
    expr: "sum by (job, instance, server, model) (rate(ollama_model_generated_tokens_total[5m])) / (sum by (job, instance, server, model) (rate(ollama_model_generation_seconds_total[5m])) > 0)",
  },
  {
    record: "job_instance_server_model:ollama_model_joules_per_token:rate15m",
    expr: "sum by (job, instance, server, model) (rate(ollama_model_energy_joules_total[15m])) / (sum by (job, instance, server, model) (rate(ollama_model_generated_tokens_total[15m])) > 0)",
  },
  {
    record: "job_instance_server_model:ollama_model_prompt_tokens:rate5m",
    expr: 'sum by (job, instance, server, model) (rate(ollama_model_prompt_tokens_total{cached="false"}[5m]))',
  },
  {
    record: "job_instance_server_model:ollama_model_tokens_per_request_second:rate5m",
    expr: "sum by (job, instance, server, model) (rate(ollama_model_generated_tokens_total[5m])) / (sum by (job, instance, server, model) (rate(ollama_model_prompt_seconds_total[5m])) + sum by (job, instance, server, model) (rate(ollama_model_generation_seconds_total[5m])) > 0)",
  },
  {
    record: "job_instance_server_model:ollama_model_energy_watt_hours:increase1d",
    expr: "sum by (job, instance, server, model) (increase(ollama_model_energy_joules_total[1d])) / 3600",
  },
  {
    record: "job_instance_server_model:ollama_model_cold:ratio1d",
    expr: "1 - avg by (job, instance, server, model) (avg_over_time(ollama_model_loaded[1d]))",
  },
  { record: "job:gpu_memory_free_bytes:sum", expr: `sum by (job) (gpu_memory_free_bytes${BOARDS})` },
];
