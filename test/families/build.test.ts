import { describe, expect, it } from "@jest/globals";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { otelName, UNITS } from "../../src/catalog/spec.ts";
import { Collector } from "../../src/collect/collector.ts";
import { buildFamilies } from "../../src/families/build.ts";
import { silentLogger } from "../../src/logger.ts";
import { renderFamilies } from "../../src/outputs/prometheus/render.ts";
import type { Snapshot } from "../../src/snapshot.ts";
import { createDemoSources } from "../../src/sources/demo.ts";
import { FakeClock } from "../support/fake-clock.ts";

const STATE = {
  version: "0.1.0",
  revision: "",
  nodeVersion: "v24.0.0",
  httpRequests: [{ handler: "metrics", code: "200", count: 3 }],
  otlp: { ok: 2, failed: 1, lastSuccessTimestampSeconds: 1_700_000_000 },
};

async function demoSnapshot(): Promise<Snapshot> {
  const clock = new FakeClock();
  const collector = new Collector({
    sources: createDemoSources({ clock }),
    showProcesses: "all",
    clock,
    logger: silentLogger,
  });
  await collector.start(new AbortController().signal).done;
  await clock.advance(15_000); // a second reading, for what is between two
  return collector.start(new AbortController().signal).done;
}

/** Every family of the contract that has no unusual hardware behind it in the demo. */
const CONTRACT =
  `gpu_up gpu_info gpu_memory_total_bytes gpu_memory_used_bytes gpu_memory_free_bytes gpu_memory_reserved_bytes
gpu_memory_owner_bytes gpu_bar1_memory_total_bytes gpu_bar1_memory_used_bytes gpu_utilization_ratio gpu_memory_utilization_ratio
gpu_encoder_utilization_ratio gpu_decoder_utilization_ratio gpu_jpeg_utilization_ratio gpu_ofa_utilization_ratio gpu_temperature_celsius
gpu_sm_active_ratio gpu_sm_occupancy_ratio gpu_tensor_active_ratio gpu_dram_active_ratio
gpu_memory_temperature_celsius gpu_temperature_threshold_celsius gpu_temperature_margin_celsius gpu_power_draw_watts gpu_power_instant_watts
gpu_power_limit_watts gpu_power_enforced_limit_watts gpu_power_default_limit_watts gpu_power_min_limit_watts gpu_power_max_limit_watts
gpu_energy_joules_total gpu_clock_hertz gpu_clock_max_hertz gpu_clock_event_reason_active gpu_clock_event_seconds_total
gpu_performance_state gpu_fan_speed_ratio gpu_pcie_link_generation gpu_pcie_link_generation_max gpu_pcie_link_width gpu_pcie_link_width_max
gpu_pcie_replays_total gpu_pcie_receive_bytes_total gpu_pcie_transmit_bytes_total gpu_nvlink_receive_bytes_total gpu_nvlink_transmit_bytes_total
gpu_ecc_mode_enabled gpu_ecc_errors_total gpu_remapped_rows_total gpu_row_remap_pending gpu_row_remap_failure gpu_retired_pages_pending
gpu_xid_errors_total gpu_xid_last_timestamp_seconds gpu_recovery_action gpu_mig_mode_enabled gpu_persistence_mode_enabled gpu_processes
gpu_process_memory_bytes gpu_process_sm_utilization_ratio gpu_process_info ollama_up ollama_build_info ollama_models_installed
ollama_models_loaded ollama_models_loading ollama_model_info ollama_model_file_bytes ollama_model_modified_timestamp_seconds
ollama_model_loaded ollama_model_size_bytes ollama_model_reported_vram_bytes ollama_model_gpu_ratio ollama_model_vram_bytes
ollama_model_attribution_info ollama_model_gpu_utilization_ratio ollama_model_context_tokens ollama_model_expires_timestamp_seconds
ollama_model_loads_total ollama_model_unloads_total ollama_model_runner_up ollama_model_runner_start_time_seconds
ollama_model_runner_resident_memory_bytes ollama_model_runner_cpu_seconds_total ollama_orphaned_runners ollama_orphaned_vram_bytes
ollama_model_slots ollama_model_slots_busy ollama_model_active_tokens ollama_model_generated_tokens_total
ollama_model_prompt_tokens_total ollama_model_prompt_seconds_total ollama_model_generation_seconds_total
ollama_model_requests_processing ollama_model_requests_deferred ollama_model_request_metrics
gpu_attributed_energy_joules_total ollama_model_power_watts ollama_model_energy_joules_total
ollama_gpu_exporter_build_info ollama_gpu_exporter_collector_success ollama_gpu_exporter_collector_duration_seconds
ollama_gpu_exporter_collector_last_success_timestamp_seconds ollama_gpu_exporter_collections_total ollama_gpu_exporter_snapshot_timestamp_seconds
ollama_gpu_exporter_nvml_restarts_total ollama_gpu_exporter_nvml_call_errors_total ollama_gpu_exporter_dropped_total
ollama_gpu_exporter_http_requests_total ollama_gpu_exporter_otlp_exports_total ollama_gpu_exporter_otlp_last_success_timestamp_seconds`.split(
    /\s+/,
  );

/** Prometheus' standard translation of an OTLP name. */
function translated(name: string, ucum: string, type: string): string {
  const unit = { By: "bytes", s: "seconds", J: "joules", W: "watts", Hz: "hertz", Cel: "celsius", "1": "ratio" }[ucum];
  const parts = [name.replaceAll(".", "_"), ...(unit !== undefined && !name.endsWith(`.${unit}`) ? [unit] : [])];
  return [...parts, ...(type === "counter" ? ["total"] : [])].join("_");
}

describe("the families of a snapshot", () => {
  it("are the same bytes for the same snapshot, in both formats", async () => {
    const families = buildFamilies(await demoSnapshot(), STATE);
    for (const format of ["text", "openmetrics"] as const) {
      const golden = join(import.meta.dirname, `../goldens/demo.${format}.prom`);
      const body = await renderFamilies(families, format);
      if (process.env.UPDATE_GOLDENS !== undefined) {
        mkdirSync(dirname(golden), { recursive: true });
        writeFileSync(golden, body);
      }
      expect(body).toBe(readFileSync(golden, "utf8"));
    }
  });

  it("are those of the contract", async () => {
    const snapshot = await demoSnapshot();
    const [first, ...others] = snapshot.gpus;
    const eventful: Snapshot = {
      ...snapshot,
      gpus: first ? [{ ...first, xidLastTimestampSeconds: { "79": 1 } }, ...others] : [],
      nvmlCallErrors: [{ function: "nvmlDeviceGetName", code: "NVML_ERROR_UNKNOWN", count: 1 }],
    };
    expect(new Set(buildFamilies(eventful, STATE).map(({ name }) => name))).toEqual(new Set(CONTRACT));
  });

  it("have an OpenTelemetry name that Prometheus translates back", async () => {
    for (const family of buildFamilies(await demoSnapshot(), STATE)) {
      expect(translated(otelName(family), UNITS[family.unit].ucum, family.type)).toBe(family.name);
      expect(family.type === "counter").toBe(family.name.endsWith("_total"));
    }
  });

  it("show only gpu_up and gpu_info of a lost GPU", async () => {
    const snapshot = await demoSnapshot();
    const lost: Snapshot = {
      ...snapshot,
      owners: [],
      energy: [],
      processes: [],
      gpus: [{ gpu: "0", index: 0, uuid: "GPU-0", up: false, vendor: "nvidia" }],
    };
    const names = buildFamilies(lost, STATE).filter(({ name }) => name.startsWith("gpu_"));
    expect(names.map(({ name, samples }) => [name, samples.map(({ value }) => value)])).toEqual([
      ["gpu_up", [0]],
      ["gpu_info", [1]],
    ]);
  });

  it("drop what would break a scrape: the second of two equal series, NaN, lone surrogates", async () => {
    const snapshot = await demoSnapshot();
    const hostile: Snapshot = {
      ...snapshot,
      models: ["a\ud800", "a\udfff"].map((name) => ({ server: "s", name, loaded: { name, sizeBytes: NaN } })),
    };
    const families = buildFamilies(hostile, STATE);
    expect(families.find(({ name }) => name === "ollama_model_loaded")?.samples).toEqual([
      { labels: { server: "s", model: "a\ufffd" }, value: 1 },
    ]);
    expect(families.find(({ name }) => name === "ollama_model_size_bytes")).toBeUndefined();
  });
});
