/** HTTP and HTTPS: lets in, finds the route, writes its answer, counts the request. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { Duplex } from "node:stream";
import { once } from "node:events";
import { messageOf } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { type Answer, text } from "./answer.ts";
import { HTTP_LIMITS, type HttpLimits } from "./limits.ts";
import { type ListenAddress, listenOn } from "./listen.ts";
import { answerTo, type ClientError, endWith, watchFirstLine } from "./raw-answer.ts";
import { BAD_REQUEST, closing, discardBody, METHOD_NOT_ALLOWED, pathOf, refusalOf } from "./request-rules.ts";
import type { Route } from "./routes.ts";
import type { TlsSettings } from "./web-config/tls.ts";
import type { WebConfig } from "./web-config/web-config.ts";

export interface HttpServerOptions {
  readonly addresses: readonly ListenAddress[];
  readonly routes: ReadonlyMap<string, Route>;
  readonly logger: Logger;
  /** Absent = plain HTTP for everybody. */
  readonly webConfig?: WebConfig;
  /** Called once for every answered request. */
  readonly onRequest: (handler: string, code: number) => void;
  /** Default: HTTP_LIMITS. */
  readonly limits?: Partial<HttpLimits>;
}

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #limits: HttpLimits;
  readonly #servers: Server[] = [];
  /** Answers under way by connection: its last word waits for them. */
  readonly #underWay = new WeakMap<Duplex, Set<ServerResponse>>();
  /** Connections on which nothing more is taken. */
  readonly #ending = new WeakSet<Duplex>();
  #closing = false;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#limits = { ...HTTP_LIMITS, ...options.limits };
  }

  /** Listens on every address; returns them as they are (`127.0.0.1:9434`). Throws StartupError and listens on none otherwise. */
  async listen(): Promise<readonly string[]> {
    try {
      const listening: string[] = [];
      for (const address of this.#options.addresses) {
        const server = this.#createServer();
        this.#servers.push(server);
        listening.push(await listenOn(server, address));
      }
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
    }, this.#limits.drainMs);
    await Promise.all(closed);
    clearTimeout(cut);
  }

  #createServer(): Server {
    const { headersMs, requestMs, keepAliveMs, checkMs, headerBytes, headerCount, idleMs, connections } = this.#limits;
    const server = this.#createBare({
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: checkMs,
      maxHeaderSize: headerBytes,
    });
    server.maxHeadersCount = headerCount + 1; // one more, to see that there are too many
    server.maxConnections = connections;
    server.setTimeout(idleMs);
    server.on("request", (request, response) => void this.#handle(request, response));
    server.on("checkExpectation", (_request, response) => {
      this.#write(response, closing(417, "417 expectation failed"), "other");
    });
    server.on("connect", (request, socket) => void this.#refuseTunnel(request, socket));
    server.on("clientError", (error: ClientError, socket) => {
      if (error.code === "HPE_CLOSED_CONNECTION") return; // bytes after a request that was the last: its answer closes
      const answer = answerTo(error);
      if (answer) void this.#end(socket, answer);
      else socket.destroy();
    });
    return server;
  }

  #createBare(options: Parameters<typeof createServer>[0] & object): Server {
    const { webConfig, logger } = this.#options;
    const tls = webConfig?.tls;
    const watch = (socket: Duplex) => {
      watchFirstLine(socket, () => {
        void this.#end(socket, BAD_REQUEST);
      });
    };
    if (!webConfig || !tls) return createServer(options).on("connection", watch);
    const { context, requestCert, rejectUnauthorized } = tls;
    const { handshakeMs } = this.#limits;
    const server = createTlsServer({
      ...options,
      ...context,
      requestCert,
      rejectUnauthorized,
      handshakeTimeout: handshakeMs,
    });
    let applied = tls;
    // Before TLS begins, so that this very connection sees a changed file.
    server.prependListener("connection", () => {
      webConfig.refresh();
      if (webConfig.tls && webConfig.tls !== applied) applied = apply(server, webConfig.tls);
    });
    server.on("secureConnection", watch);
    server.prependListener("secureConnection", (socket) => {
      const reason = applied.refuses(socket);
      if (reason === undefined) return;
      logger.debug("client refused", { reason });
      socket.destroy();
    });
    return server;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { routes, webConfig } = this.#options;
    const { socket } = request;
    if (socket.destroyed || this.#ending.has(socket)) return;
    webConfig?.refresh();
    const refusal = refusalOf(request, this.#limits);
    const discarded = refusal ? "done" : discardBody(request, this.#limits.bodyBytes);
    // Without a body, the answer is under way before the parser gets to what follows the request.
    const body = typeof discarded === "string" ? discarded : await discarded;
    if (body === "gone" || this.#ending.has(socket)) return;
    if (!this.#begin(socket, response)) return;
    const path = pathOf(request.url ?? "/") ?? "";
    const route = refusal ? undefined : routes.get(path);
    const answer =
      refusal ??
      (body === "too long" ? closing(413, "413 content too large") : await this.#answer(path, route, request));
    // Who asked for another protocol is answered in this one, and then let go.
    if (this.#closing || request.headers.upgrade !== undefined) response.shouldKeepAlive = false;
    this.#write(response, answer, route?.name ?? "other");
  }

  async #answer(path: string, route: Route | undefined, request: IncomingMessage): Promise<Answer> {
    const refused = await this.#gate(request);
    if (refused) return refused;
    if (!route && path !== "*") return text(404, "404 page not found");
    if (!route || (request.method !== "GET" && request.method !== "HEAD")) return METHOD_NOT_ALLOWED;
    try {
      return await route.answer(request);
    } catch (error) {
      this.#options.logger.error("request failed", { handler: route.name, error: messageOf(error) });
      return text(503, "the answer could not be built; see the exporter's log");
    }
  }

  async #gate(request: IncomingMessage): Promise<Answer | undefined> {
    try {
      return await this.#options.webConfig?.gate(request);
    } catch (error) {
      this.#options.logger.error("cannot check a password", { error: messageOf(error) });
      return text(503, "cannot check the password");
    }
  }

  /** Whether the request may be answered: not when its connection has asked for too much at once. */
  #begin(socket: Duplex, response: ServerResponse): boolean {
    const underWay = this.#underWay.get(socket) ?? new Set();
    this.#underWay.set(socket, underWay.add(response));
    response.once("close", () => underWay.delete(response));
    if (underWay.size > this.#limits.pipelined) socket.destroy();
    return !socket.destroyed;
  }

  #write(response: ServerResponse, answer: Answer, handler: string): void {
    const { req } = response;
    const { socket } = req; // not the response's, which waits for its turn among pipelined ones
    if (socket.destroyed) return;
    this.#options.onRequest(handler, answer.status);
    const cut = setTimeout(() => {
      socket.destroy();
    }, this.#limits.responseMs).unref();
    response.once("close", () => {
      clearTimeout(cut);
    });
    response.on("error", () => undefined); // the client went away
    response.writeHead(answer.status, { ...this.#headersOf(answer) });
    // Bytes, because Node encodes the headers in front of a text as it does the text.
    const bytes = typeof answer.body === "string" ? Buffer.from(answer.body) : answer.body;
    response.end(req.method === "HEAD" ? undefined : bytes);
  }

  /** The configured headers win over ours, which are about content only. */
  #headersOf(answer: Answer): Readonly<Record<string, string>> {
    return {
      "Content-Type": answer.contentType,
      "Content-Length": String(Buffer.byteLength(answer.body)),
      "X-Content-Type-Options": "nosniff",
      "Cache-Control": "no-store",
      ...answer.headers,
      ...this.#options.webConfig?.headers,
    };
  }

  /** CONNECT: Node hands the bare socket over and would else close it without a word. */
  async #refuseTunnel(request: IncomingMessage, socket: Duplex): Promise<void> {
    socket.on("error", () => undefined); // the client went away while its password was checked
    this.#options.webConfig?.refresh();
    await this.#end(socket, (await this.#gate(request)) ?? METHOD_NOT_ALLOWED);
  }

  /** The last word on a connection, after the answers to what came before. */
  async #end(socket: Duplex, answer: Answer): Promise<void> {
    if (this.#ending.has(socket)) return;
    this.#ending.add(socket);
    await Promise.all([...(this.#underWay.get(socket) ?? [])].map(closed));
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    this.#options.onRequest("other", answer.status);
    endWith(socket, { ...answer, headers: this.#headersOf(answer) }, this.#limits.lingerMs);
  }
}

const closed = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    response.once("close", () => {
      resolve();
    });
  });

/** What a TLS server asks of new connections; the types know only its context as changeable. */
function apply(server: TlsServer, tls: TlsSettings): TlsSettings {
  server.setSecureContext(tls.context);
  // Node carries the keys over: a session begun under the old client CA could be resumed past the new one.
  server.setTicketKeys(randomBytes(48));
  const { requestCert, rejectUnauthorized } = tls;
  Object.assign(server, { requestCert, rejectUnauthorized });
  return tls;
}
