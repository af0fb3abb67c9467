import type { BoardSpec } from "../panel.ts";
import { board, gpu, model, modelGpu } from "../selectors.ts";

const KEY = "job, instance, server, model";
const JOULES_PER_KWH = 3_600_000;

export const capacity: BoardSpec = {
  uid: "ollama-gpu-capacity",
  title: "Ollama GPU / Capacity and cost",
  description: "What would still fit, what is loaded for nothing, what the energy costs.",
  variables: ["gpu", "server", "model", "price"],
  panels: [
    {
      kind: "stat",
      title: "Free VRAM",
      description: "Memory that can still be allocated on all chosen boards together.",
      unit: "bytes",
      queries: [{ expr: `sum(${board("gpu_memory_free_bytes")})`, legend: "free" }],
      width: 6,
    },
    {
      kind: "stat",
      title: "Largest free block on one GPU",
      description: "A model larger than this is split or spilled.",
      unit: "bytes",
      queries: [{ expr: `max(${gpu("gpu_memory_free_bytes")})`, legend: "largest" }],
      width: 6,
    },
    {
      kind: "stat",
      title: "Energy in the shown time",
      description: "Growth of the boards' energy counters; boards without one are not in it.",
      unit: "joule",
      queries: [{ expr: `sum(increase(${board("gpu_energy_joules_total")}[$__range]))`, legend: "energy" }],
      width: 6,
    },
    {
      kind: "stat",
      title: "Cost in the shown time",
      description: "That energy at the price of a kWh set above.",
      unit: "none",
      queries: [
        {
          expr: `sum(increase(${board("gpu_energy_joules_total")}[$__range])) / ${JOULES_PER_KWH} * $price`,
          legend: "cost",
        },
      ],
      width: 6,
    },
    {
      kind: "bargauge",
      title: "Free VRAM per GPU",
      description: "Memory that can still be allocated.",
      unit: "bytes",
      queries: [{ expr: gpu("gpu_memory_free_bytes"), legend: "{{instance}} GPU {{gpu}}" }],
    },
    {
      kind: "table",
      title: "Would it fit?",
      description:
        "Installed models that are not loaded, with their file size, and whether the largest free block of their host would hold it. The context needs more; take it as the least.",
      unit: "none",
      queries: [
        {
          expr: `sum by (${KEY}) (${model("ollama_model_file_bytes")} and on (${KEY}) ${model("ollama_model_loaded")} == 0)`,
          legend: "",
        },
        {
          expr: `sum by (${KEY}) (${model("ollama_model_file_bytes")} and on (${KEY}) ${model("ollama_model_loaded")} == 0) <= bool on (job, instance) group_left () max by (job, instance) (${gpu("gpu_memory_free_bytes")})`,
          legend: "",
        },
      ],
      columns: [
        { field: "instance", name: "Host" },
        { field: "model", name: "Model" },
        { field: "Value #A", name: "File", unit: "bytes" },
        { field: "Value #B", name: "Fits on one GPU", unit: "bool_yes_no" },
      ],
    },
    {
      kind: "timeseries",
      title: "Loaded but idle",
      description: "VRAM of models whose runners did nothing for half an hour.",
      unit: "bytes",
      queries: [
        {
          expr: `${modelGpu("ollama_model_vram_bytes")} and on (${KEY}, gpu) max_over_time(${modelGpu("ollama_model_gpu_utilization_ratio")}[30m]) < 0.01`,
          legend: "{{model}} on {{instance}} GPU {{gpu}}",
        },
      ],
      stacked: true,
      noValue: "none idle",
    },
    {
      kind: "timeseries",
      title: "VRAM of others",
      description: "Memory of processes that are not Ollama's.",
      unit: "bytes",
      queries: [{ expr: gpu("gpu_memory_owner_bytes", 'owner="other"'), legend: "{{instance}} GPU {{gpu}}" }],
      stacked: true,
    },
    {
      kind: "timeseries",
      title: "Orphaned VRAM",
      description: "Memory that runners hold whose server is gone: end them.",
      unit: "bytes",
      queries: [{ expr: gpu("ollama_orphaned_vram_bytes"), legend: "{{instance}} GPU {{gpu}}" }],
    },
    {
      kind: "timeseries",
      title: "Cost per hour",
      description: "Draw of the boards of a host at the price of a kWh set above.",
      unit: "none",
      queries: [
        {
          expr: `sum by (job, instance) (${board("gpu_power_draw_watts")}) / 1000 * $price`,
          legend: "{{instance}}",
        },
      ],
    },
    {
      kind: "timeseries",
      title: "Energy by owner",
      description: "Power of Ollama's work, of other work, and of idling, by the boards' energy.",
      unit: "watt",
      queries: [
        {
          expr: `sum by (owner) (rate(${gpu("gpu_attributed_energy_joules_total")}[$__rate_interval]))`,
          legend: "{{owner}}",
        },
      ],
      stacked: true,
    },
    {
      kind: "bargauge",
      title: "Energy per model in the shown time",
      description: "Active energy of each model's work.",
      unit: "joule",
      queries: [
        {
          expr: `sum by (${KEY}) (increase(${model("ollama_model_energy_joules_total")}[$__range]))`,
          legend: "{{model}} on {{server}}",
        },
      ],
    },
    {
      kind: "bargauge",
      title: "Cost per model in the shown time",
      description: "That energy at the price of a kWh set above.",
      unit: "none",
      queries: [
        {
          expr: `sum by (${KEY}) (increase(${model("ollama_model_energy_joules_total")}[$__range])) / ${JOULES_PER_KWH} * $price`,
          legend: "{{model}} on {{server}}",
        },
      ],
    },
    {
      kind: "timeseries",
      title: "Memory used, share",
      description: "How full each GPU is.",
      unit: "percentunit",
      queries: [
        {
          expr: `${gpu("gpu_memory_used_bytes")} / ${gpu("gpu_memory_total_bytes")}`,
          legend: "{{instance}} GPU {{gpu}}",
        },
      ],
      thresholds: [{ value: 0.95, color: "orange" }],
      max: 1,
    },
    {
      kind: "bargauge",
      title: "Largest installed models",
      description: "Files on the servers' disks.",
      unit: "bytes",
      queries: [{ expr: `topk(10, ${model("ollama_model_file_bytes")})`, legend: "{{model}} on {{server}}" }],
    },
  ],
};
