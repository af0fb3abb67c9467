/** HTTP and HTTPS: listens, lets in, finds the route, writes its answer, counts the request. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import { chmod, lstat, unlink } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { messageOf, StartupError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { type Answer, text } from "./answer.ts";
import type { Route } from "./routes.ts";
import type { TlsSettings } from "./web-config/tls.ts";
import type { WebConfig } from "./web-config/web-config.ts";

/** Where to listen. Port 0 = any free port. */
export type ListenAddress = { readonly host?: string; readonly port: number } | { readonly socketPath: string };

export interface HttpServerOptions {
  readonly addresses: readonly ListenAddress[];
  readonly routes: ReadonlyMap<string, Route>;
  readonly logger: Logger;
  /** Absent = plain HTTP for everybody. */
  readonly webConfig?: WebConfig;
  /** Called once for every answered request. */
  readonly onRequest: (handler: string, code: number) => void;
}

const LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
};
/** A client that neither reads nor writes for this long is cut off. */
const IDLE_TIMEOUT_MS = 120_000;
/** How long requests under way may take after close() before their connections are cut. */
const DRAIN_MS = 1_500;

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #servers: Server[] = [];
  #closing = false;

  constructor(options: HttpServerOptions) {
    this.#options = options;
  }

  /** Listens on every address; returns them as they are (`127.0.0.1:9434`). Throws StartupError and listens on none otherwise. */
  async listen(): Promise<readonly string[]> {
    try {
      const listening: string[] = [];
      for (const address of this.#options.addresses) listening.push(await this.#listenOn(address));
      return listening;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Accepts nothing new, lets requests under way finish for a moment, then cuts them. */
  async close(): Promise<void> {
    this.#closing = true;
    const servers = this.#servers.splice(0).filter((server) => server.listening);
    const closed = servers.map((server) => once(server.close(), "close"));
    for (const server of servers) server.closeIdleConnections();
    const cut = setTimeout(() => {
      for (const server of servers) server.closeAllConnections();
    }, DRAIN_MS);
    await Promise.all(closed);
    clearTimeout(cut);
  }

  async #listenOn(address: ListenAddress): Promise<string> {
    const server = this.#createServer((request, response) => void this.#handle(request, response));
    server.setTimeout(IDLE_TIMEOUT_MS);
    this.#servers.push(server);
    const named = describeAddress(address);
    try {
      if ("socketPath" in address) await removeStaleSocket(address.socketPath);
      server.listen("socketPath" in address ? { path: address.socketPath } : address);
      await once(server, "listening");
      if ("socketPath" in address) await chmod(address.socketPath, 0o660);
    } catch (error) {
      throw new StartupError(`Cannot listen on ${named}: ${messageOf(error)}; choose another --web.listen-address`, {
        cause: error,
      });
    }
    const bound = server.address();
    return bound !== null && typeof bound === "object" ? describeBound(bound) : named;
  }

  #createServer(handle: (request: IncomingMessage, response: ServerResponse) => void): Server {
    const { webConfig } = this.#options;
    const tls = webConfig?.tls;
    if (!webConfig || !tls) return createServer(LIMITS, handle);
    const { context, requestCert, rejectUnauthorized } = tls;
    const server = createTlsServer({ ...LIMITS, ...context, requestCert, rejectUnauthorized }, handle);
    let applied = tls;
    // Before TLS begins, so that this very connection sees a changed file.
    server.prependListener("connection", () => {
      webConfig.refresh();
      if (webConfig.tls && webConfig.tls !== applied) applied = apply(server, webConfig.tls);
    });
    server.prependListener("secureConnection", (socket) => {
      const reason = applied.refuses(socket);
      if (reason === undefined) return;
      this.#options.logger.debug("client refused", { reason });
      socket.destroy();
    });
    return server;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { routes, webConfig, onRequest } = this.#options;
    webConfig?.refresh();
    const route = routes.get(pathOf(request.url));
    const answer = await this.#answer(route, request);
    onRequest(route?.name ?? "other", answer.status);
    if (this.#closing) response.shouldKeepAlive = false;
    write(request, response, { ...answer, headers: { ...webConfig?.headers, ...answer.headers } });
  }

  async #answer(route: Route | undefined, request: IncomingMessage): Promise<Answer> {
    const refused = await this.#options.webConfig?.gate(request).catch(() => text(503, "cannot check the password"));
    if (refused) return refused;
    if (!route) return text(404, "404 page not found");
    if (request.method !== "GET" && request.method !== "HEAD") {
      return { ...text(405, "405 method not allowed"), headers: { Allow: "GET, HEAD" } };
    }
    try {
      return await route.answer(request);
    } catch (error) {
      this.#options.logger.error("request failed", { handler: route.name, error: messageOf(error) });
      return text(503, "the answer could not be built; see the exporter's log");
    }
  }
}

/** What a TLS server asks of new connections; the types know only its context as changeable. */
function apply(server: TlsServer, tls: TlsSettings): TlsSettings {
  server.setSecureContext(tls.context);
  const { requestCert, rejectUnauthorized } = tls;
  Object.assign(server, { requestCert, rejectUnauthorized });
  return tls;
}

function write(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  response.on("error", () => undefined); // the client went away
  response.writeHead(answer.status, {
    "Content-Type": answer.contentType,
    "Content-Length": Buffer.byteLength(answer.body),
    "X-Content-Type-Options": "nosniff",
    ...answer.headers,
  });
  response.end(request.method === "HEAD" ? undefined : answer.body);
}

function pathOf(url = "/"): string {
  const end = url.search(/[?#]/);
  return end === -1 ? url : url.slice(0, end);
}

function describeAddress(address: ListenAddress): string {
  if ("socketPath" in address) return `unix:${address.socketPath}`;
  const { host = "", port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function describeBound({ address, port, family }: AddressInfo): string {
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
}

/** A socket file that outlived its process would make every restart fail; anything else in its place is left alone. */
async function removeStaleSocket(path: string): Promise<void> {
  const existing = await lstat(path).catch(() => undefined);
  if (existing?.isSocket()) await unlink(path);
}
