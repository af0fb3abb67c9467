/** `serve`: the pipeline behind HTTP. Two Prometheus servers and a push share its one cache. */
import { buildInfo } from "./build-info.ts";
import type { ExporterState } from "./catalog/exporter.ts";
import type { Labels } from "./catalog/spec.ts";
import type { SnapshotCache } from "./collect/cache.ts";
import type { Config, OtlpConfig } from "./config/options.ts";
import { eachFamily } from "./families/build.ts";
import { systemClock } from "./lib/clock.ts";
import { collectInTurns } from "./lib/turns.ts";
import type { Logger } from "./logger.ts";
import { createRoutes } from "./outputs/http/routes.ts";
import { HttpServer } from "./outputs/http/server.ts";
import { WebConfig } from "./outputs/http/web-config/web-config.ts";
import type { OtlpPush } from "./outputs/otel/push.ts";
import { resourceAttributes } from "./outputs/otel/resource.ts";
import { renderFamilies, RuntimeMetrics } from "./outputs/prometheus/render.ts";
import { RenderedBodies } from "./outputs/rendered.ts";
import { createPipeline } from "./pipeline.ts";

/** A running exporter. */
export interface Exporter {
  /** Where it listens, as bound: `127.0.0.1:9434`, `unix:/path`. */
  readonly addresses: readonly string[];
  /** Stops accepting, finishes what runs, ends the worker. */
  close(): Promise<void>;
}

/** Starts listening, then takes the first snapshot by itself. Throws StartupError when it cannot listen or push. */
export async function startExporter(config: Config, logger: Logger): Promise<Exporter> {
  const build = buildInfo();
  const requests = new RequestCounter();
  const pipeline = createPipeline(config, { clock: systemClock, logger });
  const { cache } = pipeline;
  let push: OtlpPush | undefined;
  let stopping = false;
  let resource: Labels = {};
  const state = (): ExporterState => ({ ...build, httpRequests: requests.rows(), ...(push && { otlp: push.state() }) });
  const runtime = config.web.exporterMetrics ? new RuntimeMetrics() : undefined;
  const routes = createRoutes({
    cache,
    metrics: new RenderedBodies(async (snapshot, format) =>
      renderFamilies(await collectInTurns(eachFamily(snapshot, state())), format, runtime),
    ),
    otel: new RenderedBodies(async (snapshot) => {
      const { renderOtel } = await import("./outputs/otel/scrape.ts"); // the SDK is loaded by who uses it
      return renderOtel(snapshot, state(), { naming: config.otlp.naming, resource });
    }),
    telemetryPath: config.web.telemetryPath,
    maxRequests: config.web.maxRequests,
    memoryUnit: "MB",
    version: build.version,
    now: () => systemClock.now(),
    stopping: () => stopping,
  });
  const { configFile } = config.web;
  const server = new HttpServer({
    addresses: config.web.listenAddresses,
    routes,
    logger,
    ...(configFile !== undefined && { webConfig: new WebConfig({ path: configFile, clock: systemClock, logger }) }),
    onRequest: (handler, code) => {
      requests.count(handler, code);
    },
  });
  const addresses = await server.listen();
  resource = resourceAttributes(config.otlp.resourceAttributes, addresses[0]);
  if (config.otlp.push) push = await startOtlp(config.otlp, { cache, state, resource, logger });
  for (const address of addresses)
    logger.info("listening", { address, path: config.web.telemetryPath, version: build.version });
  if (config.refreshIntervalMs > 0) cache.startRefresh(config.refreshIntervalMs);
  else void cache.get().catch(() => undefined); // a failing collection is a value; a bug shows at the first scrape
  return {
    addresses,
    close: async () => {
      stopping = true;
      await Promise.all([server.close(), push?.close(FLUSH_MS)]); // a scrape under way still gets its reading
      await pipeline.close();
    },
  };
}

interface OtlpDependencies {
  readonly cache: SnapshotCache;
  readonly state: () => ExporterState;
  readonly resource: Labels;
  readonly logger: Logger;
}

/** Pushes from the same cache that scrapes read. */
async function startOtlp({ naming, push }: OtlpConfig, dependencies: OtlpDependencies): Promise<OtlpPush | undefined> {
  if (!push) return undefined;
  const { cache, state, resource, logger } = dependencies;
  const [{ startPush }, { producerOf }] = await Promise.all([
    import("./outputs/otel/push.ts"),
    import("./outputs/otel/producer.ts"),
  ]);
  const producer = producerOf(
    {
      snapshot: ({ timeoutMs }) => cache.get(timeoutMs === undefined ? {} : { deadlineMs: timeoutMs }),
      state,
    },
    { naming },
  );
  return startPush({ ...push, resource, producer, clock: systemClock, logger });
}

/** How long the last push may take. */
const FLUSH_MS = 2_000;

const HANDLERS = ["metrics", "metrics_otel", "index", "healthy", "ready", "status", "ollama_api", "other"];

/** http_requests_total: a handler's 200s are there from the start, other codes when they occur. */
class RequestCounter {
  readonly #counts = new Map(HANDLERS.map((handler) => [`${handler} ${handler === "other" ? 404 : 200}`, 0]));

  count(handler: string, code: number): void {
    const key = `${handler} ${code}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  rows(): ExporterState["httpRequests"] {
    return [...this.#counts].map(([key, count]) => {
      const [handler = "", code = ""] = key.split(" ");
      return { handler, code, count };
    });
  }
}
