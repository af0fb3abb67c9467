/** From readings to every output, as the exporter does it: what was decoded must come out well-formed. */
import { attribute } from "../src/attribution.ts";
import { buildFamilies } from "../src/families/build.ts";
import { renderFamilies } from "../src/outputs/prometheus/render.ts";
import { snapshotJson, toStatusDict } from "../src/outputs/status/json.ts";
import { formatStatusText } from "../src/outputs/status/text.ts";
import type { NvmlReading, OllamaReading, ProcessesReading, Snapshot } from "../src/snapshot.ts";
import { readExposition, type ReadSample } from "./exposition.ts";
import { must } from "./target.ts";

export interface Readings {
  readonly nvml?: NvmlReading;
  readonly ollama?: OllamaReading;
  readonly processes?: ProcessesReading;
}

const NOW_MS = Date.UTC(2026, 10, 23, 19);
const SERVER = { server: "s", host: "127.0.0.1", port: 11434, local: true };
const STATE = { version: "0", revision: "", nodeVersion: "v24", httpRequests: [] };

/** A snapshot of these alone. */
export function snapshotOf({ nvml, ollama, processes }: Readings): Snapshot {
  const {
    servers,
    models,
    owners,
    processes: entries,
  } = attribute({
    ...(nvml && { nvml }),
    ...(processes && { processes }),
    servers: [{ identity: SERVER, ...(ollama && { reading: ollama }) }],
    details: new Map(),
    show: "all",
  });
  return {
    ...{ startedAtMs: 0, takenAtMs: NOW_MS, gpus: nvml?.gpus ?? [], energy: [], transitions: [], collectors: [] },
    ...{ owners, processes: entries, servers, models, nvmlRestarts: 0, nvmlCallErrors: nvml?.callErrors ?? [] },
    dropped: { models: 0, processes: 0 },
  };
}

/** Everything that is said of it, read back: the samples of the text format. Throws when something is not well-formed. */
export async function mustComeOut(snapshot: Snapshot): Promise<readonly ReadSample[]> {
  const families = buildFamilies(snapshot, STATE);
  const samples = readExposition(await renderFamilies(families, "text"));
  const open = await renderFamilies(families, "openmetrics");
  must(open.endsWith("# EOF\n"), "no end mark");
  must(readExposition(open).length === samples.length, "the two formats have other samples");
  const lines = formatStatusText(snapshot, { unit: "MB", includeGpu: true, includeTimestamp: true, nowMs: NOW_MS });
  must(!/[\p{Cc}\p{Cf}\u2028\u2029]/u.test(lines.replaceAll("\n", "")), "a control character for the terminal");
  const json = JSON.stringify([toStatusDict(snapshot, { unit: "MB", nowMs: NOW_MS }), snapshotJson(snapshot)]);
  must(JSON.parse(json) !== undefined, "no JSON");
  return samples;
}
