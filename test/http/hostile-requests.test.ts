/** Raw bytes against the exporter as a real process: each connection ends, and nothing is answered that was smuggled in. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { ExporterProcess } from "../support/exporter-process.ts";
import { endpoint, type Exchange, exchange } from "../support/raw-http.ts";

const HOST = "Host: x\r\n";
const get = (headers: string, body = ""): string => `GET /metrics HTTP/1.1\r\n${HOST}${headers}\r\n${body}`;
const line = (requestLine: string): string => `${requestLine}\r\n${HOST}\r\n`;
/** What a proxy in front believed to be a request of its own. It must never be answered. */
const SMUGGLED = `GET /-/healthy HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
const CHUNKED = "Transfer-Encoding: chunked\r\n";

const MALFORMED: readonly (readonly [what: string, bytes: string])[] = [
  ["Content-Length beside Transfer-Encoding", get(`Content-Length: 4\r\n${CHUNKED}`, "0\r\n\r\n")],
  ["Transfer-Encoding beside Content-Length", get(`${CHUNKED}Content-Length: 4\r\n`, "0\r\n\r\n")],
  ["two equal Content-Length", get("Content-Length: 0\r\nContent-Length: 0\r\n")],
  ["two unequal Content-Length", get("Content-Length: 0\r\nContent-Length: 5\r\n", "hello")],
  ["a list as Content-Length", get("Content-Length: 0, 0\r\n")],
  ["a signed Content-Length", get("Content-Length: +0\r\n")],
  ["a negative Content-Length", get("Content-Length: -1\r\n")],
  ["a hexadecimal Content-Length", get("Content-Length: 0x0\r\n")],
  ["an endless Content-Length", get("Content-Length: 99999999999999999999999\r\n")],
  ["an empty Content-Length", get("Content-Length: \r\n")],
  ["xchunked", get("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")],
  ["chunked in two headers", get(CHUNKED + CHUNKED, "0\r\n\r\n")],
  ["chunked twice", get("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")],
  ["identity", get("Transfer-Encoding: identity\r\n", "0\r\n\r\n")],
  ["chunked before identity", get("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")],
  ["gzip before chunked", get("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")],
  ["a vertical tab before chunked", get("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")],
  ["chunked in quotes", get('Transfer-Encoding: "chunked"\r\n', "0\r\n\r\n")],
  ["a folded Transfer-Encoding", get("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")],
  ["a space before the colon of Transfer-Encoding", get("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")],
  ["Transfer-Encoding in HTTP/1.0", `GET /metrics HTTP/1.0\r\n${CHUNKED}\r\n0\r\n\r\n`],
  ["a chunk size that is none", get(CHUNKED, "zz\r\n")],
  ["a chunk longer than its size", get(CHUNKED, "1\r\nabc\r\n0\r\n\r\n")],
  ["a chunk size with a sign", get(CHUNKED, "+1\r\na\r\n0\r\n\r\n")],
  ["a chunk size with 0x", get(CHUNKED, "0x1\r\na\r\n0\r\n\r\n")],
  ["a chunk size beyond 64 bits", get(CHUNKED, "fffffffffffffffff\r\na\r\n0\r\n\r\n")],
  ["a space after a chunk size", get(CHUNKED, "1 \r\na\r\n0\r\n\r\n")],
  ["line feeds alone between chunks", get(CHUNKED, "1\na\n0\n\n")],
  ["a line feed in a chunk extension", get(CHUNKED, "1;a\nb\r\na\r\n0\r\n\r\n")],
  ["a bad chunk in a POST", `POST /metrics HTTP/1.1\r\n${HOST}${CHUNKED}\r\nzz\r\n`],
  ["line feeds alone", "GET /metrics HTTP/1.1\nHost: x\n\n"],
  ["a line feed alone after a header", get("A: b\n")],
  ["a carriage return alone", "GET /metrics HTTP/1.1\r\nHost: x\rA: b\r\n\r\n"],
  ["a folded header", get("A: b\r\n c\r\n")],
  ["a header folded by a tab", get("A: b\r\n\tc\r\n")],
  ["a space before the first header", `GET /metrics HTTP/1.1\r\n ${HOST}\r\n`],
  ["a space before a colon", get("A : b\r\n")],
  ["a header without a colon", get("A\r\n")],
  ["a header without a name", get(": b\r\n")],
  ["NUL in a header's value", get("A: b\0c\r\n")],
  ["NUL in a header's name", get("A\0: b\r\n")],
  ["a control character in a header", get("A: b\x01c\r\n")],
  ["NUL in the target", line("GET /metrics\0 HTTP/1.1")],
  ["a byte above 127 in the target", line("GET /metrics\xff HTTP/1.1")],
  ["a tab in the target", line("GET /met\trics HTTP/1.1")],
  ["a space in the target", line("GET /met rics HTTP/1.1")],
  ["two spaces before the target", line("GET  /metrics HTTP/1.1")],
  ["a space after the version", line("GET /metrics HTTP/1.1 ")],
  ["HTTP/0.9", "GET /metrics\r\n"],
  ["HTTP/0.9 by name", line("GET /metrics HTTP/0.9")],
  ["HTTP/1.2", line("GET /metrics HTTP/1.2")],
  ["HTTP/2.0 by name", line("GET /metrics HTTP/2.0")],
  ["HTTP/1.10", line("GET /metrics HTTP/1.10")],
  ["a small http", line("GET /metrics http/1.1")],
  ["RTSP", line("GET /metrics RTSP/1.0")],
  ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["a TLS handshake", "\x16\x03\x01\x00\x05\x01\x02\x03\x04\x05"],
  ["no Host in HTTP/1.1", "GET /metrics HTTP/1.1\r\n\r\n"],
  ["two Hosts", "GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
  ["two equal Hosts", "GET /metrics HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"],
  ["a Host that is none", "GET /metrics HTTP/1.1\r\nHost: a/b@c\r\n\r\n"],
  ["a target without a slash", line("GET metrics HTTP/1.1")],
  ["a target of another scheme", line("GET ftp://x/metrics HTTP/1.1")],
  ["an asterisk for one resource", line("GET * HTTP/1.1")],
];

const OTHERWISE: readonly (readonly [status: number, what: string, bytes: string])[] = [
  [200, "an absolute target", line("GET http://elsewhere.example/metrics HTTP/1.1")],
  [200, "an absolute target without a path", line("GET http://elsewhere.example?a HTTP/1.1")],
  [200, "HTTP/1.0 without a Host", "GET /metrics HTTP/1.0\r\n\r\n"],
  [200, "an empty line before the request", `\r\n${line("GET /metrics HTTP/1.1")}`],
  [200, "a body on GET", get("Content-Length: 5\r\n", "hello")],
  [200, "a chunked body on GET with an extension and a trailer", get(CHUNKED, "1;a=b\r\nx\r\n0\r\nA: b\r\n\r\n")],
  [200, "an offer of h2c", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")],
  [200, "an offer of a websocket", get("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")],
  [404, "two slashes", line("GET //metrics HTTP/1.1")],
  [404, "a dot segment", line("GET /../metrics HTTP/1.1")],
  [404, "encoded dots", line("GET /%2e%2e/etc/passwd HTTP/1.1")],
  [404, "a folder", line("GET /api/ HTTP/1.1")],
  [405, "CONNECT", line("CONNECT other.example:443 HTTP/1.1")],
  [405, "CONNECT to a path", line("CONNECT /metrics HTTP/1.1")],
  [405, "OPTIONS of the server", line("OPTIONS * HTTP/1.1")],
  [405, "TRACE", line("TRACE /metrics HTTP/1.1")],
  [405, "an unknown method", line("BREW /metrics HTTP/1.1")],
  [405, "a small get", line("get /metrics HTTP/1.1")],
  [413, "a body declared too large", get("Content-Length: 65537\r\n")],
  [413, "a chunked body too large", get(CHUNKED, `20000\r\n${"a".repeat(0x20000)}\r\n0\r\n\r\n`)],
  [414, "a target too long", line(`GET /${"a".repeat(8_000)} HTTP/1.1`)],
  [417, "an expectation", get("Expect: pony\r\n")],
  [431, "too many headers", get("a:b\r\n".repeat(100))],
  [431, "headers too large", get(`A: ${"a".repeat(16_384)}\r\n`)],
  [431, "a target larger than all headers may be", line(`GET /${"a".repeat(20_000)} HTTP/1.1`)],
];

describe("the exporter under hostile requests", () => {
  let exporter: ExporterProcess;
  beforeAll(async () => {
    exporter = await ExporterProcess.start(["--demo"]);
  });
  afterAll(async () => {
    await exporter.stop();
  });
  const send = (bytes: string): Promise<Exchange> => exchange(endpoint(exporter.address), bytes);

  it.each(MALFORMED)("answers %s with 400, closes, and answers nothing smuggled behind it", async (_what, bytes) => {
    const { statuses, text } = await send(bytes + SMUGGLED);
    expect(statuses).toEqual([400]);
    expect(text).toMatch(/^Connection: close\r$/m);
  });

  it.each(OTHERWISE)("answers %d to %s", async (status, _what, bytes) => {
    const { statuses, text } = await send(bytes + SMUGGLED); // here an ordinary second request, which ends the connection
    expect(statuses[0]).toBe(status);
    if (status === 405) expect(text).toMatch(/^Allow: GET, HEAD\r$/m);
  });

  it("answers pipelined requests in their order", async () => {
    const asked = ["/-/healthy", "/nothing", "/-/ready", "/metrics"].map((path) => line(`GET ${path} HTTP/1.1`));
    expect((await send(asked.join("") + SMUGGLED)).statuses).toEqual([200, 404, 200, 200, 200]);
  });

  it("answers what came before a malformed request, then refuses it", async () => {
    const asked = line("GET /metrics HTTP/1.1") + line("GET /-/healthy HTTP/1.1");
    expect((await send(`${asked}GET / HTTP/1.1\r\nA b\r\n\r\n${SMUGGLED}`)).statuses).toEqual([200, 200, 400]);
  });

  it("answers a last request although more bytes follow", async () => {
    const { statuses } = await send(`${SMUGGLED}and more${line("GET / HTTP/1.1")}`);
    expect(statuses).toEqual([200]);
  });

  it("asks for a body that was announced with an expectation", async () => {
    const { statuses } = await send(get("Expect: 100-continue\r\nContent-Length: 1\r\n", "x") + SMUGGLED);
    expect(statuses).toEqual([100, 200, 200]);
  });

  it("answers every protocol that it does not speak in its own, and then closes", async () => {
    for (const upgrade of ["h2c", "websocket", "TLS/1.0"])
      expect((await send(get(`Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`) + SMUGGLED)).statuses).toEqual([200]);
  });

  it("repeats nothing of a request in its answer, and names no software", async () => {
    const mark = "<script>evil-7f3a</script>";
    const answers = await Promise.all(
      [
        `GET /${encodeURIComponent(mark)}?q=evil-7f3a HTTP/1.1\r\nHost: evil-7f3a\r\nX: ${mark}\r\nConnection: close\r\n\r\n`,
        `GET /?evil-7f3a HTTP/1.1\r\nHost: evil-7f3a\r\nOrigin: http://evil-7f3a\r\nCookie: a=evil-7f3a\r\nConnection: close\r\n\r\n`,
        `EVIL-7f3a /evil-7f3a HTTP/1.1\r\nHost: evil-7f3a\r\n\r\n`,
        `TRACE /metrics HTTP/1.1\r\nHost: evil-7f3a\r\nX: evil-7f3a\r\nConnection: close\r\n\r\n`,
        `GET /metrics HTTP/1.1\r\nHost: evil-7f3a\r\nBad evil-7f3a\r\n\r\n`,
        `CONNECT evil-7f3a:80 HTTP/1.1\r\nHost: evil-7f3a\r\n\r\n`,
      ].map(send),
    );
    expect(answers.map(({ statuses }) => statuses)).toEqual([[404], [200], [405], [405], [400], [405]]);
    for (const { text } of answers) {
      expect(text.toLowerCase()).not.toContain("evil-7f3a");
      expect(text).not.toMatch(/^(server|x-powered-by|access-control-[\w-]+|location|set-cookie):/im);
      expect(text).toMatch(/^X-Content-Type-Options: nosniff\r$/m);
      expect(text).toMatch(/^Cache-Control: no-store\r$/m);
      expect(text).toMatch(/^Content-Length: \d+\r$/m);
      expect(text).toMatch(/^Date: /m);
    }
  });

  it("counts what it has refused, and has crashed nowhere", async () => {
    expect(await exporter.scrape()).toMatch(/http_requests_total\{handler="other",code="400"\} \d{2}/);
    expect(exporter.stderr.filter((entry) => /level=(warn|error)/.test(entry))).toEqual([]);
  });
});
