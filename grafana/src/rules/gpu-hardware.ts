import { XIDS } from "../../../src/outputs/status/conditions.ts";
import type { AlertRow, Series, Values } from "./rule.ts";

const GPU = { gpu: "0", uuid: "GPU-0" };
/** A series of GPU 0. */
const at = (family: string, values: string, more = ""): Series => ({
  [`${family}{gpu="0",uuid="GPU-0"${more === "" ? "" : `,${more}`}}`]: values,
});
const XID_LOG = "dmesg | grep -i xid";
const SMI = "nvidia-smi";
const NVML_OK = { 'ollama_gpu_exporter_collector_success{collector="nvml",target="local"}': "1x600" };

/** Broken or failing hardware. */
export const hardwareAlerts = (values: Values): readonly AlertRow[] => [
  {
    name: "GpuLost",
    expr: "gpu_up == 0",
    for: "1m",
    severity: "critical",
    summary: "The driver has lost GPU {{ $labels.gpu }} ({{ $labels.uuid }}) on {{ $labels.instance }}.",
    description: "Drain the host, then reset the GPU or reboot; if it comes back, look into the XID log first.",
    runbook: {
      meaning: "The driver answers GPU_IS_LOST or RESET_REQUIRED for a board.",
      impact: "Models on it are gone; Ollama may fall back to the CPU.",
      diagnosis: [XID_LOG, "nvidia-smi -L"],
      fix: "nvidia-smi --gpu-reset -i GPU, else a cold reboot; a board that is lost again should be replaced.",
    },
    labels: GPU,
    fires: { series: at("gpu_up", "1 0x10"), atMinute: 2 },
    quiet: { series: at("gpu_up", "1 0 1x10"), atMinute: 5 },
  },
  {
    name: "GpuVanished",
    expr: `count by (job, instance) (gpu_info{mig_profile=""}) < max_over_time((count by (job, instance) (gpu_info{mig_profile=""}))[6h:5m]) and on (job, instance) ollama_gpu_exporter_collector_success{collector="nvml"} == 1`,
    for: "10m",
    severity: "critical",
    summary: "{{ $labels.instance }} has fewer GPUs than within the last six hours.",
    description: "A board fell off the bus, or somebody took it away on purpose.",
    runbook: {
      meaning: "The driver lists fewer boards than before, and the collector works.",
      impact: "Its models are gone; the others carry the load.",
      diagnosis: ["lspci | grep -i nvidia", XID_LOG],
      fix: "XID 79 (fallen off the bus): cold reboot, reseat the board, check power. Taken away on purpose: the alert ends after six hours.",
    },
    labels: {},
    fires: {
      series: {
        ...NVML_OK,
        'gpu_info{gpu="0",uuid="GPU-0",mig_profile=""}': "1x600",
        'gpu_info{gpu="1",uuid="GPU-1",mig_profile=""}': "1x60 _x540",
      },
      atMinute: 75,
    },
    quiet: {
      series: {
        ...NVML_OK,
        'gpu_info{gpu="0",uuid="GPU-0",mig_profile=""}': "1x600",
        'gpu_info{gpu="0:1",uuid="MIG-1",mig_profile="1g.5gb"}': "1x60 _x540",
      },
      atMinute: 100,
    },
  },
  {
    name: "GpuXidCritical",
    expr: `time() - gpu_xid_last_timestamp_seconds{xid=~"${XIDS.critical.join("|")}"} < ${values.xidWindowSeconds}`,
    for: "0s",
    severity: "critical",
    summary: "XID {{ $labels.xid }} on GPU {{ $labels.gpu }} of {{ $labels.instance }}.",
    description: "The hardware or its link failed; NVIDIA's XID table says what the code asks for.",
    runbook: {
      meaning:
        "The driver reported an error that usually needs a reset, a reboot or a new board: 48 double-bit ECC, 62 and 95 internal, 63/64 row remapping, 74 NVLink, 79 fallen off the bus, 92 many single-bit errors, 119/120 GSP.",
      impact: "Programs on the GPU are killed or hang.",
      diagnosis: [XID_LOG, "nvidia-smi -q -d ECC,ROW_REMAPPER"],
      fix: "Drain, reset or reboot; repeated codes: replace the board.",
    },
    labels: { ...GPU, xid: "79" },
    fires: { series: at("gpu_xid_last_timestamp_seconds", "_x10 60x20", 'xid="79"'), atMinute: 10 },
    quiet: { series: at("gpu_xid_last_timestamp_seconds", "60x30", 'xid="79"'), atMinute: 11 },
  },
  {
    name: "GpuXidApplication",
    expr: `time() - gpu_xid_last_timestamp_seconds{xid=~"${XIDS.application.join("|")}"} < ${values.xidWindowSeconds}`,
    for: "0s",
    severity: "warning",
    summary: "XID {{ $labels.xid }} on GPU {{ $labels.gpu }} of {{ $labels.instance }}: a program failed on it.",
    description: "Mostly a bug of the program or a contained memory error; the runner is restarted by Ollama.",
    runbook: {
      meaning: "13 and 31 are faults of a kernel, 43 and 45 a stopped program, 94 a contained memory error.",
      impact: "One model's requests failed.",
      diagnosis: [XID_LOG, "journalctl -u ollama -n 100"],
      fix: "Update Ollama and the driver. 94 again and again: treat it as failing memory.",
    },
    labels: { ...GPU, xid: "31" },
    fires: { series: at("gpu_xid_last_timestamp_seconds", "_x10 60x20", 'xid="31"'), atMinute: 10 },
    quiet: { series: at("gpu_xid_last_timestamp_seconds", "60x30", 'xid="31"'), atMinute: 11 },
  },
  {
    name: "GpuEccUncorrected",
    expr: 'gpu_ecc_errors_total{type="uncorrected",counter="volatile"} > 0',
    for: "1m",
    severity: "critical",
    summary:
      "{{ $value }} uncorrected memory errors on GPU {{ $labels.gpu }} of {{ $labels.instance }} since the driver was loaded.",
    description: "Results may be wrong; drain and reset the GPU, then watch whether it happens again.",
    runbook: {
      meaning: "Memory errors that ECC could not correct, counted since the driver was loaded.",
      impact: "Programs that touched the memory were killed; others may have read wrong data.",
      diagnosis: ["nvidia-smi -q -d ECC,ROW_REMAPPER"],
      fix: "Reset the GPU so that the row is remapped; replace the board when remapping fails.",
    },
    labels: { ...GPU, type: "uncorrected", counter: "volatile" },
    fires: { series: at("gpu_ecc_errors_total", "0 2x20", 'type="uncorrected",counter="volatile"'), atMinute: 2 },
    quiet: { series: at("gpu_ecc_errors_total", "9x20", 'type="uncorrected",counter="aggregate"'), atMinute: 5 },
  },
  {
    name: "GpuEccCorrectedRising",
    expr: `increase(gpu_ecc_errors_total{type="corrected",counter="volatile"}[1h]) > ${values.correctedEccPerHour}`,
    for: "5m",
    severity: "info",
    summary:
      "{{ $value | humanize }} corrected memory errors in an hour on GPU {{ $labels.gpu }} of {{ $labels.instance }}.",
    description: "Nothing was lost; memory that begins to fail looks like this.",
    runbook: {
      meaning: "ECC corrects more errors than usual.",
      impact: "None yet.",
      diagnosis: ["nvidia-smi -q -d ECC"],
      fix: "Plan a replacement when it goes on for days.",
    },
    labels: { ...GPU, type: "corrected", counter: "volatile" },
    fires: {
      series: at("gpu_ecc_errors_total", "0x60 0+1.7x120", 'type="corrected",counter="volatile"'),
      atMinute: 125,
    },
    quiet: {
      series: at("gpu_ecc_errors_total", "0x60 0+1.65x120", 'type="corrected",counter="volatile"'),
      atMinute: 180,
    },
    alsoQuiet: { series: at("gpu_ecc_errors_total", "5000x120", 'type="corrected",counter="volatile"'), atMinute: 90 },
  },
  {
    name: "GpuRowRemapFailure",
    expr: "gpu_row_remap_failure == 1",
    for: "1m",
    severity: "critical",
    summary: "GPU {{ $labels.gpu }} on {{ $labels.instance }} cannot repair its memory any more.",
    description: "Replace the board (RMA).",
    runbook: {
      meaning: "A row of memory could not be remapped: the spare rows are used up.",
      impact: "Uncorrected errors will come.",
      diagnosis: ["nvidia-smi -q -d ROW_REMAPPER"],
      fix: "Take it out of service; replace it.",
    },
    labels: GPU,
    fires: { series: at("gpu_row_remap_failure", "1x20"), atMinute: 1 },
    quiet: { series: at("gpu_row_remap_failure", "0x20"), atMinute: 5 },
  },
  {
    name: "GpuRowRemapPending",
    expr: "gpu_row_remap_pending == 1",
    for: "5m",
    severity: "warning",
    summary: "GPU {{ $labels.gpu }} on {{ $labels.instance }} needs a reset to repair its memory.",
    description: "Drain it and reset it at the next opportunity.",
    runbook: {
      meaning: "Rows wait to be remapped; the repair happens at a reset.",
      impact: "Errors in those rows go on until then.",
      diagnosis: ["nvidia-smi -q -d ROW_REMAPPER"],
      fix: "Stop Ollama, nvidia-smi --gpu-reset -i GPU, or reboot.",
    },
    labels: GPU,
    fires: { series: at("gpu_row_remap_pending", "1x20"), atMinute: 5 },
    quiet: { series: at("gpu_row_remap_pending", "0x20"), atMinute: 10 },
  },
  {
    name: "GpuRetiredPagesPending",
    expr: "gpu_retired_pages_pending == 1",
    for: "5m",
    severity: "warning",
    summary: "GPU {{ $labels.gpu }} on {{ $labels.instance }} needs a reboot to retire memory pages.",
    description: "Reboot at the next opportunity.",
    runbook: {
      meaning: "Pages with errors are marked but still in use (boards before Ampere).",
      impact: "Errors in those pages go on until a reboot.",
      diagnosis: ["nvidia-smi -q -d PAGE_RETIREMENT"],
      fix: "Reboot; many retired pages: replace the board.",
    },
    labels: GPU,
    fires: { series: at("gpu_retired_pages_pending", "1x20"), atMinute: 5 },
    quiet: { series: at("gpu_retired_pages_pending", "0x20"), atMinute: 10 },
  },
  {
    name: "GpuRecoveryActionNeeded",
    expr: 'gpu_recovery_action{action!~"none|unknown"} == 1',
    for: "1m",
    severity: "critical",
    summary: "The driver asks for {{ $labels.action }} on GPU {{ $labels.gpu }} of {{ $labels.instance }}.",
    description: "Do what it asks for, after draining the GPU.",
    runbook: {
      meaning: "The driver itself says which action would recover the GPU.",
      impact: "The GPU is degraded or unusable until then.",
      diagnosis: ["nvidia-smi -q | grep -i -A2 recovery", XID_LOG],
      fix: "gpu_reset: nvidia-smi --gpu-reset. node_reboot, system_reboot: reboot. drain_*: move the load first.",
    },
    labels: { ...GPU, action: "gpu_reset" },
    fires: {
      series: {
        ...at("gpu_recovery_action", "1x20", 'action="gpu_reset"'),
        ...at("gpu_recovery_action", "0x20", 'action="none"'),
      },
      atMinute: 1,
    },
    quiet: {
      series: {
        ...at("gpu_recovery_action", "0x20", 'action="gpu_reset"'),
        ...at("gpu_recovery_action", "1x20", 'action="none"'),
      },
      atMinute: 5,
    },
  },
  {
    name: "GpuPcieDegraded",
    expr: `gpu_pcie_link_width < on (job, instance, gpu) gpu_pcie_link_width_max and on (job, instance, gpu) gpu_utilization_ratio > ${values.pcieBusyRatio}`,
    for: "30m",
    severity: "info",
    summary: "GPU {{ $labels.gpu }} on {{ $labels.instance }} runs on {{ $value }} PCIe lanes, fewer than it could.",
    description: "Loading models takes longer; reseat the board or see how the slot is wired.",
    runbook: {
      meaning: "Under load the link has fewer lanes than GPU and slot can do together.",
      impact: "Models load slower; models that are split or spilled are slower too.",
      diagnosis: ["nvidia-smi -q | grep -i -A8 'link width'", "lspci -vv | grep -i lnksta"],
      fix: "Reseat the board, try another slot or riser; a slot with fewer lanes is by design: silence it.",
    },
    labels: { gpu: "0" },
    fires: {
      series: {
        ...at("gpu_pcie_link_width", "8x60"),
        ...at("gpu_pcie_link_width_max", "16x60"),
        ...at("gpu_utilization_ratio", "0.21x60"),
      },
      atMinute: 30,
    },
    quiet: {
      series: {
        ...at("gpu_pcie_link_width", "8x60"),
        ...at("gpu_pcie_link_width_max", "16x60"),
        ...at("gpu_utilization_ratio", "0.2x60"),
      },
      atMinute: 40,
    },
  },
  {
    name: "GpuPcieReplays",
    expr: `increase(gpu_pcie_replays_total[1h]) > ${values.pcieReplaysPerHour}`,
    for: "5m",
    severity: "info",
    summary:
      "{{ $value | humanize }} PCIe packets were sent again in an hour by GPU {{ $labels.gpu }} on {{ $labels.instance }}.",
    description: "A link with errors: reseat the board, check the riser.",
    runbook: {
      meaning: "The PCIe link repeats packets because of transmission errors.",
      impact: "None yet; a link that gets worse ends in XID 79.",
      diagnosis: [SMI, "dmesg | grep -i aer"],
      fix: "Reseat the board, replace the riser or cable, update the firmware.",
    },
    labels: GPU,
    fires: { series: at("gpu_pcie_replays_total", "0x60 0+0.18x120"), atMinute: 122 },
    quiet: { series: at("gpu_pcie_replays_total", "0x60 0+0.16x120"), atMinute: 180 },
    alsoQuiet: { series: at("gpu_pcie_replays_total", "500x120"), atMinute: 90 },
  },
];
