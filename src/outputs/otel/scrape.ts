/** The snapshot through the OpenTelemetry SDK's Prometheus serializer, for /metrics/otel. */
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { buildInfo } from "../../build-info.ts";
import type { ExporterState } from "../../catalog/exporter.ts";
import type { Labels } from "../../catalog/spec.ts";
import type { Snapshot } from "../../snapshot.ts";
import type { Naming } from "./metric-data.ts";
import { metricDataOf, SCOPE_NAME } from "./producer.ts";

export interface OtelPageOptions {
  readonly naming: Naming;
  readonly resource: Labels;
}

/** The body in Prometheus' text format 0.0.4, as the SDK names things: no unit in a name, `target_info` for the resource. */
export function renderOtel(snapshot: Snapshot, state: ExporterState, options: OtelPageOptions): string {
  const metrics = metricDataOf(snapshot, state, options.naming);
  const scope = { name: SCOPE_NAME, version: buildInfo().version };
  // No timestamps: the target's own would switch off Prometheus' staleness. No scope labels: there is one scope only.
  const serializer = new PrometheusSerializer(undefined, false, undefined, false, true);
  const body = serializer.serialize({
    resource: resourceFromAttributes(options.resource),
    scopeMetrics: [{ scope, metrics }],
  });
  return body.endsWith("\n") ? body : `${body}\n`;
}
