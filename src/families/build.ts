/** Catalogue x snapshot -> metric families: pure, and in the same order for the same input. */
import { COLLECTOR_METRICS, type ExporterState, SNAPSHOT_METRICS, STATE_METRICS } from "../catalog/exporter.ts";
import { ENERGY_METRICS, GPU_HEALTH_METRICS, OWNER_METRICS } from "../catalog/gpu-health.ts";
import { GPU_METRICS } from "../catalog/gpu.ts";
import {
  MODEL_METRICS,
  ORPHAN_METRICS,
  RUNNER_METRICS,
  SERVER_METRICS,
  TRANSITION_METRICS,
} from "../catalog/ollama.ts";
import { PROCESS_METRICS } from "../catalog/process.ts";
import { MODEL_ENERGY_METRICS, RUNNER_ENDPOINT_METRICS } from "../catalog/runner.ts";
import { SEMCONV_METRICS } from "../catalog/semconv.ts";
import type { MetricFamily } from "../catalog/spec.ts";
import type { Snapshot } from "../snapshot.ts";
import { familiesOf } from "./labelled.ts";

const none = () => ({});
const device = ({ gpu, uuid }: { readonly gpu: string; readonly uuid: string }) => ({ gpu, uuid });

/** Every family that the snapshot or the exporter's own state has a value for. */
export function buildFamilies(snapshot: Snapshot, state: ExporterState): readonly MetricFamily[] {
  return [...snapshotFamilies(snapshot), ...stateFamilies(state)];
}

/** The exporter's own numbers, as of now. */
export function stateFamilies(state: ExporterState): readonly MetricFamily[] {
  return familiesOf({ specs: STATE_METRICS, entities: [state], labels: none });
}

/** Families that the hardware conventions have and the catalogue has not. */
export function semconvFamilies({ gpus }: Snapshot): readonly MetricFamily[] {
  return familiesOf({ specs: SEMCONV_METRICS, entities: gpus, labels: device });
}

/** Every family of what was read. */
export function snapshotFamilies(snapshot: Snapshot): readonly MetricFamily[] {
  const { gpus, owners, energy, processes, servers, models, transitions, collectors } = snapshot;
  const model = ({ server, name }: { readonly server: string; readonly name: string }) => ({ server, model: name });
  return [
    ...familiesOf({ specs: GPU_METRICS, entities: gpus, labels: device }),
    ...familiesOf({ specs: OWNER_METRICS, entities: owners, labels: device }),
    ...familiesOf({ specs: GPU_HEALTH_METRICS, entities: gpus, labels: device }),
    ...familiesOf({ specs: ENERGY_METRICS, entities: energy, labels: device }),
    ...familiesOf({
      specs: PROCESS_METRICS,
      entities: processes,
      labels: ({ gpu, pid, process }) => ({ gpu, pid: String(pid), process }),
    }),
    ...familiesOf({ specs: SERVER_METRICS, entities: servers, labels: ({ server }) => ({ server }) }),
    ...familiesOf({ specs: MODEL_METRICS, entities: models, labels: model }),
    ...familiesOf({ specs: RUNNER_ENDPOINT_METRICS, entities: models, labels: model }),
    ...familiesOf({ specs: MODEL_ENERGY_METRICS, entities: models, labels: model }),
    ...familiesOf({ specs: TRANSITION_METRICS, entities: transitions, labels: model }),
    ...familiesOf({ specs: RUNNER_METRICS, entities: [snapshot], labels: none }),
    ...familiesOf({ specs: ORPHAN_METRICS, entities: owners, labels: ({ gpu }) => ({ gpu }) }),
    ...familiesOf({
      specs: COLLECTOR_METRICS,
      entities: collectors,
      labels: ({ collector, target }) => ({ collector, target }),
    }),
    ...familiesOf({ specs: SNAPSHOT_METRICS, entities: [snapshot], labels: none }),
  ];
}
