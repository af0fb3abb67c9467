/** `serve`: the pipeline behind HTTP. Two Prometheus servers and a push share its one cache. */
import { buildInfo } from "./build-info.ts";
import type { ExporterState } from "./catalog/exporter.ts";
import type { Config } from "./config/options.ts";
import { systemClock } from "./lib/clock.ts";
import type { Logger } from "./logger.ts";
import { createRoutes } from "./outputs/http/routes.ts";
import { HttpServer } from "./outputs/http/server.ts";
import { MetricsPage } from "./outputs/prometheus/page.ts";
import { RuntimeMetrics } from "./outputs/prometheus/render.ts";
import { createPipeline } from "./pipeline.ts";

/** A running exporter. */
export interface Exporter {
  /** Where it listens, as bound: `127.0.0.1:9434`, `unix:/path`. */
  readonly addresses: readonly string[];
  /** Stops accepting, finishes what runs, ends the worker. */
  close(): Promise<void>;
}

/** Starts listening, then takes the first snapshot by itself. Throws StartupError when it cannot listen. */
export async function startExporter(config: Config, logger: Logger): Promise<Exporter> {
  const build = buildInfo();
  const requests = new RequestCounter();
  const pipeline = createPipeline(config, { clock: systemClock, logger });
  const { cache } = pipeline;
  let stopping = false;
  const page = new MetricsPage({
    state: () => ({ ...build, httpRequests: requests.rows() }),
    ...(config.web.exporterMetrics && { runtime: new RuntimeMetrics() }),
  });
  const routes = createRoutes({
    cache,
    page,
    telemetryPath: config.web.telemetryPath,
    maxRequests: config.web.maxRequests,
    memoryUnit: "MB",
    version: build.version,
    now: () => systemClock.now(),
    stopping: () => stopping,
  });
  const server = new HttpServer({
    addresses: config.web.listenAddresses,
    routes,
    logger,
    onRequest: (handler, code) => {
      requests.count(handler, code);
    },
  });
  const addresses = await server.listen();
  for (const address of addresses)
    logger.info("listening", { address, path: config.web.telemetryPath, version: build.version });
  if (config.refreshIntervalMs > 0) cache.startRefresh(config.refreshIntervalMs);
  else void cache.get().catch(() => undefined); // a failing collection is a value; a bug shows at the first scrape
  return {
    addresses,
    close: async () => {
      stopping = true;
      await server.close(); // a scrape under way still gets its reading
      await pipeline.close();
    },
  };
}

const HANDLERS = ["metrics", "index", "healthy", "ready", "status", "ollama_api", "other"];

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
