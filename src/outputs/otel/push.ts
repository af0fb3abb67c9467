/** Pushes the snapshot over OTLP at an interval. A receiver that fails costs a log line and a count, never a scrape. */
import { diag, DiagLogLevel } from "@opentelemetry/api";
import { type ExportResult, ExportResultCode } from "@opentelemetry/core";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  MeterProvider,
  type MetricProducer,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from "@opentelemetry/sdk-metrics";
import type { Labels } from "../../catalog/spec.ts";
import { messageOf } from "../../errors.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../logger.ts";
import { Secrets, withoutSecrets } from "./secrets.ts";
import { createOtlpExporter, type ExporterOptions, type OtlpExporter } from "./exporters.ts";

export interface PushOptions extends ExporterOptions {
  readonly intervalMs: number;
  readonly resource: Labels;
  readonly producer: MetricProducer;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** For otlp_exports_total and otlp_last_success_timestamp_seconds. */
export interface PushState {
  readonly ok: number;
  readonly failed: number;
  readonly lastSuccessTimestampSeconds?: number;
}

export interface OtlpPush {
  readonly state: () => PushState;
  /** Pushes what there is now, for at most `timeoutMs`, then ends. */
  readonly close: (timeoutMs: number) => Promise<void>;
}

/** Starts pushing; the first push comes after one interval. Throws StartupError when the protocol's package is missing. */
export async function startPush(options: PushOptions): Promise<OtlpPush> {
  const { intervalMs, timeoutMs, producer, resource, logger } = options;
  const counted = new CountedExporter(await createOtlpExporter(options), options);
  const reader = new PeriodicExportingMetricReader({
    exporter: counted,
    exportIntervalMillis: intervalMs,
    exportTimeoutMillis: timeoutMs,
    metricProducers: [producer],
  });
  const provider = new MeterProvider({ resource: resourceFromAttributes(resource), readers: [reader] });
  listenForPartialSuccess(logger, new Secrets(options));
  logger.info("pushing over OTLP", {
    endpoint: withoutSecrets(options.url),
    protocol: options.protocol,
    interval_seconds: intervalMs / 1000,
  });
  return {
    state: () => counted.state,
    close: async (timeoutMillis) => {
      await provider.shutdown({ timeoutMillis }).catch(() => undefined); // a dead receiver must not hold up the end
      counted.cut();
    },
  };
}

/** An exporter that counts, says a change of state once, and gives up at the timeout whatever the receiver does. */
class CountedExporter implements PushMetricExporter {
  readonly #inner: OtlpExporter;
  readonly #options: PushOptions;
  readonly #secrets: Secrets;
  #state: PushState = { ok: 0, failed: 0 };
  #lastError: string | undefined;

  constructor(inner: OtlpExporter, options: PushOptions) {
    this.#inner = inner;
    this.#options = options;
    this.#secrets = new Secrets(options);
  }

  get state(): PushState {
    return this.#state;
  }

  cut(): void {
    this.#inner.cut();
  }

  export(...[metrics, done]: Parameters<PushMetricExporter["export"]>): void {
    const { clock, timeoutMs } = this.#options;
    const timer = new AbortController();
    let settled = false;
    const settle = (result: ExportResult): void => {
      if (settled) return;
      settled = true;
      timer.abort();
      this.#record(
        result.code === ExportResultCode.SUCCESS ? undefined : (result.error ?? new Error("the receiver refused it")),
      );
      done(result);
    };
    void clock.sleep(timeoutMs, timer.signal, { keepAlive: false }).then(
      () => {
        this.#inner.cut(); // an answer that drips would keep its connection for ever
        settle({ code: ExportResultCode.FAILED, error: new Error(`no answer within ${timeoutMs} ms`) });
      },
      () => undefined, // settled in time
    );
    this.#inner.exporter.export(metrics, settle);
  }

  async forceFlush(): Promise<void> {
    await this.#inner.exporter.forceFlush();
  }

  async shutdown(): Promise<void> {
    await this.#inner.exporter.shutdown();
  }

  #record(error: Error | undefined): void {
    const { clock, logger, url } = this.#options;
    const endpoint = withoutSecrets(url);
    if (error === undefined) {
      if (this.#lastError !== undefined) logger.info("OTLP push recovered", { endpoint });
      this.#state = { ...this.#state, ok: this.#state.ok + 1, lastSuccessTimestampSeconds: clock.now() / 1000 };
      this.#lastError = undefined;
      return;
    }
    this.#state = { ...this.#state, failed: this.#state.failed + 1 };
    const text = this.#describe(error);
    if (this.#lastError === undefined) logger.warn("OTLP push failed", { endpoint, error: text });
    this.#lastError = text;
  }

  /** Status and message; never the receiver's body, which may repeat what it was sent. */
  #describe(error: Error & { readonly code?: unknown }): string {
    const status = typeof error.code === "number" ? `status ${error.code} ` : "";
    const text = `${status}${messageOf(error)}`.trim();
    return this.#secrets.mask(text);
  }
}

/** The SDK says only through its diagnostics that a receiver took a part of a push; said once per text. */
function listenForPartialSuccess(logger: Logger, secrets: Secrets): void {
  const said = new Set<string>();
  const ignore = () => undefined;
  const warn = (message: string, detail?: unknown): void => {
    if (!message.startsWith("Received Partial Success") || said.size > 100) return;
    const text = secrets.mask(String(detail)).slice(0, 500);
    if (said.has(text)) return;
    said.add(text);
    logger.warn("OTLP receiver took only a part", { detail: text });
  };
  diag.setLogger(
    { error: ignore, warn, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
