/** Every family on /metrics but the runtime's own, in one list, for whoever only needs the rows. */
import { COLLECTOR_METRICS, SNAPSHOT_METRICS, STATE_METRICS } from "./exporter.ts";
import { ENERGY_METRICS, GPU_HEALTH_METRICS, OWNER_METRICS } from "./gpu-health.ts";
import { GPU_METRICS } from "./gpu.ts";
import { MODEL_METRICS, ORPHAN_METRICS, RUNNER_METRICS, SERVER_METRICS, TRANSITION_METRICS } from "./ollama.ts";
import { PROCESS_METRICS } from "./process.ts";
import { MODEL_ENERGY_METRICS, RUNNER_ENDPOINT_METRICS } from "./runner.ts";
import type { MetricRow } from "./spec.ts";

export const CATALOGUE: readonly MetricRow[] = [
  ...GPU_METRICS,
  ...OWNER_METRICS,
  ...GPU_HEALTH_METRICS,
  ...ENERGY_METRICS,
  ...PROCESS_METRICS,
  ...SERVER_METRICS,
  ...MODEL_METRICS,
  ...RUNNER_ENDPOINT_METRICS,
  ...MODEL_ENERGY_METRICS,
  ...TRANSITION_METRICS,
  ...RUNNER_METRICS,
  ...ORPHAN_METRICS,
  ...STATE_METRICS,
  ...COLLECTOR_METRICS,
  ...SNAPSHOT_METRICS,
];
