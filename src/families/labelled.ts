/** From one row and one kind of entity to samples: scope labels, then the row's own; nothing that could break a scrape. */
import type { Labels, MetricFamily, MetricRow, MetricSpec, Reading, Sample } from "../catalog/spec.ts";

/** Entities of one kind with the labels that all their families carry. */
export interface Scope<T> {
  readonly specs: readonly MetricSpec<T>[];
  /** In the order of the output. */
  readonly entities: readonly T[];
  readonly labels: (entity: T) => Labels;
}

/** A family per row; rows without a sample are left out. One at a time, so that a large output can be built in turns. */
export function* familiesOf<T>({ specs, entities, labels }: Scope<T>): Generator<MetricFamily> {
  const scoped = entities.map((entity) => [entity, wellFormed(labels(entity))] as const);
  for (const spec of specs) {
    const samples = distinct(scoped.flatMap(([entity, own]) => samplesOf(spec.read(entity), own)));
    if (samples.length > 0) yield { ...rowOf(spec), samples };
  }
}

function rowOf({ name, type, unit, help, since, semconv }: MetricRow): MetricRow {
  return { name, type, unit, help, ...(since && { since }), ...(semconv && { semconv }) };
}

function samplesOf(reading: Reading, scope: Labels): readonly Sample[] {
  if (reading === undefined) return [];
  if (typeof reading !== "object") {
    const value = Number(reading);
    return isPublishable(value) ? [{ labels: scope, value }] : [];
  }
  return reading
    .filter(({ value }) => isPublishable(value))
    .map((sample) => ({ ...sample, labels: { ...scope, ...wellFormed(sample.labels) } }));
}

/** +Inf says "never" of an expiry; NaN and -Inf say nothing. */
const isPublishable = (value: number): boolean => Number.isFinite(value) || value === Infinity;

/** A lone surrogate has no UTF-8 form. Nearly every label is fine as it is, so nothing is copied for it. */
function wellFormed(labels: Labels): Labels {
  for (const name in labels) if (labels[name]?.isWellFormed() === false) return repaired(labels);
  return labels;
}

const repaired = (labels: Labels): Labels =>
  Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, value.toWellFormed()]));

/** One series twice makes Prometheus refuse the whole scrape: the first wins. */
function distinct(samples: readonly Sample[]): readonly Sample[] {
  if (samples.length < 2) return samples;
  const seen = new Set<string>();
  return samples.filter(({ labels }) => {
    let key = "";
    for (const name in labels) key += `${labels[name] ?? ""}\0`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
