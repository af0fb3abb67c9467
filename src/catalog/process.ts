/** Families of one process on one GPU. Labels of the scope: gpu, pid, process. */
import type { GpuProcessEntry } from "../snapshot.ts";
import type { MetricSpec } from "./spec.ts";

/** The catalogue's section on GPU processes; which processes appear is decided by --processes. */
export const PROCESS_METRICS: readonly MetricSpec<GpuProcessEntry>[] = [
  {
    name: "gpu_process_memory_bytes",
    type: "gauge",
    unit: "bytes",
    help: "GPU memory of the process on this GPU.",
    source: "largest of the compute, graphics and MPS lists",
    read: (process) => process.memoryBytes,
  },
  {
    name: "gpu_process_sm_utilization_ratio",
    type: "gauge",
    unit: "ratio",
    help: "Share of time in which the process kept the GPU's multiprocessors busy, 0 to 1; 0 for a listed process without new samples.",
    source: "ProcessUtilization, newest valid sample / 100",
    read: (process) => process.smUtilizationRatio,
  },
  {
    name: "gpu_process_info",
    type: "gauge",
    unit: "none",
    labels: ["container_id", "user"],
    help: "Container and user of the process as labels, always 1; empty when unknown.",
    source: "/proc/PID/cgroup, /proc/PID/status",
    read: ({ containerId, user }) => [{ labels: { container_id: containerId, user }, value: 1 }],
  },
];
