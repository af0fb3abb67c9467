/** The npm `ollama` client over undici: one deadline per request, a body limit, and nothing printed by libraries. */
import { readFile } from "node:fs/promises";
import { STATUS_CODES } from "node:http";
import { Ollama } from "ollama";
import { Agent, type Dispatcher, request as undiciRequest } from "undici";
import { messageOf } from "../../errors.ts";
import type { Clock } from "../../lib/clock.ts";
import type { ServerTarget } from "./host.ts";
import { sharedLookup } from "./lookup.ts";
import type { TextAnswer } from "./own-metrics.ts";

/** The methods that are used: an `Ollama` of the npm package has them. Answers are decoded without trust. */
export interface OllamaClient {
  ps(): Promise<unknown>;
  list(): Promise<unknown>;
  show(request: { model: string }): Promise<unknown>;
  version(): Promise<unknown>;
}

export interface ClosableClient extends OllamaClient {
  /** GET /metrics, once and briefly; undefined when nothing, or too much, comes in time. */
  ownMetrics(): Promise<TextAnswer>;
  close(): Promise<void>;
}

/** A header sent to Ollama; with a file its content, read again for every request. */
export type Header = { readonly name: string } & ({ readonly value: string } | { readonly file: string });

export interface OllamaClientOptions {
  readonly target: ServerTarget;
  readonly headers: readonly Header[];
  /** For one request: connection, headers, body and retries together. */
  readonly timeoutMs: number;
  readonly retry: { readonly attempts: number; readonly delayMs: number };
  readonly clock: Clock;
}

/** A request that got no usable answer. */
export class OllamaRequestError extends Error {
  override readonly name = "OllamaRequestError";
  readonly timedOut: boolean;

  constructor(message: string, options: { readonly timedOut?: boolean; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.timedOut = options.timedOut ?? false;
  }
}

const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** An extra must not delay a reading much. */
const OWN_METRICS_TIMEOUT_MS = 500;
const OWN_METRICS_MAX_BYTES = 1024 * 1024;

/** Rejects with OllamaRequestError; `close()` ends its connections. */
export function createOllamaClient(options: OllamaClientOptions): ClosableClient {
  const { target } = options;
  const { socketPath } = target;
  const agent = new Agent({
    connections: 8,
    connect: socketPath === undefined ? { lookup: sharedLookup() } : { socketPath },
  });
  const client = new Ollama({
    host: target.baseUrl,
    fetch: (input, init) =>
      requestJson(String(input instanceof Request ? input.url : input), init ?? {}, { ...options, agent }),
  });
  return {
    ps: () => client.ps(),
    list: () => client.list(),
    show: (request) => client.show(request),
    version: () => client.version(),
    ownMetrics: () => readOwnMetrics({ ...options, agent }),
    close: () => agent.destroy(),
  };
}

type RequestOptions = OllamaClientOptions & { readonly agent: Agent };

/** A response whose body is known to be JSON, so that the client library has nothing to complain about. */
async function requestJson(url: string, init: RequestInit, options: RequestOptions): Promise<Response> {
  const { clock, timeoutMs, retry } = options;
  const until = clock.monotonic() + timeoutMs;
  for (let attempt = 1; ; attempt++) {
    const left = until - clock.monotonic();
    try {
      return Response.json(await exchange(url, init, { ...options, timeoutMs: left }));
    } catch (error) {
      const late = error instanceof OllamaRequestError && error.timedOut;
      if (late || attempt >= retry.attempts || until - clock.monotonic() <= retry.delayMs) {
        throw late
          ? new OllamaRequestError(`no answer within ${timeoutMs / 1000} s from ${describe(url, init, options)}`, {
              timedOut: true,
            })
          : error;
      }
    }
    await clock.sleep(retry.delayMs);
  }
}

async function readOwnMetrics(options: RequestOptions): Promise<TextAnswer> {
  const signal = AbortSignal.timeout(Math.min(OWN_METRICS_TIMEOUT_MS, options.timeoutMs));
  try {
    const { statusCode, headers, body } = await undiciRequest(`${options.target.baseUrl}/metrics`, {
      headers: { accept: "text/plain", ...(await headersOf(options)) },
      signal,
      dispatcher: options.agent,
    });
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      size += chunk.byteLength;
      if (size > OWN_METRICS_MAX_BYTES) return { status: 413, contentType: "", text: "" };
      chunks.push(chunk);
    }
    const type = headers["content-type"];
    return {
      status: statusCode,
      contentType: typeof type === "string" ? type : "",
      text: Buffer.concat(chunks).toString("utf8"),
    };
  } catch {
    return undefined;
  }
}

async function exchange(url: string, init: RequestInit, options: RequestOptions): Promise<unknown> {
  const request = describe(url, init, options);
  const deadline = new AbortController();
  const timer = setTimeout(() => {
    deadline.abort();
  }, options.timeoutMs);
  try {
    // Not fetch: that refuses some ports and headers, and asks for compressed bodies.
    const response = await undiciRequest(url, {
      method: init.method === "POST" ? "POST" : "GET",
      body: typeof init.body === "string" ? init.body : null,
      headers: {
        accept: "application/json",
        ...(typeof init.body === "string" && { "content-type": "application/json" }),
        ...(await headersOf(options)),
      },
      signal: deadline.signal,
      dispatcher: options.agent,
    });
    if (response.statusCode !== 200) {
      throw new OllamaRequestError(
        `${request} answered ${response.statusCode} ${STATUS_CODES[response.statusCode] ?? ""}`.trim(),
      );
    }
    return parse(await bodyOf(response, request), request);
  } catch (error) {
    if (deadline.signal.aborted)
      throw new OllamaRequestError(`${request} was not answered in time`, { timedOut: true });
    if (error instanceof OllamaRequestError) throw error;
    throw new OllamaRequestError(`${request} failed: ${reasonOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
    deadline.abort(); // a body that was not read to its end is not waited for
  }
}

/** The body; more than the limit ends the request. */
async function bodyOf({ headers, body }: Dispatcher.ResponseData, request: string): Promise<string> {
  const tooLarge = () => new OllamaRequestError(`${request} answered more than 16 MiB`);
  if (Number(headers["content-length"]) > MAX_BODY_BYTES) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    if (!(chunk instanceof Uint8Array)) continue;
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parse(body: string, request: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new OllamaRequestError(
      `${request} answered ${body.trimStart().startsWith("<") ? "HTML" : "something"} that is not JSON`,
    );
  }
}

async function headersOf({ headers }: RequestOptions): Promise<Record<string, string>> {
  const entries = await Promise.all(
    headers.map(
      async (header) => [header.name, "file" in header ? await readHeader(header.file) : header.value] as const,
    ),
  );
  return Object.fromEntries(entries);
}

async function readHeader(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    throw new OllamaRequestError(`the header file ${file} cannot be read`, { cause: error });
  }
}

function describe(url: string, init: RequestInit, { target }: OllamaClientOptions): string {
  const path = new URL(url).pathname;
  const where = target.socketPath === undefined ? new URL(url).origin + path : `unix:${target.socketPath} ${path}`;
  return `${init.method ?? "GET"} ${where}`;
}

function reasonOf(error: unknown): string {
  const reason = messageOf(error);
  return /ECONNREFUSED|ENOENT/.test(reason) ? `${reason}; is Ollama running?` : reason;
}
