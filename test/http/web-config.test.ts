import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { hashSync } from "bcryptjs";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { type RequestOptions, request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { systemClock } from "../../src/lib/clock.ts";
import type { Logger } from "../../src/logger.ts";
import { text } from "../../src/outputs/http/answer.ts";
import type { HttpLimits } from "../../src/outputs/http/limits.ts";
import { HttpServer } from "../../src/outputs/http/server.ts";
import { readWebFormat } from "../../src/outputs/http/web-config/format.ts";
import { CURVES } from "../../src/outputs/http/web-config/names.ts";
import { alternativeNames } from "../../src/outputs/http/web-config/tls.ts";
import { checkWebConfig, WebConfig } from "../../src/outputs/http/web-config/web-config.ts";
import { makeCertificate } from "../support/certificates.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { exchange } from "../support/raw-http.ts";

const HASH = hashSync("secret", 4);

describe("the format", () => {
  const problemsOf = (source: string): readonly string[] => readWebFormat(source, "/etc/web.yml").problems;

  it.each([
    ["an empty file", ""],
    ["only comments", "# nothing\n"],
    ["empty sections", "tls_server_config:\nbasic_auth_users:\nhttp_server_config:\n"],
    ["users without TLS", `basic_auth_users:\n  alice: ${HASH}\n  bob: ${HASH.replace("$2b$", "$2y$")}\n`],
    ["files", "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"],
    ["inline texts", "tls_server_config:\n  cert: |\n    PEM\n  key: |\n    PEM\n"],
    [
      "headers",
      "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n    Strict-Transport-Security: max-age=1\n",
    ],
    ["a rate limit", "rate_limit:\n  interval: 1m30s\n  burst: 3\n"],
    [
      "every cipher, curve and version",
      "tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS10\n  max_version: TLS12\n  prefer_server_cipher_suites: false\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]\n",
    ],
    [
      "the older name of a policy",
      "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_ca_file: c\n  client_auth_type: RequireClientCert\n",
    ],
  ])("takes %s", (_what, source) => {
    expect(problemsOf(source)).toEqual([]);
  });

  const BAD: readonly (readonly [source: string, problem: string])[] = [
    ["tls_config:\n  x: 1\n", '/etc/web.yml:1: unknown key "tls_config"'],
    ["tls_server_config:\n  cert_filse: a\n", '/etc/web.yml:2: unknown key "cert_filse" in tls_server_config'],
    ["tls_server_config:\n  cert_file: a\n", "/etc/web.yml:1: tls_server_config: missing one of key or key_file"],
    ["tls_server_config:\n  key_file: a\n", "/etc/web.yml:1: tls_server_config: missing one of cert or cert_file"],
    [
      "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_ca_file: c\n",
      "a client CA needs a client_auth_type",
    ],
    [
      "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: Sure\n",
      '/etc/web.yml:4: tls_server_config.client_auth_type: unknown "Sure"',
    ],
    ["tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS9\n", 'min_version: unknown "TLS9"'],
    [
      "tls_server_config:\n  cert_file: a\n  key_file: b\n  cipher_suites: [TLS_MADE_UP]\n",
      'cipher_suites: unknown "TLS_MADE_UP"',
    ],
    [
      "tls_server_config:\n  cert_file: a\n  key_file: b\n  cipher_suites: TLS_AES_128_GCM_SHA256\n",
      "expected a list of texts",
    ],
    [
      "tls_server_config:\n  cert_file: a\n  key_file: b\n  curve_preferences: [P1]\n",
      'curve_preferences: unknown "P1"',
    ],
    [
      "basic_auth_users:\n  alice: secret\n",
      '/etc/web.yml:2: basic_auth_users: the password of "alice" is no bcrypt hash',
    ],
    ["basic_auth_users: [a]\n", "basic_auth_users: expected keys and values"],
    ["http_server_config:\n  headers:\n    Server: x\n", '/etc/web.yml:3: HTTP header "Server" can not be configured'],
    [
      "http_server_config:\n  headers:\n    X-Frame-Options: maybe\n",
      "invalid value for X-Frame-Options: expected deny or sameorigin",
    ],
    ['http_server_config:\n  headers:\n    X-XSS-Protection: "1\\r\\nSet-Cookie: a"\n', "no control characters"],
    ["http_server_config:\n  http2: perhaps\n", "expected true or false"],
    ["rate_limit:\n  interval: soon\n", "expected a duration"],
    ["rate_limit:\n  interval: 1s\n  burst: -1\n", "expected a whole number"],
    ["- a\n", "expected keys and values"],
    ["a: b: c\n", "/etc/web.yml:1:"],
  ];
  it.each(BAD)("refuses %j with a line", (source, problem) => {
    expect(problemsOf(source)).toEqual([expect.stringContaining(problem)]);
  });

  it("names all problems at once, and no password", () => {
    const problems = problemsOf("basic_auth_users:\n  a: hunter2\nrate_limit:\n  bursts: 1\nx: 1\n");
    expect(problems).toHaveLength(3);
    expect(problems.join()).not.toContain("hunter2");
  });

  it("reads Go's durations", () => {
    const interval = (value: string) =>
      readWebFormat(`rate_limit: {interval: ${value}}\n`, "f").format?.rateLimit?.intervalMs;
    expect([interval("1m30s"), interval("500ms"), interval("1.5h"), interval("2000000")]).toEqual([
      90_000, 500, 5_400_000, 2,
    ]);
  });

  it("reads alternative names as Node prints them", () => {
    expect(alternativeNames("IP Address:2001:DB8:0:0:0:0:0:1, DNS:x")).toEqual(["2001:db8::1", "x"]); // as Go writes it
    expect(alternativeNames('DNS:a.b, IP Address:127.0.0.1, email:x@y, URI:spiffe://z, DNS:"odd, DNS:name"')).toEqual([
      "a.b",
      "127.0.0.1",
      "x@y",
      "spiffe://z",
      "odd, DNS:name",
    ]);
  });
});

describe("serving", () => {
  const folder = mkdtempSync(join(tmpdir(), "web-config-"));
  const file = join(folder, "web.yml");
  const servers: HttpServer[] = [];
  const lines: string[] = [];
  const say = (message: string): void => {
    lines.push(message);
  };
  const logger: Logger = { debug: () => undefined, info: say, warn: say, error: say };
  const ca = makeCertificate("test CA", { isCa: true });
  const server = makeCertificate("server", { issuer: ca, ip: ["127.0.0.1"] });
  const client = makeCertificate("client", { issuer: ca, dns: ["scraper.example"] });
  const stranger = makeCertificate("stranger");

  beforeAll(() => {
    const files = { "ca.pem": ca.cert, "server.pem": server.cert, "server.key": server.key };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  });
  afterEach(async () => {
    lines.length = 0;
    await Promise.all(servers.splice(0).map((running) => running.close()));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  const TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

  async function serve(
    source: string,
    options: { clock?: FakeClock; limits?: Partial<HttpLimits> } = {},
  ): Promise<number> {
    writeFileSync(file, source);
    const { clock = systemClock, limits = {} } = options;
    const webConfig = new WebConfig({ path: file, clock, logger });
    const made = new HttpServer({
      addresses: [{ host: "127.0.0.1", port: 0 }],
      routes: new Map([["/a", { name: "a", answer: () => text(200, "hello") }]]),
      logger,
      webConfig,
      onRequest: () => undefined,
      limits,
    });
    servers.push(made);
    const [address = ""] = await made.listen();
    return Number(address.split(":")[1]);
  }

  interface Got {
    readonly status: number;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
    readonly body: string;
    readonly protocol?: string | null;
    readonly cipher?: string;
  }

  const get = (port: number, options: RequestOptions & { tls?: boolean } = {}): Promise<Got> =>
    new Promise((resolve, reject) => {
      const { tls = false, ...rest } = options;
      const send = tls ? httpsRequest : httpRequest;
      const request = send(
        { host: "127.0.0.1", port, path: "/a", agent: false, ...(tls && { ca: ca.cert }), ...rest },
        (response) => {
          let body = "";
          const socket = tls ? (response.socket as unknown as TLSSocket) : undefined;
          const seen = socket && { protocol: socket.getProtocol(), cipher: socket.getCipher().name };
          response.on("data", (data: Buffer) => (body += data.toString()));
          response.on("end", () => {
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body, ...seen });
          });
          response.on("error", reject);
        },
      );
      request.on("error", reject);
      request.end();
    });

  const basic = (user: string, password: string) => ({
    headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` },
  });

  it("asks for a password, answers 401 as the toolkit does, and lets the right one in", async () => {
    const port = await serve(
      `basic_auth_users:\n  alice: ${HASH}\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n`,
    );
    const refused = await get(port);
    expect([
      refused.status,
      refused.body,
      refused.headers["www-authenticate"],
      refused.headers["x-frame-options"],
    ]).toEqual([401, "Unauthorized\n", "Basic", "deny"]);
    expect((await get(port, { ...basic("alice", "secret") })).status).toBe(200);
    expect((await get(port, { ...basic("alice", "wrong") })).status).toBe(401);
    expect((await get(port, { ...basic("nobody", "secret") })).status).toBe(401);
    expect((await get(port, { headers: { authorization: "Bearer x" } })).status).toBe(401);
    expect((await get(port, { path: "/unknown" })).status).toBe(401);
  });

  it("takes changed users with the next request, and keeps the old ones while the file is broken or gone", async () => {
    const port = await serve(`basic_auth_users:\n  alice: ${HASH}\n`);
    writeFileSync(file, `basic_auth_users:\n  robert: ${HASH}\n`);
    expect((await get(port, { ...basic("robert", "secret") })).status).toBe(200);
    expect((await get(port, { ...basic("alice", "secret") })).status).toBe(401);
    writeFileSync(file, "nonsense: [\n");
    expect((await get(port, { ...basic("robert", "secret") })).status).toBe(200);
    rmSync(file);
    expect((await get(port, { ...basic("robert", "secret") })).status).toBe(200);
    expect(lines.filter((line) => line.includes("not taken over"))).toHaveLength(1);
    writeFileSync(file, "");
    expect((await get(port)).status).toBe(200);
    expect(lines).toContain("web configuration is good again");
  });

  it("answers 429 beyond the rate limit, and goes on when time has passed", async () => {
    const clock = new FakeClock();
    const port = await serve("rate_limit:\n  interval: 1s\n  burst: 2\n", { clock });
    const statuses = async () => [(await get(port)).status, (await get(port)).status, (await get(port)).status];
    expect(await statuses()).toEqual([200, 200, 429]);
    await clock.advance(1_000);
    expect(await statuses()).toEqual([200, 429, 429]);
  });

  it("speaks TLS 1.2 to 1.3 with the ciphers and curves named", async () => {
    const port = await serve(
      `${TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  curve_preferences: [CurveP384]\n`,
    );
    expect(await get(port, { tls: true })).toMatchObject({
      status: 200,
      protocol: "TLSv1.2",
      cipher: "ECDHE-ECDSA-AES256-GCM-SHA384",
    });
    await expect(get(port, { tls: true, minVersion: "TLSv1.3" })).rejects.toThrow();
    await expect(get(port, { tls: true, ecdhCurve: "X25519" })).rejects.toThrow();
    await expect(get(port)).rejects.toThrow();
    const modern = await serve(`${TLS}  min_version: TLS13\n`);
    expect((await get(modern, { tls: true })).protocol).toBe("TLSv1.3");
    await expect(get(modern, { tls: true, maxVersion: "TLSv1.2" })).rejects.toThrow();
  });

  it("takes the best of the ciphers named, whatever their order, as Go does", async () => {
    const port = await serve(
      `${TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n`,
    );
    expect((await get(port, { tls: true })).cipher).toBe("ECDHE-ECDSA-AES256-GCM-SHA384");
    const offered = "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0";
    expect((await get(port, { tls: true, ciphers: offered })).cipher).toBe("ECDHE-ECDSA-AES128-SHA");
    expect((await get(await serve(TLS), { tls: true, maxVersion: "TLSv1.2" })).cipher).toBe(
      "ECDHE-ECDSA-AES128-GCM-SHA256",
    );
  });

  it.each(Object.entries(CURVES))("agrees on %s, which Node calls %s", async (name, ecdhCurve) => {
    const port = await serve(`${TLS}  curve_preferences: [${name}]\n`);
    expect((await get(port, { tls: true, ecdhCurve })).status).toBe(200);
    await expect(get(port, { tls: true, ecdhCurve: name === "X25519" ? "P-256" : "X25519" })).rejects.toThrow();
  });

  it("cuts a connection whose TLS handshake does not end", async () => {
    const port = await serve(TLS, { limits: { handshakeMs: 30 } });
    await expect(exchange({ host: "127.0.0.1", port }, "\x16\x03\x01\x02\x00")).resolves.toMatchObject({
      statuses: [],
    });
  });

  it("answers malformed requests and CONNECT over TLS too, behind the password and with the configured headers", async () => {
    const source = `${TLS}basic_auth_users:\n  alice: ${HASH}\nhttp_server_config:\n  headers:\n    Strict-Transport-Security: max-age=1\n`;
    const port = await serve(source);
    const ask = (bytes: string) =>
      new Promise<string>((resolve) => {
        let text = "";
        const socket = tlsConnect({ host: "127.0.0.1", port, ca: ca.cert }, () => socket.write(bytes));
        socket.on("data", (data: Buffer) => (text += data.toString()));
        socket.on("close", () => {
          resolve(text);
        });
      });
    const { headers } = basic("alice", "secret");
    const answers = [
      await ask("GET /a\r\n"),
      await ask("GET /a HTTP/1.1\r\nHost: x\r\nA b\r\n\r\n"),
      await ask("CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n"),
      await ask(`CONNECT a:1 HTTP/1.1\r\nHost: x\r\nAuthorization: ${headers.authorization}\r\n\r\n`),
    ];
    expect(answers.map((text) => text.slice(9, 12))).toEqual(["400", "400", "401", "405"]);
    for (const text of answers) expect(text).toMatch(/^Strict-Transport-Security: max-age=1\r$/m);
  });

  it("sends a folded header on one line and in UTF-8, and lets it win over the exporter's own", async () => {
    const port = await serve(
      "http_server_config:\n  headers:\n    X-XSS-Protection: é\n    Content-Security-Policy: |\n      default-src 'self';\n      img-src *\n",
    );
    const { headers } = await get(port);
    expect(headers["content-security-policy"]).toBe("default-src 'self'; img-src *");
    expect(Buffer.from(String(headers["x-xss-protection"]), "latin1").toString()).toBe("é");
  });

  it("refuses TLS 1.1 unless told to allow it", async () => {
    const old: RequestOptions = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" };
    await expect(get(await serve(TLS), { tls: true, ...old })).rejects.toThrow();
    expect((await get(await serve(`${TLS}  min_version: TLS10\n`), { tls: true, ...old })).protocol).toBe("TLSv1.1");
  });

  const GIVEN = {
    none: {},
    ours: { cert: client.cert, key: client.key },
    strange: { cert: stranger.cert, key: stranger.key },
  };
  const POLICIES: readonly (readonly [policy: string, ca: boolean, lets: readonly (keyof typeof GIVEN)[]])[] = [
    ["NoClientCert", false, ["none", "ours", "strange"]],
    ["RequestClientCert", true, ["none", "ours", "strange"]],
    ["RequireAnyClientCert", true, ["ours", "strange"]],
    ["VerifyClientCertIfGiven", true, ["none", "ours"]],
    ["RequireAndVerifyClientCert", true, ["ours"]],
  ];
  it.each(POLICIES)("lets in whom %s lets in", async (policy, withCa, lets) => {
    const port = await serve(`${TLS}  client_auth_type: ${policy}\n${withCa ? "  client_ca_file: ca.pem\n" : ""}`);
    for (const [name, given] of Object.entries(GIVEN)) {
      const answer = await get(port, { tls: true, ...given }).then(
        ({ status }) => status,
        () => "refused",
      );
      expect([name, answer]).toEqual([name, lets.includes(name as keyof typeof GIVEN) ? 200 : "refused"]);
    }
  });

  it("lets in only clients with an allowed name", async () => {
    const source = (name: string) =>
      `${TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: [${name}]\n`;
    expect((await get(await serve(source("scraper.example")), { tls: true, ...GIVEN.ours })).status).toBe(200);
    await expect(get(await serve(source("other.example")), { tls: true, ...GIVEN.ours })).rejects.toThrow();
  });

  it("once let in a client without a certificate although names are asked for", async () => {
    for (const policy of ["RequestClientCert", "VerifyClientCertIfGiven"]) {
      const source = `${TLS}  client_auth_type: ${policy}\n  client_ca_file: ca.pem\n  client_allowed_sans: [scraper.example]\n`;
      const port = await serve(source);
      await expect(get(port, { tls: true })).rejects.toThrow();
      expect((await get(port, { tls: true, ...GIVEN.ours })).status).toBe(200);
    }
  });

  it("takes a renewed certificate and a stricter policy with the next connection; a broken key keeps the old", async () => {
    const port = await serve(TLS);
    expect((await get(port, { tls: true })).status).toBe(200);
    const other = makeCertificate("other CA", { isCa: true });
    const renewed = makeCertificate("server", { issuer: other, ip: ["127.0.0.1"] });
    writeFileSync(join(folder, "server.key"), "no key");
    expect((await get(port, { tls: true })).status).toBe(200);
    writeFileSync(join(folder, "server.pem"), renewed.cert);
    writeFileSync(join(folder, "server.key"), renewed.key);
    await expect(get(port, { tls: true })).rejects.toThrow();
    expect((await get(port, { tls: true, ca: other.cert })).status).toBe(200);
    writeFileSync(join(folder, "server.pem"), server.cert);
    writeFileSync(join(folder, "server.key"), server.key);
    writeFileSync(file, `${TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n`);
    await expect(get(port, { tls: true })).rejects.toThrow();
    expect((await get(port, { tls: true, ...GIVEN.ours })).status).toBe(200);
    writeFileSync(file, "");
    expect((await get(port, { tls: true, ...GIVEN.ours })).status).toBe(200); // TLS is not switched off under a running server
  });

  it("says which file of a configuration cannot be used", () => {
    writeFileSync(file, "tls_server_config:\n  cert_file: gone.pem\n  key_file: server.key\n");
    expect(checkWebConfig(file)).toEqual([expect.stringContaining(`cannot read the certificate ${folder}/gone.pem`)]);
    writeFileSync(file, "tls_server_config:\n  cert_file: ca.pem\n  key_file: server.key\n");
    expect(checkWebConfig(file)).toEqual([expect.stringContaining("cannot be used together")]);
    expect(() => checkWebConfig(join(folder, "none.yml"))).toThrow("Cannot read --web.config.file");
  });
});
