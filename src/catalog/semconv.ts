/** Families that only OpenTelemetry's hardware conventions have (--otlp.naming=semconv). Labels of the scope: gpu, uuid. */
import type { Gpu } from "../snapshot.ts";
import type { MetricSpec, Reading } from "./spec.ts";

const HW_STATES = ["ok", "degraded", "failed"] as const;

function stateOf(gpu: Gpu): (typeof HW_STATES)[number] {
  if (!gpu.up) return "failed";
  const needsAction = gpu.recoveryAction !== undefined && gpu.recoveryAction !== "none";
  return needsAction || gpu.rowRemapPending === 1 || gpu.rowRemapFailure === 1 ? "degraded" : "ok";
}

function status(gpu: Gpu): Reading {
  const current = stateOf(gpu);
  return HW_STATES.map((state) => ({ labels: { state }, value: state === current ? 1 : 0 }));
}

function fullness({ memoryUsedBytes: used, memoryTotalBytes: total }: Gpu): Reading {
  return used === undefined || total === undefined || total === 0 ? undefined : used / total;
}

/** Their names are the conventions' own: nothing of this is on /metrics. */
export const SEMCONV_METRICS: readonly MetricSpec<Gpu>[] = [
  {
    name: "hw.gpu.memory.utilization",
    type: "gauge",
    unit: "ratio",
    help: "Used share of the GPU's memory, 0 to 1.",
    source: "MemoryInfo: used / total",
    semconv: { name: "hw.gpu.memory.utilization", unit: "1", instrument: "gauge" },
    read: fullness,
  },
  {
    name: "hw.status",
    type: "gauge",
    unit: "none",
    labels: ["state"],
    help: "1 for the GPU's state, 0 for the others: failed = it cannot be read, degraded = it needs a recovery action or a row remap is pending or failed.",
    source: "gpu_up, gpu_recovery_action, gpu_row_remap_pending, gpu_row_remap_failure",
    semconv: {
      name: "hw.status",
      unit: "1",
      instrument: "updowncounter",
      attributes: ({ state = "" }) => ({ "hw.state": state }),
    },
    read: status,
  },
];
