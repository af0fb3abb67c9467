/**
 * The same web configuration under the real exporter-toolkit and under ours: same answers, or a known difference. The peers are
 * Debian's node_exporter (toolkit 0.8) and, for what came later, Prometheus' own server and promtool (toolkit 0.20).
 */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { hashSync } from "bcryptjs";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { type RequestOptions, request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificate } from "../support/certificates.ts";
import { CIPHERS, CURVES } from "../../src/outputs/http/web-config/names.ts";
import { ExporterProcess } from "../support/exporter-process.ts";
import { eventually, freePort, Programs, tool } from "../support/real-tools.ts";
import { WEB_CONFIG_FILES, writeCertificates } from "../support/web-config-files.ts";

const CLI = join(import.meta.dirname, "../../dist/cli.js");
const HASH = hashSync("secret", 4);
const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
});

describe("a web configuration under the toolkit and under the exporter", () => {
  const folder = mkdtempSync(join(tmpdir(), "real-web-config-"));
  const programs = new Programs();
  const exporters: ExporterProcess[] = [];
  const ca = makeCertificate("test CA", { isCa: true });
  const server = makeCertificate("server", { issuer: ca, ip: ["127.0.0.1"] });
  const client = makeCertificate("client", { issuer: ca, dns: ["scraper.example"] });
  const stranger = makeCertificate("stranger");
  const CLIENTS = {
    none: {},
    ours: { cert: client.cert, key: client.key },
    strange: { cert: stranger.cert, key: stranger.key },
  };

  beforeAll(() => {
    const files = { "ca.pem": ca.cert, "server.pem": server.cert, "server.key": server.key, "prometheus.yml": "" };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  });
  afterAll(async () => {
    await programs.close();
    await Promise.all(exporters.map((exporter) => exporter.stop("SIGKILL")));
    rmSync(folder, { recursive: true, force: true });
  });

  /** Headers that the configuration decides. */
  const CONFIGURED = [
    "www-authenticate",
    "x-frame-options",
    "strict-transport-security",
    "x-xss-protection",
    "content-security-policy",
  ];

  /** What a client sees: status, configured headers, and of a refusal all of its text; or that it was not let in. */
  const ask = (port: number, tls: boolean, options: RequestOptions = {}): Promise<string> =>
    new Promise((resolve) => {
      const send = tls ? httpsRequest : httpRequest;
      const refused = () => {
        resolve("refused");
      };
      const request = send(
        { host: "127.0.0.1", port, path: "/metrics", agent: false, ca: ca.cert, ...options },
        (response) => {
          const { statusCode = 0, headers } = response;
          let body = "";
          response.on("data", (data: Buffer) => (body += data.toString()));
          response.on("end", () => {
            const seen = CONFIGURED.map((name) => headers[name] ?? "-");
            const text = statusCode === 200 ? [] : [headers["content-type"], headers["x-content-type-options"], body];
            resolve([statusCode, ...seen, ...text].join(" | "));
          });
          response.on("error", refused);
        },
      );
      request.on("error", refused);
      request.end();
    });

  type Peer = "node-exporter" | "prometheus";
  const ARGUMENTS: Readonly<Record<Peer, (port: number) => readonly string[]>> = {
    "node-exporter": () => ["--collector.disable-defaults"],
    prometheus: (port) => [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data-${port}`],
  };

  async function both(source: string, peer: Peer) {
    const file = join(folder, `web-${exporters.length}.yml`);
    writeFileSync(file, source);
    const port = await freePort();
    programs.start(peer, [
      ...ARGUMENTS[peer](port),
      `--web.listen-address=127.0.0.1:${port}`,
      `--web.config.file=${file}`,
    ]);
    const exporter = await ExporterProcess.start(["--demo", `--web.config.file=${file}`], { cli: CLI });
    exporters.push(exporter);
    await eventually(async () => {
      const socket = connect(port, "127.0.0.1");
      await once(socket, "connect");
      socket.destroy();
    });
    return { file, toolkit: port, ours: Number(exporter.address.split(":")[1]) };
  }

  const TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
  const CA = `${TLS}  client_ca_file: ca.pem\n`;
  const USERS = `basic_auth_users:\n  alice: ${HASH}\n  bob: ${HASH.replace("$2b$", "$2y$")}\n`;
  const HEADERS =
    "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n";
  const FOLDED =
    "http_server_config:\n  headers:\n    X-XSS-Protection:\n    Content-Security-Policy: >\n      default-src 'self';\n      img-src *\n";
  const indented = (pem: string): string => pem.trimEnd().replaceAll("\n", "\n    ");
  const INLINE = `tls_server_config:\n  cert: |\n    ${indented(server.cert)}\n  key: |\n    ${indented(server.key)}\n  client_ca: |\n    ${indented(ca.cert)}\n  client_auth_type: RequireAndVerifyClientCert\n`;
  const compared = { requests: 0, handshakes: 0 };

  const header = (bytes: string, encoding: BufferEncoding = "utf8") => ({
    authorization: `Basic ${Buffer.from(bytes, encoding).toString("base64")}`,
  });
  const LONG = "ä".repeat(36);
  const MORE_USERS = `  ü: ${hashSync("pässwörd", 4)}\n  long: ${hashSync(LONG, 4)}\n  "12": ${HASH}\n  empty: ${hashSync("", 4)}\n`;
  const HTTP_REQUESTS: readonly RequestOptions[] = [
    {},
    { headers: basic("alice", "secret") },
    { headers: basic("bob", "secret") },
    { headers: basic("alice", "wrong") },
    { headers: basic("alice", "") },
    { headers: basic("eve", "secret") },
    { headers: basic("", "secret") },
    { headers: basic("Alice", "secret") },
    { headers: basic("alice", "secret:") },
    { headers: { authorization: "Bearer x" } },
    { headers: { authorization: "Basic" } },
    { headers: { authorization: "Basic !!!" } },
    { headers: { authorization: `basic ${Buffer.from("alice:secret").toString("base64")}` } },
    { headers: { authorization: `BASIC ${Buffer.from("alice:secret").toString("base64")}` } },
    { headers: { authorization: `Basic  ${Buffer.from("alice:secret").toString("base64")}` } },
    { headers: { authorization: `Basic ${Buffer.from("bob:secret").toString("base64").replace(/=+$/, "")}` } },
    { headers: { authorization: `Basic ${Buffer.from("bob:secret").toString("base64")}=` } },
    { headers: header("no colon") },
    { headers: header("ü:pässwörd") },
    { headers: header("ü:pässwörd", "latin1") },
    { headers: basic("long", LONG) },
    { headers: basic("long", `${LONG} and more`) },
    { headers: basic("12", "secret") },
    { headers: basic("empty", "") },
    { headers: basic("alice", "secret"), method: "HEAD" },
    { method: "HEAD" },
    { path: "/-/healthy" },
    { path: "/-/healthy", headers: basic("alice", "secret") },
  ];
  const HTTP_CONFIGURATIONS: readonly (readonly [what: string, source: string, peer: Peer])[] = [
    ["users", USERS + MORE_USERS, "node-exporter"],
    ["users, as the newest toolkit", USERS + MORE_USERS, "prometheus"],
    ["users and headers", USERS + MORE_USERS + HEADERS, "node-exporter"],
    ["headers", HEADERS, "node-exporter"],
    ["headers folded and blank", FOLDED, "prometheus"],
    ["nothing", "{}\n", "node-exporter"],
  ];
  it.each(HTTP_CONFIGURATIONS)("answers alike with %s", async (_what, source, peer) => {
    const { toolkit, ours } = await both(source, peer);
    // Prometheus itself knows no HEAD of /metrics; that is not the toolkit's.
    for (const options of HTTP_REQUESTS.filter(({ method }) => peer !== "prometheus" || method === undefined)) {
      expect([options, await ask(ours, false, options)]).toEqual([options, await ask(toolkit, false, options)]);
      compared.requests += 1;
    }
  });

  it.each<readonly [what: string, source: string, peer: Peer]>([
    ["NoClientCert", TLS, "node-exporter"],
    ["RequestClientCert", `${CA}  client_auth_type: RequestClientCert\n`, "node-exporter"],
    ["RequireAnyClientCert", `${CA}  client_auth_type: RequireAnyClientCert\n`, "node-exporter"],
    ["RequireClientCert", `${CA}  client_auth_type: RequireClientCert\n`, "node-exporter"],
    ["VerifyClientCertIfGiven", `${CA}  client_auth_type: VerifyClientCertIfGiven\n`, "node-exporter"],
    ["RequireAndVerifyClientCert", `${CA}  client_auth_type: RequireAndVerifyClientCert\n`, "node-exporter"],
    [
      "an allowed name",
      `${CA}  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [scraper.example]\n`,
      "prometheus",
    ],
    [
      "names of others",
      `${CA}  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [a.example]\n`,
      "prometheus",
    ],
    ["no name allowed", `${CA}  client_auth_type: VerifyClientCertIfGiven\n  client_allowed_sans: []\n`, "prometheus"],
    ["inline certificates", INLINE, "prometheus"],
    ["TLS 1.3 only", `${TLS}  min_version: TLS13\n${USERS}`, "node-exporter"],
    [
      "TLS 1.2 only",
      `${TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n${HEADERS}`,
      "node-exporter",
    ],
  ])("lets in alike with %s", async (_what, source, peer) => {
    const { toolkit, ours } = await both(source, peer);
    for (const [name, given] of Object.entries(CLIENTS)) {
      for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
        const options = { ...given, minVersion: version, maxVersion: version };
        expect([name, version, await ask(ours, true, options)]).toEqual([
          name,
          version,
          await ask(toolkit, true, options),
        ]);
        compared.handshakes += 1;
      }
    }
  });

  it("agrees on every cipher and curve of the format, one at a time", async () => {
    const { toolkit, ours } = await both(`${TLS}  min_version: TLS12\n`, "prometheus");
    const offers: readonly RequestOptions[] = [
      ...Object.values(CIPHERS)
        .filter((name) => !name.startsWith("TLS_"))
        .map((ciphers) => ({ ciphers, maxVersion: "TLSv1.2" as const })),
      { ciphers: "AES128-GCM-SHA256", maxVersion: "TLSv1.2" },
      ...Object.values(CURVES).map((ecdhCurve) => ({ ecdhCurve })),
    ];
    for (const options of offers) {
      expect([options, await ask(ours, true, options)]).toEqual([options, await ask(toolkit, true, options)]);
      compared.handshakes += 1;
    }
  });

  it("refuses alike beyond the rate limit", async () => {
    const { toolkit, ours } = await both("rate_limit:\n  interval: 1h\n  burst: 1\n", "prometheus");
    expect([await ask(ours, false), await ask(toolkit, false)]).toEqual([
      expect.stringMatching(/^200 /),
      expect.stringMatching(/^200 /),
    ]);
    expect(await ask(ours, false)).toBe(await ask(toolkit, false));
    expect(await ask(ours, false)).toMatch(/^429 /);
  });

  it("takes changed users alike; differs, as documented, on a broken file", async () => {
    const { file, toolkit, ours } = await both(USERS, "node-exporter");
    writeFileSync(file, USERS.replace("alice", "carol"));
    for (const user of ["alice", "carol"]) {
      const options = { headers: basic(user, "secret") };
      expect(await ask(ours, false, options)).toBe(await ask(toolkit, false, options));
    }
    writeFileSync(file, "broken: [\n");
    const options = { headers: basic("carol", "secret") };
    expect([await ask(toolkit, false, options), await ask(ours, false, options)]).toEqual([
      expect.stringMatching(/^500 /),
      expect.stringMatching(/^200 /),
    ]);
  });

  it("has been compared in at least as many cases as its documentation says", () => {
    expect(compared).toEqual({ requests: 164, handshakes: 88 });
  });

  it("answers others while a hash of cost 14 is computed", async () => {
    const file = join(folder, "slow.yml");
    const slow = HASH.replace("$04$", "$14$"); // matches nothing, at 1,024 times the work
    writeFileSync(file, `basic_auth_users:\n  alice: ${HASH}\n  slow: ${slow}\n`);
    const exporter = await ExporterProcess.start(["--demo", `--web.config.file=${file}`], { cli: CLI });
    exporters.push(exporter);
    const port = Number(exporter.address.split(":")[1]);
    expect(await ask(port, false, { headers: basic("alice", "secret") })).toMatch(/^200 /);
    let isOver = false;
    const guess = ask(port, false, { headers: basic("slow", "guess") }).finally(() => (isOver = true));
    for (let scrape = 0; scrape < 20; scrape++) {
      const startedAt = performance.now();
      expect(await ask(port, false, { headers: basic("alice", "secret") })).toMatch(/^200 /);
      expect(performance.now() - startedAt).toBeLessThan(500);
    }
    expect(isOver).toBe(false);
    expect(await guess).toMatch(/^401 /);
  });

  const WILD = join(folder, "wild");
  it.each(WEB_CONFIG_FILES)("judges alike, or as documented: $name", ({ source, problem, toolkitDiffers }) => {
    writeCertificates(WILD);
    const file = join(WILD, "web-config.yml");
    writeFileSync(file, source);
    const toolkit = spawnSync(tool("promtool"), ["check", "web-config", file], { encoding: "utf8" });
    const ours = spawnSync(process.execPath, [CLI, "check-config", `--web.config.file=${file}`], { encoding: "utf8" });
    expect(ours.status).toBe(problem === undefined ? 0 : 2);
    expect(toolkit.status === 0).toBe((ours.status === 0) !== (toolkitDiffers ?? false));
    if (problem !== undefined) expect(ours.stderr).toContain(problem);
  });
});
