import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import { once } from "node:events";
import { gunzipSync } from "node:zlib";

/** One push as it arrived. */
export interface ReceivedPush {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Unzipped. */
  readonly body: Buffer;
}

export interface JsonPoint {
  readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
  readonly startTimeUnixNano?: string;
  readonly timeUnixNano: string;
  readonly asDouble?: number | string;
}

export interface JsonMetric {
  readonly name: string;
  readonly unit?: string;
  readonly gauge?: { readonly dataPoints: readonly JsonPoint[] };
  readonly sum?: {
    readonly isMonotonic: boolean;
    readonly aggregationTemporality: number;
    readonly dataPoints: readonly JsonPoint[];
  };
}

/** An OTLP/HTTP receiver whose answer a test decides. */
export class FakeOtlp {
  answer: (response: ServerResponse) => void = ok;
  readonly pushes: ReceivedPush[] = [];
  readonly #server: Server;
  #arrived: () => void = () => undefined;

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const raw = Buffer.concat(chunks);
        const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(raw) : raw;
        this.pushes.push({ path: request.url ?? "", headers: request.headers, body });
        this.answer(response);
        this.#arrived();
      });
    });
  }

  /** Listens on a free loopback port; returns the base URL. */
  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const address = this.#server.address();
    return typeof address === "object" && address ? `http://127.0.0.1:${address.port}` : "";
  }

  /** The push that arrives next. */
  async next(): Promise<ReceivedPush> {
    const before = this.pushes.length;
    for (;;) {
      const push = this.pushes.at(-1);
      if (push && this.pushes.length > before) return push;
      await new Promise<void>((resolve) => (this.#arrived = resolve));
    }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    if (this.#server.listening) await once(this.#server.close(), "close");
  }
}

export function ok(response: ServerResponse): void {
  response.end("{}");
}

/** The metrics of a push in OTLP's JSON. */
export function metricsOf({ body }: ReceivedPush): readonly JsonMetric[] {
  const { resourceMetrics } = JSON.parse(body.toString()) as {
    resourceMetrics: { scopeMetrics: { metrics: JsonMetric[] }[] }[];
  };
  return resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
}
