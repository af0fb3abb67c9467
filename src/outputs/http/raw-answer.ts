/** Answers to what Node does not make a request of: they are written to the socket, which then ends. */
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { METHOD_NOT_ALLOWED, BAD_REQUEST, closing } from "./request-rules.ts";
import type { Answer } from "./answer.ts";

/** Writes an answer and ends the connection. What still comes is read away for `lingerMs`, or a reset would overtake the answer. */
export function endWith(socket: Duplex, { status, headers = {}, body }: Answer, lingerMs: number): void {
  const fields = { Date: new Date().toUTCString(), ...headers, Connection: "close" };
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
    "\r\n",
  ].join("\r\n");
  const cut = setTimeout(() => {
    socket.destroy();
  }, lingerMs).unref();
  socket.once("close", () => {
    clearTimeout(cut);
  });
  socket.on("error", () => undefined); // the client went away
  socket.end(Buffer.concat([Buffer.from(head, "latin1"), Buffer.from(body)]));
  socket.resume();
}

/** What Node's parser or its timers have found. */
export type ClientError = Error & {
  readonly code?: string;
  readonly rawPacket?: Buffer;
  readonly bytesParsed?: number;
};

const ANSWERS: Readonly<Record<string, Answer>> = {
  HPE_HEADER_OVERFLOW: closing(431, "431 request header fields too large"),
  HPE_CHUNK_EXTENSIONS_OVERFLOW: closing(413, "413 content too large"),
  ERR_HTTP_REQUEST_TIMEOUT: closing(408, "408 request timeout"),
};

/** The answer to a broken request; undefined where there is nobody, or no HTTP, to answer. */
export function answerTo(error: ClientError): Answer | undefined {
  const { code = "" } = error;
  if (code === "HPE_INVALID_METHOD") return isWholeRequest(error) ? METHOD_NOT_ALLOWED : BAD_REQUEST;
  if (Object.hasOwn(ANSWERS, code)) return ANSWERS[code];
  return code.startsWith("HPE_") ? BAD_REQUEST : undefined;
}

/** A method that Node does not know, but in a request line that is one: not allowed, rather than malformed. */
function isWholeRequest({ rawPacket, bytesParsed = 0 }: ClientError): boolean {
  const [, method = ""] =
    /^([\w!#$%&'*+.^`|~-]+) [^\s]+ HTTP\/1\.[01]\r\n/.exec(rawPacket?.toString("latin1") ?? "") ?? [];
  return method !== "" && bytesParsed <= method.length;
}

/**
 * Looks at a connection's first line before the parser does, which takes `GET /` of HTTP/0.9 for the start of a longer
 * request and RTSP for HTTP. Calls back when it is neither HTTP/1.0 nor HTTP/1.1.
 */
export function watchFirstLine(socket: Duplex, onBad: () => void): void {
  socket.prependOnceListener("data", (data: Buffer) => {
    const [, line] = /^(?:\r\n)*([^\r\n]+)\r\n/.exec(data.toString("latin1")) ?? [];
    if (line !== undefined && !/^\S+ \S+ HTTP\/1\.[01]$/.test(line)) onBad();
  });
}
