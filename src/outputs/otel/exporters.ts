/** One OTLP exporter per protocol; each module is loaded only when its protocol is asked for. */
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { PushMetricExporter, ResourceMetrics } from "@opentelemetry/sdk-metrics";
import { messageOf, StartupError } from "../../errors.ts";

export interface ExporterOptions {
  readonly url: string;
  readonly protocol: "http/protobuf" | "http/json" | "grpc";
  readonly timeoutMs: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly compression: "gzip" | "none";
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
}

/** An exporter, and a way to cut what a receiver keeps open. */
export interface OtlpExporter {
  readonly exporter: PushMetricExporter;
  readonly cut: () => void;
}

/** Throws StartupError when the protocol's package is not installed. */
export async function createOtlpExporter(options: ExporterOptions): Promise<OtlpExporter> {
  return options.protocol === "grpc" ? grpcExporter(options) : httpExporter(options);
}

async function httpExporter({ url, protocol, timeoutMs, headers, compression, tls }: ExporterOptions) {
  const agent = url.startsWith("https:")
    ? new HttpsAgent({ keepAlive: true, ...tls })
    : new HttpAgent({ keepAlive: true });
  const config = {
    url,
    headers: { ...headers },
    timeoutMillis: timeoutMs,
    compression: compression as never, // the SDK's enum lies in a package that it does not export
    httpAgentOptions: () => agent,
  };
  const cut = () => {
    agent.destroy();
  };
  if (protocol === "http/protobuf") {
    const { OTLPMetricExporter } = await import("@opentelemetry/exporter-metrics-otlp-proto");
    return { exporter: new OTLPMetricExporter(config), cut };
  }
  const { OTLPMetricExporter } = await import("@opentelemetry/exporter-metrics-otlp-http");
  return { exporter: withJsonInfinity(new OTLPMetricExporter(config)), cut };
}

/** Headers and certificates reach it through the same variables, which it reads itself. */
async function grpcExporter({ url, timeoutMs, compression }: ExporterOptions): Promise<OtlpExporter> {
  const { OTLPMetricExporter } = await import("@opentelemetry/exporter-metrics-otlp-grpc").catch((error: unknown) => {
    throw new StartupError(
      `--otlp.protocol=grpc needs the optional package @opentelemetry/exporter-metrics-otlp-grpc: install it, or use http/protobuf (${messageOf(error).split("\n")[0] ?? ""})`,
      { cause: error },
    );
  });
  return {
    exporter: new OTLPMetricExporter({ url, timeoutMillis: timeoutMs, compression: compression as never }),
    cut: () => undefined, // gRPC holds its own deadline over a whole call
  };
}

/** JSON has no Infinity, and the SDK writes null for it; OTLP's JSON mapping asks for the text "Infinity". */
function withJsonInfinity(exporter: PushMetricExporter): PushMetricExporter {
  const jsonValue = (value: number): number => (value === Infinity ? ("Infinity" as unknown as number) : value);
  const convert = ({ resource, scopeMetrics }: ResourceMetrics): ResourceMetrics => ({
    resource,
    scopeMetrics: scopeMetrics.map(({ scope, metrics }) => ({
      scope,
      metrics: metrics.map((metric) => ({
        ...metric,
        dataPoints: metric.dataPoints.map((point) =>
          typeof point.value === "number" ? { ...point, value: jsonValue(point.value) } : point,
        ),
      })),
    })) as ResourceMetrics["scopeMetrics"],
  });
  return {
    export: (metrics, done) => {
      exporter.export(convert(metrics), done);
    },
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  };
}
