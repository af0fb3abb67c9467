import type { BoardSpec, Word } from "../panel.ts";
import { board, gpu, increase, modelGpu, rate, steps } from "../selectors.ts";

const GPU = "{{instance}} GPU {{gpu}}";
const BY_GPU = "job, instance, gpu";

/** What holds the clocks down, from the harmless to the serious; of several at once the last is shown. */
const REASONS: readonly (readonly [reasons: string, word: Word])[] = [
  ["gpu_idle", { text: "idle", color: "dark-purple" }],
  [
    "applications_clocks_setting|display_clock_setting|sync_boost",
    { text: "clocks set by somebody", color: "light-blue" },
  ],
  ["sw_power_cap", { text: "power limit", color: "blue" }],
  ["board_limit|reliability", { text: "limit of the board", color: "super-light-blue" }],
  ["sw_thermal_slowdown", { text: "heat, by the driver", color: "orange" }],
  ["hw_slowdown", { text: "slowed by the hardware", color: "orange" }],
  ["hw_power_brake_slowdown", { text: "power brake", color: "red" }],
  ["hw_thermal_slowdown", { text: "heat, by the hardware", color: "red" }],
];
const REASON_WORDS: Readonly<Record<string, Word>> = Object.fromEntries([
  ["0", { text: "nothing", color: "dark-blue" }] as const,
  ...REASONS.map(([, word], index) => [String(index + 1), word] as const),
]);
const worstReason = `max by (${BY_GPU}) (${REASONS.map(
  ([reasons], index) => `${index + 1} * ${board("gpu_clock_event_reason_active", `reason=~"${reasons}"`)}`,
).join(" or ")})`;

export const gpuDetail: BoardSpec = {
  uid: "ollama-gpu-detail",
  title: "Ollama GPU / GPU detail",
  description: "One GPU or a few: who holds the memory, what limits the clocks, what is wrong with the hardware.",
  variables: ["gpu", "server", "model"],
  panels: [
    {
      kind: "stat",
      title: "State",
      description: "Whether the driver can read all of the chosen GPUs.",
      unit: "none",
      queries: [{ expr: `min(${gpu("gpu_up")})`, legend: "state" }],
      words: { 0: { text: "lost", color: "red" }, 1: "up" },
      width: 4,
    },
    {
      kind: "stat",
      title: "Memory used",
      description: "Used share of the memory, the fullest of the chosen GPUs.",
      unit: "percentunit",
      queries: [{ expr: `max(${gpu("gpu_memory_used_bytes")} / ${gpu("gpu_memory_total_bytes")})`, legend: "used" }],
      thresholds: [{ value: 0.95, color: "orange" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Degrees to the slowdown",
      description: "Smallest distance between the temperature and the point at which the board slows down.",
      unit: "celsius",
      queries: [
        {
          expr: `min(${gpu("gpu_temperature_threshold_celsius", 'threshold="slowdown"')} - on (job, instance, gpu) ${gpu("gpu_temperature_celsius")})`,
          legend: "margin",
        },
      ],
      lowest: "red",
      thresholds: [
        { value: 3, color: "orange" },
        { value: 5, color: "text" },
      ],
      width: 4,
    },
    {
      kind: "stat",
      title: "Power of the limit",
      description: "Draw as a share of the limit in force, the highest of the chosen GPUs.",
      unit: "percentunit",
      queries: [
        { expr: `max(${gpu("gpu_power_draw_watts")} / ${gpu("gpu_power_enforced_limit_watts")})`, legend: "power" },
      ],
      width: 4,
    },
    {
      kind: "stat",
      title: "XID errors",
      description: "XID events in the shown time; n/a where the GPU has no XID events or the exporter cannot see them.",
      unit: "none",
      queries: [{ expr: `round(sum(${increase(gpu("gpu_xid_errors_total"))}))`, legend: "XID" }],
      thresholds: [{ value: 1, color: "red" }],
      noValue: "no XID data",
      width: 4,
    },
    {
      kind: "stat",
      title: "Recovery action",
      description: "GPUs for which the driver asks for an action; n/a where it cannot say.",
      unit: "none",
      queries: [{ expr: `sum(${gpu("gpu_recovery_action", 'action!="none"')})`, legend: "action" }],
      thresholds: [{ value: 1, color: "red" }],
      width: 4,
    },
    {
      kind: "timeseries",
      title: "Memory by owner",
      description: "What the driver counts on the chosen GPUs for Ollama's processes, for others, and for none.",
      unit: "bytes",
      queries: [
        {
          expr: `sum by (job, instance, owner) (${gpu("gpu_memory_owner_bytes")})`,
          legend: "{{instance}} {{owner}}",
        },
      ],
      stacked: true,
    },
    {
      kind: "timeseries",
      title: "Memory by model",
      description: "Memory that the driver counts for each model's runners on these GPUs.",
      unit: "bytes",
      queries: [{ expr: modelGpu("ollama_model_vram_bytes"), legend: "{{model}} on {{instance}} GPU {{gpu}}" }],
      stacked: true,
    },
    {
      kind: "timeseries",
      title: "Utilisation",
      description: "Share of time in which a kernel ran; not how much of the GPU it used.",
      unit: "percentunit",
      queries: [{ expr: gpu("gpu_utilization_ratio"), legend: GPU }],
      max: 1,
    },
    {
      kind: "timeseries",
      title: "Memory controller utilisation",
      description: "Share of time in which the memory was read or written; token generation is bound by this.",
      unit: "percentunit",
      queries: [{ expr: gpu("gpu_memory_utilization_ratio"), legend: GPU }],
      max: 1,
    },
    {
      kind: "timeseries",
      title: "Inside the GPU",
      description: "How much of the GPU a kernel used: only Hopper and later say it, elsewhere there is no data.",
      unit: "percentunit",
      queries: [
        { expr: gpu("gpu_sm_active_ratio"), legend: `${GPU} multiprocessors busy` },
        { expr: gpu("gpu_sm_occupancy_ratio"), legend: `${GPU} warps` },
        { expr: gpu("gpu_tensor_active_ratio"), legend: `${GPU} tensor cores` },
        { expr: gpu("gpu_dram_active_ratio"), legend: `${GPU} memory bandwidth` },
      ],
      max: 1,
    },
    {
      kind: "timeseries",
      title: "Power and limit",
      description: "Draw beside the limit in force.",
      unit: "watt",
      queries: [
        { expr: gpu("gpu_power_draw_watts"), legend: GPU },
        { expr: gpu("gpu_power_enforced_limit_watts"), legend: `${GPU} limit`, dashed: true },
      ],
    },
    {
      kind: "timeseries",
      title: "Mean power by energy counter",
      description: "Growth of the energy counter per second: what the sampled draw misses between two scrapes.",
      unit: "watt",
      queries: [{ expr: rate(gpu("gpu_energy_joules_total")), legend: GPU }],
    },
    {
      kind: "timeseries",
      title: "Clocks",
      description: "Current frequencies of multiprocessors and memory.",
      unit: "hertz",
      queries: [{ expr: gpu("gpu_clock_hertz", 'clock=~"sm|memory"'), legend: `${GPU} {{clock}}` }],
    },
    {
      kind: "statetimeline",
      title: "What holds the clocks down",
      description: "The most serious reason that the driver gives; n/a where it gives none of them.",
      unit: "none",
      queries: [{ expr: worstReason, legend: GPU }],
      words: REASON_WORDS,
    },
    {
      kind: "timeseries",
      title: "Time held down, share",
      description:
        "Share of time in which each reason held the clocks down, by the driver's own counters; a reason that never did is left out.",
      unit: "percentunit",
      queries: [
        {
          expr: `${rate(gpu("gpu_clock_event_seconds_total"))} and ${gpu("gpu_clock_event_seconds_total")} > 0`,
          legend: `${GPU} {{reason}}`,
        },
      ],
      max: 1,
    },
    {
      kind: "timeseries",
      title: "Temperatures",
      description: "Core and, where there is a sensor, memory.",
      unit: "celsius",
      queries: [
        { expr: gpu("gpu_temperature_celsius"), legend: GPU },
        { expr: gpu("gpu_memory_temperature_celsius"), legend: `${GPU} memory` },
      ],
    },
    {
      kind: "timeseries",
      title: "Fans",
      description: "Intended speed as a share of the maximum.",
      unit: "percentunit",
      queries: [{ expr: gpu("gpu_fan_speed_ratio"), legend: `${GPU} fan {{fan}}` }],
    },
    {
      kind: "timeseries",
      title: "PCIe",
      description: "Bytes per second over the bus; high while a model is loaded or partly on the CPU.",
      unit: "Bps",
      queries: [
        { expr: rate(gpu("gpu_pcie_receive_bytes_total")), legend: `${GPU} receive` },
        { expr: rate(gpu("gpu_pcie_transmit_bytes_total")), legend: `${GPU} transmit` },
      ],
    },
    {
      kind: "timeseries",
      title: "NVLink",
      description: "Payload per second over all links.",
      unit: "Bps",
      queries: [
        { expr: rate(gpu("gpu_nvlink_receive_bytes_total")), legend: `${GPU} receive` },
        { expr: rate(gpu("gpu_nvlink_transmit_bytes_total")), legend: `${GPU} transmit` },
      ],
    },
    {
      kind: "timeseries",
      title: "PCIe link",
      description: "Lanes in use beside the most that GPU and slot can do.",
      unit: "none",
      queries: [
        { expr: gpu("gpu_pcie_link_width"), legend: `${GPU} lanes` },
        { expr: gpu("gpu_pcie_link_width_max"), legend: `${GPU} most`, dashed: true },
      ],
    },
    {
      kind: "timeseries",
      title: "ECC errors",
      description: "New errors; n/a without ECC.",
      unit: "none",
      queries: [{ expr: steps(gpu("gpu_ecc_errors_total", 'counter="volatile"')), legend: `${GPU} {{type}}` }],
    },
    {
      kind: "timeseries",
      title: "XID by code",
      description: "New XID events of each GPU, and by code those that came.",
      unit: "none",
      queries: [
        { expr: `sum by (${BY_GPU}) (${steps(gpu("gpu_xid_errors_total"))})`, legend: `${GPU} all` },
        { expr: `${steps(gpu("gpu_xid_errors_total"))} > 0`, legend: `${GPU} XID {{xid}}` },
      ],
      noValue: "no XID data",
    },
    {
      kind: "table",
      title: "Memory repair",
      description:
        "What waits for a reset or could not be mended: rows of the memory, pages of older boards; n/a where the board has no such thing.",
      unit: "none",
      queries: [
        { expr: `sum by (${BY_GPU}) (${board("gpu_up")})`, legend: "" },
        { expr: `sum by (${BY_GPU}) (${board("gpu_row_remap_pending")})`, legend: "" },
        { expr: `sum by (${BY_GPU}) (${board("gpu_row_remap_failure")})`, legend: "" },
        { expr: `sum by (${BY_GPU}) (${board("gpu_retired_pages_pending")})`, legend: "" },
      ],
      columns: [
        { field: "instance", name: "Host" },
        { field: "gpu", name: "GPU" },
        { field: "Value #B", name: "Remap pending", words: { 0: "no", 1: { text: "yes", color: "orange" } } },
        { field: "Value #C", name: "Remap failed", words: { 0: "no", 1: { text: "yes", color: "red" } } },
        { field: "Value #D", name: "Pages pending", words: { 0: "no", 1: { text: "yes", color: "orange" } } },
      ],
    },
  ],
};
