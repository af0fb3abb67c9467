import type { BoardSpec } from "../panel.ts";
import { board, gpu, increase, model, modelGpu, placeable } from "../selectors.ts";

const KEY = "job, instance, server, model";
const GPU = "{{instance}} GPU {{gpu}}";
const MODEL = "{{model}} on {{instance}}";
const BY_MODEL = "job, instance, model";
const JOULES_PER_WH = 3600;
const JOULES_PER_KWH = 3_600_000;

const free = placeable("gpu_memory_free_bytes");
/** Files of models that are installed only. */
const notLoaded = `sum by (${KEY}) (${model("ollama_model_file_bytes")} and on (${KEY}) ${model("ollama_model_loaded")} == 0)`;
/** VRAM of models that did nothing for half an hour; 0 for those that worked, absent where the driver cannot say. */
const idle = `${modelGpu("ollama_model_vram_bytes")} * on (${KEY}, gpu) (max_over_time(${modelGpu("ollama_model_gpu_utilization_ratio")}[30m]) < bool 0.01)`;
const joules = `sum(${increase(board("gpu_energy_joules_total"))})`;

export const capacity: BoardSpec = {
  uid: "ollama-gpu-capacity",
  title: "Ollama GPU / Capacity and cost",
  description: "What would still fit, what is loaded for nothing, what the energy costs.",
  variables: ["gpu", "server", "model", "price"],
  panels: [
    {
      kind: "stat",
      title: "Free VRAM",
      description: "Memory that can still be allocated; of a board in MIG mode, that of its instances.",
      unit: "bytes",
      queries: [{ expr: `sum${free}`, legend: "free" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Largest free block",
      description: "The most that is free on one GPU or MIG instance: a model larger than this is split or spilled.",
      unit: "bytes",
      queries: [{ expr: `max${free}`, legend: "largest" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Held by idle models",
      description: "VRAM of models whose runners did nothing for half an hour; n/a where the driver cannot say.",
      unit: "bytes",
      queries: [{ expr: `sum(${idle})`, legend: "idle" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Held by others",
      description: "VRAM of processes that are not Ollama's.",
      unit: "bytes",
      queries: [{ expr: `sum(${gpu("gpu_memory_owner_bytes", 'owner="other"')})`, legend: "others" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Energy in the shown time",
      description: "Growth of the boards' energy counters; boards without one are not in it.",
      unit: "watth",
      queries: [{ expr: `${joules} / ${JOULES_PER_WH}`, legend: "energy" }],
      width: 4,
    },
    {
      kind: "stat",
      title: "Cost in the shown time",
      description: "That energy at the price of a kWh set above.",
      unit: "none",
      queries: [{ expr: `${joules} / ${JOULES_PER_KWH} * $price`, legend: "cost" }],
      width: 4,
    },
    {
      kind: "bargauge",
      title: "Free VRAM per GPU",
      description: "Memory that can still be allocated; the 20 GPUs and MIG instances with most.",
      unit: "bytes",
      queries: [{ expr: `topk(20, ${free})`, legend: GPU }],
    },
    {
      kind: "table",
      title: "Would it fit?",
      description:
        "Installed models that are not loaded, with their file size: whether the largest free block of their host would hold it, and whether all of its free blocks would. The context needs more; take it as the least.",
      unit: "none",
      queries: [
        { expr: notLoaded, legend: "" },
        {
          expr: `${notLoaded} <= bool on (job, instance) group_left () max by (job, instance) ${free}`,
          legend: "",
        },
        {
          expr: `${notLoaded} <= bool on (job, instance) group_left () sum by (job, instance) ${free}`,
          legend: "",
        },
      ],
      columns: [
        { field: "instance", name: "Host" },
        { field: "model", name: "Model" },
        { field: "Value #A", name: "File", unit: "bytes" },
        { field: "Value #B", name: "On one GPU", unit: "bool_yes_no" },
        { field: "Value #C", name: "Split over GPUs", unit: "bool_yes_no" },
      ],
    },
    {
      kind: "timeseries",
      title: "Memory used, share",
      description: "How full each GPU is; the 20 fullest.",
      unit: "percentunit",
      queries: [{ expr: `topk(20, ${gpu("gpu_memory_used_bytes")} / ${gpu("gpu_memory_total_bytes")})`, legend: GPU }],
      thresholds: [{ value: 0.95, color: "orange" }],
      max: 1,
    },
    {
      kind: "timeseries",
      title: "Loaded but idle",
      description: "VRAM of models whose runners did nothing for half an hour, 0 of those that worked; the 20 largest.",
      unit: "bytes",
      queries: [{ expr: `topk(20, ${idle})`, legend: "{{model}} on {{instance}} GPU {{gpu}}" }],
      stacked: true,
    },
    {
      kind: "timeseries",
      title: "VRAM of others",
      description: "Memory of processes that are not Ollama's; the 20 hosts with most.",
      unit: "bytes",
      queries: [
        {
          expr: `topk(20, sum by (job, instance) (${gpu("gpu_memory_owner_bytes", 'owner="other"')}))`,
          legend: "{{instance}}",
        },
      ],
      stacked: true,
    },
    {
      kind: "timeseries",
      title: "Orphaned VRAM",
      description: "Memory that runners hold whose server is gone: end them. The 20 hosts with most.",
      unit: "bytes",
      queries: [
        {
          expr: `topk(20, sum by (job, instance) (${gpu("ollama_orphaned_vram_bytes")}))`,
          legend: "{{instance}}",
        },
      ],
    },
    {
      kind: "timeseries",
      title: "Power by owner",
      description: "Power of Ollama's work, of other work, and of idling, by the boards' energy counters.",
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
      kind: "timeseries",
      title: "Cost per hour",
      description: "Draw of the boards of a host at the price of a kWh set above; the 20 dearest hosts.",
      unit: "none",
      queries: [
        {
          expr: `topk(20, sum by (job, instance) (${board("gpu_power_draw_watts")})) / 1000 * $price`,
          legend: "{{instance}}",
        },
      ],
    },
    {
      kind: "bargauge",
      title: "Energy per model and day",
      description: "Active energy of each model's work in the last 24 hours, whatever time is shown.",
      unit: "watth",
      queries: [
        {
          expr: `topk(20, sum by (${BY_MODEL}) (increase(${model("ollama_model_energy_joules_total")}[1d])) / ${JOULES_PER_WH})`,
          legend: MODEL,
        },
      ],
    },
    {
      kind: "bargauge",
      title: "Cost per model in the shown time",
      description: "Active energy of each model's work at the price of a kWh set above.",
      unit: "none",
      queries: [
        {
          expr: `topk(20, sum by (${BY_MODEL}) (${increase(model("ollama_model_energy_joules_total"))}) / ${JOULES_PER_KWH} * $price)`,
          legend: MODEL,
        },
      ],
    },
    {
      kind: "bargauge",
      title: "Cold share of each model",
      description:
        "Share of the shown time in which an installed model was not in memory of any server of its host: whoever asked it then waited for a load.",
      unit: "percentunit",
      queries: [
        {
          expr: `topk(20, min by (${BY_MODEL}) (1 - avg_over_time(${model("ollama_model_loaded")}[$__range])))`,
          legend: MODEL,
        },
      ],
      max: 1,
    },
    {
      kind: "bargauge",
      title: "Largest installed models",
      description: "Files on the servers' disks.",
      unit: "bytes",
      queries: [{ expr: `topk(10, max by (${BY_MODEL}) (${model("ollama_model_file_bytes")}))`, legend: MODEL }],
    },
  ],
};
