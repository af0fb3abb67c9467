import type { AlertGroup, AlertRow, Series, Values } from "./rule.ts";
import { hardwareAlerts } from "./gpu-hardware.ts";

const GPU = { gpu: "0", uuid: "GPU-0" };
/** A series of GPU 0. */
const at = (family: string, values: string, more = ""): Series => ({
  [`${family}{gpu="0",uuid="GPU-0"${more === "" ? "" : `,${more}`}}`]: values,
});
const ON_GPU = "on (job, instance, gpu)";
const SMI = "nvidia-smi";

/** Memory, heat and power. */
const loadAlerts = (values: Values): readonly AlertRow[] => [
  {
    name: "GpuMemoryNearlyFull",
    expr: `gpu_memory_used_bytes / gpu_memory_total_bytes > ${values.memoryUsedRatio}`,
    for: "15m",
    severity: "warning",
    summary: "GPU {{ $labels.gpu }} on {{ $labels.instance }} is {{ $value | humanizePercentage }} full.",
    description:
      "The next model spills to the CPU or pushes another out. See who holds the memory on the board GPU detail.",
    runbook: {
      meaning: "Nearly all memory of a GPU has been in use for a quarter of an hour.",
      impact: "Models are split, spilled or unloaded; a longer context can end in an out-of-memory error.",
      diagnosis: ["ollama ps", SMI, "ollama-gpu-exporter status"],
      fix: "Shorter OLLAMA_KEEP_ALIVE, fewer OLLAMA_MAX_LOADED_MODELS, a smaller context or quantization, or end the other processes.",
    },
    labels: GPU,
    fires: {
      series: { ...at("gpu_memory_used_bytes", "96x30"), ...at("gpu_memory_total_bytes", "100x30") },
      atMinute: 15,
    },
    quiet: {
      series: { ...at("gpu_memory_used_bytes", "95x30"), ...at("gpu_memory_total_bytes", "100x30") },
      atMinute: 20,
    },
  },
  {
    name: "GpuMemoryForeign",
    expr: `gpu_memory_owner_bytes{owner="other"} / ${ON_GPU} gpu_memory_total_bytes > ${values.foreignMemoryRatio}`,
    for: "15m",
    severity: "info",
    summary:
      "Processes that are not Ollama's hold {{ $value | humanizePercentage }} of GPU {{ $labels.gpu }} on {{ $labels.instance }}.",
    description:
      "Ollama plans with what is free when it loads a model; start the exporter with --processes=all to see who it is.",
    runbook: {
      meaning: "A good part of the memory belongs to other programs.",
      impact: "Models are spilled to the CPU although the GPU is large enough.",
      diagnosis: ["nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv"],
      fix: "Move the other program to another GPU or host, or set CUDA_VISIBLE_DEVICES for Ollama.",
    },
    labels: { gpu: "0" },
    fires: {
      series: { ...at("gpu_memory_owner_bytes", "31x30", 'owner="other"'), ...at("gpu_memory_total_bytes", "100x30") },
      atMinute: 15,
    },
    quiet: {
      series: { ...at("gpu_memory_owner_bytes", "30x30", 'owner="other"'), ...at("gpu_memory_total_bytes", "100x30") },
      atMinute: 20,
    },
    alsoQuiet: {
      series: { ...at("gpu_memory_owner_bytes", "40x30", 'owner="ollama"'), ...at("gpu_memory_total_bytes", "100x30") },
      atMinute: 20,
    },
  },
  {
    name: "GpuTemperatureNearSlowdown",
    expr: `gpu_temperature_celsius > ${ON_GPU} gpu_temperature_threshold_celsius{threshold="slowdown"} - ${values.slowdownMarginCelsius}`,
    for: "10m",
    severity: "warning",
    summary: "GPU {{ $labels.gpu }} on {{ $labels.instance }} is at {{ $value }} degrees, close to its slowdown.",
    description: "Look at fans, filters and the room; the board will lower its clocks.",
    runbook: {
      meaning: "The core has been within a few degrees of the board's slowdown temperature for ten minutes.",
      impact: "Soon fewer tokens per second.",
      diagnosis: ["nvidia-smi -q -d TEMPERATURE", SMI],
      fix: "Clean filters, check fans and airflow, lower the power limit (nvidia-smi -pl).",
    },
    labels: { gpu: "0" },
    fires: {
      series: {
        ...at("gpu_temperature_celsius", "86x30"),
        ...at("gpu_temperature_threshold_celsius", "90x30", 'threshold="slowdown"'),
      },
      atMinute: 10,
    },
    quiet: {
      series: {
        ...at("gpu_temperature_celsius", "85x30"),
        ...at("gpu_temperature_threshold_celsius", "90x30", 'threshold="slowdown"'),
      },
      atMinute: 15,
    },
  },
  {
    name: "GpuTemperatureNearShutdown",
    expr: `gpu_temperature_celsius > ${ON_GPU} gpu_temperature_threshold_celsius{threshold="shutdown"} - ${values.shutdownMarginCelsius}`,
    for: "1m",
    severity: "critical",
    summary: "GPU {{ $labels.gpu }} on {{ $labels.instance }} is at {{ $value }} degrees and about to switch off.",
    description: "Take the load off now: unload its models or stop Ollama.",
    runbook: {
      meaning: "The core is at the temperature at which the board protects itself by switching off.",
      impact: "The GPU will be lost until the host is rebooted.",
      diagnosis: ["nvidia-smi -q -d TEMPERATURE"],
      fix: "ollama stop MODEL; then find the failed fan or cooling.",
    },
    labels: { gpu: "0" },
    fires: {
      series: {
        ...at("gpu_temperature_celsius", "98x30"),
        ...at("gpu_temperature_threshold_celsius", "100x30", 'threshold="shutdown"'),
      },
      atMinute: 1,
    },
    quiet: {
      series: {
        ...at("gpu_temperature_celsius", "97x30"),
        ...at("gpu_temperature_threshold_celsius", "100x30", 'threshold="shutdown"'),
      },
      atMinute: 5,
    },
  },
  {
    name: "GpuMemoryTemperatureHigh",
    expr: `gpu_memory_temperature_celsius >= ${ON_GPU} gpu_temperature_threshold_celsius{threshold="memory_max"}`,
    for: "5m",
    severity: "warning",
    summary: "The memory of GPU {{ $labels.gpu }} on {{ $labels.instance }} is at {{ $value }} degrees, its limit.",
    description: "Token generation loads the memory most; improve the cooling or lower the power limit.",
    runbook: {
      meaning: "The memory is at the highest temperature it may have in operation.",
      impact: "The board throttles the memory; errors become likelier.",
      diagnosis: ["nvidia-smi -q -d TEMPERATURE"],
      fix: "Airflow over the back of the board, new thermal pads, a lower power limit.",
    },
    labels: { gpu: "0" },
    fires: {
      series: {
        ...at("gpu_memory_temperature_celsius", "105x30"),
        ...at("gpu_temperature_threshold_celsius", "105x30", 'threshold="memory_max"'),
      },
      atMinute: 5,
    },
    quiet: {
      series: {
        ...at("gpu_memory_temperature_celsius", "104x30"),
        ...at("gpu_temperature_threshold_celsius", "105x30", 'threshold="memory_max"'),
      },
      atMinute: 10,
    },
  },
  {
    name: "GpuThermalSlowdown",
    expr: 'gpu_clock_event_reason_active{reason="hw_thermal_slowdown"} == 1',
    for: "5m",
    severity: "warning",
    summary: "Heat halves the clocks of GPU {{ $labels.gpu }} on {{ $labels.instance }}.",
    description: "The hardware protects itself: check the cooling now.",
    runbook: {
      meaning: "The hardware thermal slowdown has been active for five minutes.",
      impact: "Half the speed or less.",
      diagnosis: ["nvidia-smi -q -d PERFORMANCE,TEMPERATURE"],
      fix: "As for GpuTemperatureNearSlowdown.",
    },
    labels: { ...GPU, reason: "hw_thermal_slowdown" },
    fires: { series: at("gpu_clock_event_reason_active", "1x30", 'reason="hw_thermal_slowdown"'), atMinute: 5 },
    quiet: {
      series: at("gpu_clock_event_reason_active", "1 0 1 0 1 0 1 0 1 0 1 0", 'reason="hw_thermal_slowdown"'),
      atMinute: 10,
    },
  },
  {
    name: "GpuSoftwareThermalSlowdown",
    expr: `avg_over_time(gpu_clock_event_reason_active{reason="sw_thermal_slowdown"}[30m]) > ${values.softwareThermalRatio}`,
    for: "5m",
    severity: "info",
    summary:
      "The driver lowers the clocks of GPU {{ $labels.gpu }} on {{ $labels.instance }} for heat half of the time.",
    description: "Better cooling would give more speed.",
    runbook: {
      meaning: "In the last half hour the driver held the clocks down for temperature more than half of the time.",
      impact: "Fewer tokens per second than the board can do.",
      diagnosis: ["nvidia-smi -q -d PERFORMANCE"],
      fix: "Airflow, fan curve, or a lower power limit that keeps the clocks steady.",
    },
    labels: { ...GPU, reason: "sw_thermal_slowdown" },
    fires: { series: at("gpu_clock_event_reason_active", "0x40 1x60", 'reason="sw_thermal_slowdown"'), atMinute: 61 },
    quiet: {
      series: at("gpu_clock_event_reason_active", "0x40 1x14 0x20", 'reason="sw_thermal_slowdown"'),
      atMinute: 62,
    },
  },
  {
    name: "GpuPowerBrake",
    expr: 'gpu_clock_event_reason_active{reason="hw_power_brake_slowdown"} == 1',
    for: "5m",
    severity: "warning",
    summary: "The power supply brakes GPU {{ $labels.gpu }} on {{ $labels.instance }}.",
    description: "Check power supplies, cables and the chassis' power budget.",
    runbook: {
      meaning: "A signal of the chassis or of the power supply holds the clocks down.",
      impact: "A fraction of the speed, on all boards of the chassis.",
      diagnosis: ["nvidia-smi -q -d PERFORMANCE", "ipmitool sel list"],
      fix: "Replace or connect the supply; spread the load.",
    },
    labels: { ...GPU, reason: "hw_power_brake_slowdown" },
    fires: { series: at("gpu_clock_event_reason_active", "1x30", 'reason="hw_power_brake_slowdown"'), atMinute: 5 },
    quiet: { series: at("gpu_clock_event_reason_active", "0x30", 'reason="hw_power_brake_slowdown"'), atMinute: 10 },
  },
  {
    name: "GpuPowerCapped",
    expr: `avg_over_time(gpu_clock_event_reason_active{reason="sw_power_cap"}[30m]) > ${values.powerCappedRatio} and ${ON_GPU} gpu_power_limit_watts < ${ON_GPU} gpu_power_default_limit_watts`,
    for: "15m",
    severity: "info",
    summary: "GPU {{ $labels.gpu }} on {{ $labels.instance }} is held back by a power limit below its default.",
    description: "Fine if you wanted it; otherwise reset it with nvidia-smi -pl.",
    runbook: {
      meaning: "Somebody lowered the power limit, and the board has been running into it for half an hour.",
      impact: "Somewhat fewer tokens per second, usually for much less energy.",
      diagnosis: ["nvidia-smi -q -d POWER"],
      fix: "nvidia-smi -i GPU -pl DEFAULT, or silence this alert.",
    },
    labels: { ...GPU, reason: "sw_power_cap" },
    fires: {
      series: {
        ...at("gpu_clock_event_reason_active", "0x40 1x80", 'reason="sw_power_cap"'),
        ...at("gpu_power_limit_watts", "299x120"),
        ...at("gpu_power_default_limit_watts", "300x120"),
      },
      atMinute: 83,
    },
    quiet: {
      series: {
        ...at("gpu_clock_event_reason_active", "1x80", 'reason="sw_power_cap"'),
        ...at("gpu_power_limit_watts", "300x80"),
        ...at("gpu_power_default_limit_watts", "300x80"),
      },
      atMinute: 60,
    },
  },
];

export const gpuAlerts = (values: Values): AlertGroup => ({
  name: "gpu",
  alerts: [...loadAlerts(values), ...hardwareAlerts(values)],
});
