/** What each path answers. A route gets a request and returns a whole answer; server.ts writes it. */
import type { IncomingMessage } from "node:http";
import type { SnapshotCache } from "../../collect/cache.ts";
import { acceptsGzip, type ExpositionFormat, negotiate, TEXT_004 } from "../prometheus/negotiate.ts";
import type { RenderedBodies } from "../rendered.ts";
import { hintsOf } from "../status/hints.ts";
import { gpuStatuses, ollamaProcesses } from "../status/status.ts";
import { snapshotJson, toGpuJson, toProcessJson, toStatusDict } from "../status/json.ts";
import type { Snapshot } from "../../snapshot.ts";
import type { ByteUnit } from "../../units.ts";
import { type Answer, json, text } from "./answer.ts";
import { landingPage } from "./landing.ts";

/** A path's handler. `name` is the label of http_requests_total. */
export interface Route {
  readonly name: string;
  readonly answer: (request: IncomingMessage) => Answer | Promise<Answer>;
}

export interface RouteOptions {
  readonly cache: SnapshotCache;
  /** Bodies of the telemetry path. */
  readonly metrics: RenderedBodies<ExpositionFormat>;
  /** Bodies of /metrics/otel. */
  readonly otel: RenderedBodies<"otel">;
  readonly telemetryPath: string;
  readonly maxRequests: number;
  readonly memoryUnit: ByteUnit;
  readonly version: string;
  readonly now: () => number;
  readonly stopping: () => boolean;
}

/** All routes by path. */
export function createRoutes(options: RouteOptions): ReadonlyMap<string, Route> {
  const { cache, memoryUnit, now } = options;
  const snapshot = () => cache.get();
  const scrapes = new Scrapes(options);
  return new Map<string, Route>([
    [
      "/",
      {
        name: "index",
        answer: () => landingPage(options.telemetryPath, options.version, cache.latest ? hintsOf(cache.latest) : []),
      },
    ],
    ["/metrics/otel", { name: "metrics_otel", answer: (request) => scrapes.answer(request, otelPage(options)) }],
    [options.telemetryPath, { name: "metrics", answer: (request) => scrapes.answer(request, metricsPage(options)) }],
    ["/-/healthy", { name: "healthy", answer: () => text(200, "healthy") }],
    ["/-/ready", { name: "ready", answer: () => readiness(options) }],
    ["/api/v1/status", { name: "status", answer: async () => json(snapshotJson(await snapshot())) }],
    [
      "/api/ollama/status",
      {
        name: "ollama_api",
        answer: async () => json(toStatusDict(await snapshot(), { unit: memoryUnit, nowMs: now() })),
      },
    ],
    [
      "/api/ollama/processes",
      {
        name: "ollama_api",
        answer: async () => json({ processes: ollamaProcesses(await snapshot(), now()).map(toProcessJson) }),
      },
    ],
    [
      "/api/ollama/gpu",
      {
        name: "ollama_api",
        answer: async () => json({ gpu_info: gpuStatuses(await snapshot(), memoryUnit).map(toGpuJson) }),
      },
    ],
  ]);
}

function readiness({ cache, stopping }: RouteOptions): Answer {
  if (stopping()) return text(503, "shutting down");
  return cache.latest ? text(200, "ready") : text(503, "not ready: the first collection has not finished");
}

/** What one path says about a snapshot to one client. */
type Page = (
  snapshot: Snapshot,
  request: IncomingMessage,
  gzipped: boolean,
) => Promise<{ readonly contentType: string; readonly body: Buffer }>;

function metricsPage({ metrics }: RouteOptions): Page {
  return async (snapshot, request, gzipped) => {
    const { format, contentType } = negotiate(request.headers.accept);
    return { contentType, body: await metrics.body(snapshot, format, gzipped) };
  };
}

/** The SDK's serializer knows one format only. */
function otelPage({ otel }: RouteOptions): Page {
  return async (snapshot, _request, gzipped) => ({
    contentType: TEXT_004.contentType,
    body: await otel.body(snapshot, "otel", gzipped),
  });
}

/** Scrapes of all paths together: their number is bounded, and each has a deadline. */
class Scrapes {
  readonly #options: RouteOptions;
  #running = 0;

  constructor(options: RouteOptions) {
    this.#options = options;
  }

  async answer(request: IncomingMessage, page: Page): Promise<Answer> {
    const { cache, maxRequests, stopping } = this.#options;
    if (stopping()) return text(503, "shutting down");
    if (this.#running >= maxRequests)
      return text(503, `more than ${maxRequests} concurrent scrapes (--web.max-requests)`);
    this.#running += 1;
    try {
      const deadlineMs = scrapeDeadlineMs(request.headers["x-prometheus-scrape-timeout-seconds"]);
      const snapshot = await cache.get(deadlineMs === undefined ? {} : { deadlineMs });
      const gzipped = acceptsGzip(request.headers["accept-encoding"]);
      const headers = { Vary: "Accept, Accept-Encoding", ...(gzipped && { "Content-Encoding": "gzip" }) };
      return { status: 200, ...(await page(snapshot, request, gzipped)), headers };
    } finally {
      this.#running -= 1;
    }
  }
}

/** Half a second before the scraper gives up; half of its time when that is not positive. Undefined without a usable header. */
export function scrapeDeadlineMs(header: string | string[] | undefined): number | undefined {
  const seconds = typeof header === "string" && header.trim() !== "" ? Number(header) : NaN;
  if (!Number.isFinite(seconds) || seconds <= 0) return undefined;
  const timeoutMs = Math.min(seconds * 1000, 3_600_000);
  return timeoutMs > 500 ? timeoutMs - 500 : timeoutMs / 2;
}
