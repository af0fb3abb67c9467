/** Families of a GPU board or MIG instance: clocks, fans, links, errors, modes, processes. Labels of the scope: gpu, uuid. */
import type { Gpu, GpuEnergy, GpuOwners } from "../snapshot.ts";
import { byLabel, type MetricSpec, type Reading, type Sample } from "./spec.ts";

/** Bits of the clocks event reasons mask, from 0x1. */
export const CLOCK_EVENT_REASONS = [
  "gpu_idle",
  "applications_clocks_setting",
  "sw_power_cap",
  "hw_slowdown",
  "sync_boost",
  "sw_thermal_slowdown",
  "hw_thermal_slowdown",
  "hw_power_brake_slowdown",
  "display_clock_setting",
  "board_limit",
  "reliability",
];

/** Names of field 230's values 0..7 in the driver's order, then what a newer driver may add. */
export const RECOVERY_ACTIONS = [
  "none",
  "gpu_reset",
  "node_reboot",
  "drain_p2p",
  "drain_and_reset",
  "recover_imex_domain",
  "bus_reset",
  "system_reboot",
  "unknown",
] as const;

function eccErrors({ eccErrors: errors }: Gpu): Reading {
  return (
    errors &&
    Object.entries(errors).map(([key, value]): Sample => {
      const [type = "", counter = ""] = key.split("/");
      return { labels: { type, counter }, value };
    })
  );
}

function recoveryAction({ recoveryAction: current }: Gpu): Reading {
  return current === undefined
    ? undefined
    : RECOVERY_ACTIONS.map((action) => ({ labels: { action }, value: action === current ? 1 : 0 }));
}

/** The second half of the catalogue's section on GPU devices. */
export const GPU_HEALTH_METRICS: readonly MetricSpec<Gpu>[] = [
  {
    name: "gpu_clock_hertz",
    type: "gauge",
    unit: "hertz",
    labels: ["clock"],
    help: "Current clock frequencies.",
    source: "ClockInfo * 1e6",
    read: (gpu) => byLabel("clock", gpu.clockHertz),
  },
  {
    name: "gpu_clock_max_hertz",
    type: "gauge",
    unit: "hertz",
    labels: ["clock"],
    help: "Highest clock frequencies of the board.",
    source: "MaxClockInfo * 1e6",
    read: (gpu) => byLabel("clock", gpu.clockMaxHertz),
  },
  {
    name: "gpu_clock_event_reason_active",
    type: "gauge",
    unit: "none",
    labels: ["reason"],
    help: "1 while the reason holds the clocks down, 0 otherwise.",
    source: "CurrentClocksEventReasons, else CurrentClocksThrottleReasons",
    read: (gpu) => byLabel("reason", gpu.clockEventReasonActive),
  },
  {
    name: "gpu_clock_event_seconds_total",
    type: "counter",
    unit: "seconds",
    labels: ["reason"],
    help: "Time during which the reason held the clocks down.",
    source: "fields 74..79, 269..271 / 1e9",
    read: (gpu) => byLabel("reason", gpu.clockEventSeconds),
  },
  {
    name: "gpu_performance_state",
    type: "gauge",
    unit: "none",
    help: "Performance state, 0 (fastest) to 15.",
    source: "PerformanceState; 32 = unknown",
    read: (gpu) => gpu.performanceState,
  },
  {
    name: "gpu_fan_speed_ratio",
    type: "gauge",
    unit: "ratio",
    labels: ["fan"],
    help: "Intended fan speed as a share of the maximum; can exceed 1.",
    source: "FanSpeed_v2 / 100, else FanSpeed",
    semconv: { name: "hw.fan.speed_ratio", unit: "1", instrument: "gauge", attributes: ({ fan = "" }) => ({ fan }) },
    read: (gpu) => byLabel("fan", gpu.fanSpeedRatio),
  },
  {
    name: "gpu_pcie_link_generation",
    type: "gauge",
    unit: "none",
    help: "Current PCIe generation of the link; lower while idle.",
    source: "CurrPcieLinkGeneration",
    read: (gpu) => gpu.pcieLinkGeneration,
  },
  {
    name: "gpu_pcie_link_generation_max",
    type: "gauge",
    unit: "none",
    help: "Highest PCIe generation that GPU and slot can do together.",
    source: "MaxPcieLinkGeneration",
    read: (gpu) => gpu.pcieLinkGenerationMax,
  },
  {
    name: "gpu_pcie_link_width",
    type: "gauge",
    unit: "none",
    help: "Current number of PCIe lanes.",
    source: "CurrPcieLinkWidth",
    read: (gpu) => gpu.pcieLinkWidth,
  },
  {
    name: "gpu_pcie_link_width_max",
    type: "gauge",
    unit: "none",
    help: "Highest number of PCIe lanes that GPU and slot can do together.",
    source: "MaxPcieLinkWidth",
    read: (gpu) => gpu.pcieLinkWidthMax,
  },
  {
    name: "gpu_pcie_replays_total",
    type: "counter",
    unit: "none",
    help: "PCIe packets that had to be sent again.",
    source: "PcieReplayCounter",
    semconv: {
      name: "hw.errors",
      unit: "{error}",
      instrument: "counter",
      attributes: () => ({ "error.type": "pcie_replay" }),
    },
    read: (gpu) => gpu.pcieReplays,
  },
  {
    name: "gpu_pcie_receive_bytes_total",
    type: "counter",
    unit: "bytes",
    help: "Bytes received over PCIe; the driver's counter can wrap.",
    source: "field 198",
    semconv: {
      name: "hw.gpu.io",
      unit: "By",
      instrument: "counter",
      attributes: () => ({ "network.io.direction": "receive" }),
    },
    read: (gpu) => gpu.pcieReceiveBytes,
  },
  {
    name: "gpu_pcie_transmit_bytes_total",
    type: "counter",
    unit: "bytes",
    help: "Bytes sent over PCIe; the driver's counter can wrap.",
    source: "field 197",
    semconv: {
      name: "hw.gpu.io",
      unit: "By",
      instrument: "counter",
      attributes: () => ({ "network.io.direction": "transmit" }),
    },
    read: (gpu) => gpu.pcieTransmitBytes,
  },
  {
    name: "gpu_nvlink_receive_bytes_total",
    type: "counter",
    unit: "bytes",
    help: "Payload received over all NVLinks.",
    source: "field 139 (KiB), scope all links",
    read: (gpu) => gpu.nvlinkReceiveBytes,
  },
  {
    name: "gpu_nvlink_transmit_bytes_total",
    type: "counter",
    unit: "bytes",
    help: "Payload sent over all NVLinks.",
    source: "field 138 (KiB), scope all links",
    read: (gpu) => gpu.nvlinkTransmitBytes,
  },
  {
    name: "gpu_ecc_mode_enabled",
    type: "gauge",
    unit: "none",
    help: "1 while ECC is on, 0 while it is off; absent without ECC.",
    source: "EccMode, current",
    read: (gpu) => gpu.eccModeEnabled,
  },
  {
    name: "gpu_ecc_errors_total",
    type: "counter",
    unit: "none",
    labels: ["type", "counter"],
    help: "ECC errors: corrected or uncorrected, since the driver was loaded (volatile) or over the board's life (aggregate).",
    source: "TotalEccErrors",
    semconv: {
      name: "hw.errors",
      unit: "{error}",
      instrument: "counter",
      attributes: ({ type = "", counter = "" }) => ({ "error.type": `ecc_${type}`, counter }),
    },
    read: eccErrors,
  },
  {
    name: "gpu_remapped_rows_total",
    type: "counter",
    unit: "none",
    labels: ["type"],
    help: "Memory rows remapped because of corrected or uncorrected errors.",
    source: "RemappedRows",
    read: (gpu) => byLabel("type", gpu.remappedRows),
  },
  {
    name: "gpu_row_remap_pending",
    type: "gauge",
    unit: "none",
    help: "1 when rows wait for a reset to be remapped.",
    source: "RemappedRows",
    read: (gpu) => gpu.rowRemapPending,
  },
  {
    name: "gpu_row_remap_failure",
    type: "gauge",
    unit: "none",
    help: "1 when a row could not be remapped: the board should be replaced.",
    source: "RemappedRows",
    read: (gpu) => gpu.rowRemapFailure,
  },
  {
    name: "gpu_retired_pages_pending",
    type: "gauge",
    unit: "none",
    help: "1 when memory pages wait for a reboot to be retired; only boards without row remapping.",
    source: "RetiredPagesPendingStatus",
    read: (gpu) => gpu.retiredPagesPending,
  },
  {
    name: "gpu_xid_errors_total",
    type: "counter",
    unit: "none",
    labels: ["xid"],
    help: "XID errors since the exporter started; critical codes are there at 0 from the start.",
    source: "EventSetWait_v2",
    since: "exporter",
    semconv: {
      name: "hw.errors",
      unit: "{error}",
      instrument: "counter",
      attributes: ({ xid = "" }) => ({ "error.type": `xid_${xid}` }),
    },
    read: (gpu) => byLabel("xid", gpu.xidErrors),
  },
  {
    name: "gpu_xid_last_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    labels: ["xid"],
    help: "Unix time of the last XID error with this code, only for codes seen.",
    source: "EventSetWait_v2",
    read: (gpu) => byLabel("xid", gpu.xidLastTimestampSeconds),
  },
  {
    name: "gpu_recovery_action",
    type: "gauge",
    unit: "none",
    labels: ["action"],
    help: "1 for the action that the driver asks for to recover the GPU, 0 for the others.",
    source: "field 230, every 30 s",
    read: recoveryAction,
  },
  {
    name: "gpu_mig_mode_enabled",
    type: "gauge",
    unit: "none",
    help: "1 while the board is split into MIG instances.",
    source: "MigMode, current",
    read: (gpu) => gpu.migModeEnabled,
  },
  {
    name: "gpu_persistence_mode_enabled",
    type: "gauge",
    unit: "none",
    help: "1 while the driver keeps the GPU initialised without a client.",
    source: "PersistenceMode",
    read: (gpu) => gpu.persistenceModeEnabled,
  },
  {
    name: "gpu_processes",
    type: "gauge",
    unit: "none",
    labels: ["type"],
    help: "Processes that the driver lists on the GPU.",
    source: "Compute/Graphics/MPSComputeRunningProcesses",
    read: (gpu) => byLabel("type", gpu.processCounts),
  },
];

/** Read from the owners of a GPU's memory; labels gpu, uuid. */
export const OWNER_METRICS: readonly MetricSpec<GpuOwners>[] = [
  {
    name: "gpu_memory_owner_bytes",
    type: "gauge",
    unit: "bytes",
    labels: ["owner"],
    help: "GPU memory by owner: ollama, other processes, and what the driver gives to no process; absent without per-process memory.",
    source: "process lists and MemoryInfo",
    read: ({ ollamaBytes, otherBytes, unattributedBytes }) =>
      byLabel("owner", {
        ollama: ollamaBytes,
        other: otherBytes,
        ...(unattributedBytes !== undefined && { unattributed: unattributedBytes }),
      }),
  },
];

/** Read from a board's energy; labels gpu, uuid. */
export const ENERGY_METRICS: readonly MetricSpec<GpuEnergy>[] = [
  {
    name: "gpu_attributed_energy_joules_total",
    type: "counter",
    unit: "joules",
    labels: ["owner"],
    help: "Energy since the exporter started by owner: ollama's and other processes' work, and idle; the three sum to the board's growth.",
    source: "energy counter, else power, shared by ProcessUtilization",
    since: "exporter",
    read: ({ ollamaJoules, otherJoules, idleJoules }) =>
      byLabel("owner", { ollama: ollamaJoules, other: otherJoules, idle: idleJoules }),
  },
];
