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
  return [...eachFamily(snapshot, state)];
}

/** The same one by one, for who builds a thousand models' families in turns. */
export function* eachFamily(snapshot: Snapshot, state: ExporterState): Generator<MetricFamily> {
  yield* eachSnapshotFamily(snapshot);
  yield* stateFamilies(state);
}

/** The exporter's own numbers, as of now. */
export function stateFamilies(state: ExporterState): readonly MetricFamily[] {
  return [...familiesOf({ specs: STATE_METRICS, entities: [state], labels: none })];
}

/** Families that the hardware conventions have and the catalogue has not. */
export function semconvFamilies({ gpus }: Snapshot): readonly MetricFamily[] {
  return [...familiesOf({ specs: SEMCONV_METRICS, entities: gpus, labels: device })];
}

/** Every family of what was read. */
export function snapshotFamilies(snapshot: Snapshot): readonly MetricFamily[] {
  return [...eachSnapshotFamily(snapshot)];
}

function* eachSnapshotFamily(snapshot: Snapshot): Generator<MetricFamily> {
  const { gpus, owners, energy, processes, servers, models, transitions, collectors } = snapshot;
  const model = ({ server, name }: { readonly server: string; readonly name: string }) => ({ server, model: name });
  yield* familiesOf({ specs: GPU_METRICS, entities: gpus, labels: device });
  yield* familiesOf({ specs: OWNER_METRICS, entities: owners, labels: device });
  yield* familiesOf({ specs: GPU_HEALTH_METRICS, entities: gpus, labels: device });
  yield* familiesOf({ specs: ENERGY_METRICS, entities: energy, labels: device });
  yield* familiesOf({
    specs: PROCESS_METRICS,
    entities: processes,
    labels: ({ gpu, pid, process }) => ({ gpu, pid: String(pid), process }),
  });
  yield* familiesOf({ specs: SERVER_METRICS, entities: servers, labels: ({ server }) => ({ server }) });
  yield* familiesOf({ specs: MODEL_METRICS, entities: models, labels: model });
  yield* familiesOf({ specs: RUNNER_ENDPOINT_METRICS, entities: models, labels: model });
  yield* familiesOf({ specs: MODEL_ENERGY_METRICS, entities: models, labels: model });
  yield* familiesOf({ specs: TRANSITION_METRICS, entities: transitions, labels: model });
  yield* familiesOf({ specs: RUNNER_METRICS, entities: [snapshot], labels: none });
  yield* familiesOf({ specs: ORPHAN_METRICS, entities: owners, labels: ({ gpu }) => ({ gpu }) });
  yield* familiesOf({
    specs: COLLECTOR_METRICS,
    entities: collectors,
    labels: ({ collector, target }) => ({ collector, target }),
  });
  yield* familiesOf({ specs: SNAPSHOT_METRICS, entities: [snapshot], labels: none });
}
