/** What no request may look like, beyond what Node's parser refuses itself: all of it is answered and ends the connection. */
import type { IncomingMessage } from "node:http";
import { type Answer, text } from "./answer.ts";
import type { HttpLimits } from "./limits.ts";

/** An answer after which the connection is closed: what follows on it cannot be trusted. */
export const closing = (status: number, body: string): Answer => ({
  ...text(status, body),
  headers: { Connection: "close" },
});

export const BAD_REQUEST = closing(400, "400 bad request");
export const METHOD_NOT_ALLOWED: Answer = { ...text(405, "405 method not allowed"), headers: { Allow: "GET, HEAD" } };

/** Path of a request target, `*` for a request of the whole server; undefined where it is none (RFC 9112, 3.2). */
export function pathOf(target: string): string | undefined {
  if (target === "*") return target;
  const [, path] = /^(?:https?:\/\/[^/?#]+)?(\/[^?#]*|(?=[?#]|$))/i.exec(target) ?? [];
  if (target === "" || path === undefined) return undefined;
  return path === "" ? "/" : path;
}

/** The answer to a request that is malformed, ambiguous or too large; undefined = go on. */
export function refusalOf(request: IncomingMessage, limits: HttpLimits): Answer | undefined {
  const { method, httpVersion, rawHeaders, url = "" } = request;
  if (rawHeaders.length / 2 > limits.headerCount) return closing(431, "431 too many header fields");
  if (Buffer.byteLength(url) > limits.targetBytes) return closing(414, "414 request target too long");
  const isSane =
    (httpVersion === "1.1" || httpVersion === "1.0") &&
    hasOneHost(request) &&
    hasPlainEncoding(request) &&
    pathOf(url) !== undefined &&
    !(url === "*" && (method === "GET" || method === "HEAD"));
  return isSane ? undefined : BAD_REQUEST;
}

/** Two proxies may each believe another Host (RFC 9112, 3.2). Its absence in HTTP/1.1 is Node's to refuse. */
function hasOneHost({ rawHeaders, headers }: IncomingMessage): boolean {
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === "host");
  return hosts.length <= 1 && /^[\w.~!$&'()*+,;=:[\]%-]*$/.test(headers.host ?? "");
}

/** Only `chunked`, alone, and only in HTTP/1.1: whatever else there is, somebody reads it differently (RFC 9112, 6.1). */
function hasPlainEncoding({ headers, httpVersion }: IncomingMessage): boolean {
  const encoding = headers["transfer-encoding"];
  return encoding === undefined || (httpVersion === "1.1" && encoding.toLowerCase() === "chunked");
}

export type Discarded = "done" | "too long" | "gone";

/**
 * Reads a body away before the request is answered, so that one that breaks off or is malformed gets no answer but the
 * parser's 400. `too long` beyond the limit, `gone` when the client or the parser has given up.
 */
export function discardBody(request: IncomingMessage, most: number): Discarded | Promise<Discarded> {
  const { headers } = request;
  const declared = Number(headers["content-length"] ?? 0);
  if (declared > most) return "too long";
  if (declared === 0 && headers["transfer-encoding"] === undefined) return "done";
  return new Promise((resolve) => {
    let read = 0;
    request.on("data", (chunk: Buffer) => {
      read += chunk.length;
      if (read > most) resolve("too long");
    });
    request.on("end", () => {
      resolve("done");
    });
    request.on("close", () => {
      resolve("gone");
    });
  });
}
