/** The same web configuration under a real exporter-toolkit (Prometheus' own server) and under ours: same answers, or a known difference. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { hashSync } from "bcryptjs";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { type RequestOptions, request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificate } from "../support/certificates.ts";
import { ExporterProcess } from "../support/exporter-process.ts";
import { eventually, freePort, Programs, tool } from "../support/real-tools.ts";

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

  /** What a client sees: status and the headers that the configuration decides, or that it was not let in. */
  const ask = (port: number, tls: boolean, options: RequestOptions = {}): Promise<string> =>
    new Promise((resolve) => {
      const send = tls ? httpsRequest : httpRequest;
      const request = send(
        { host: "127.0.0.1", port, path: "/metrics", agent: false, ca: ca.cert, ...options },
        (response) => {
          response.resume();
          const seen = ["www-authenticate", "x-frame-options", "strict-transport-security"].map(
            (name) => response.headers[name] ?? "-",
          );
          response.on("end", () => {
            resolve([response.statusCode, ...seen].join(" "));
          });
          response.on("error", () => {
            resolve("refused");
          });
        },
      );
      request.on("error", () => {
        resolve("refused");
      });
      request.end();
    });

  async function both(source: string): Promise<readonly [toolkit: number, ours: number]> {
    const file = join(folder, `web-${exporters.length}.yml`);
    writeFileSync(file, source);
    const port = await freePort();
    programs.start("prometheus", [
      `--config.file=${folder}/prometheus.yml`,
      `--storage.tsdb.path=${folder}/data-${port}`,
      `--web.listen-address=127.0.0.1:${port}`,
      `--web.config.file=${file}`,
    ]);
    const exporter = await ExporterProcess.start(["--demo", `--web.config.file=${file}`], { cli: CLI });
    exporters.push(exporter);
    const tls = source.includes("cert_file");
    await eventually(async () => {
      // A refused client shows that it listens, once a TCP connection succeeds.
      const status = await ask(port, tls, CLIENTS.ours);
      if (status === "refused") throw new Error("not listening yet");
    });
    return [port, Number(exporter.address.split(":")[1])];
  }

  const TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
  const CA = `${TLS}  client_ca_file: ca.pem\n`;
  const USERS = `basic_auth_users:\n  alice: ${HASH}\n  bob: ${HASH.replace("$2b$", "$2y$")}\n`;
  const HEADERS =
    "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n";

  const HTTP_REQUESTS: readonly RequestOptions[] = [
    {},
    { headers: basic("alice", "secret") },
    { headers: basic("bob", "secret") },
    { headers: basic("alice", "wrong") },
    { headers: basic("alice", "") },
    { headers: basic("eve", "secret") },
    { headers: { authorization: "Bearer x" } },
    { headers: { authorization: "Basic !!!" } },
    { headers: { authorization: `basic ${Buffer.from("alice:secret").toString("base64")}` } },
    { path: "/-/healthy" },
    { path: "/-/healthy", headers: basic("alice", "secret") },
  ];
  it.each([
    ["users", USERS],
    ["users and headers", USERS + HEADERS],
    ["headers", HEADERS],
    ["nothing", "{}\n"],
  ])("answers alike with %s", async (_what, source) => {
    const [toolkit, ours] = await both(source);
    for (const options of HTTP_REQUESTS) {
      expect([options, await ask(ours, false, options)]).toEqual([options, await ask(toolkit, false, options)]);
    }
  });

  it.each([
    ["NoClientCert", TLS],
    ["RequestClientCert", `${CA}  client_auth_type: RequestClientCert\n`],
    ["RequireAnyClientCert", `${CA}  client_auth_type: RequireAnyClientCert\n`],
    ["VerifyClientCertIfGiven", `${CA}  client_auth_type: VerifyClientCertIfGiven\n`],
    ["RequireAndVerifyClientCert", `${CA}  client_auth_type: RequireAndVerifyClientCert\n`],
    [
      "an allowed name",
      `${CA}  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [scraper.example]\n`,
    ],
    ["TLS 1.3 only", `${TLS}  min_version: TLS13\n${USERS}`],
    [
      "TLS 1.2 only",
      `${TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n${HEADERS}`,
    ],
  ])("lets in alike with %s", async (_what, source) => {
    const [toolkit, ours] = await both(source);
    for (const [name, given] of Object.entries(CLIENTS)) {
      for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
        const options = { ...given, minVersion: version, maxVersion: version };
        expect([name, version, await ask(ours, true, options)]).toEqual([
          name,
          version,
          await ask(toolkit, true, options),
        ]);
      }
    }
  });

  it.each([
    ["basic_auth_users:\n  alice: plain\n"],
    ["tls_server_config:\n  cert_file: server.pem\n"],
    ["tls_server_config:\n  key_file: server.key\n"],
    [CA],
    [`${CA}  client_auth_type: Never\n`],
    [`${TLS}  min_version: TLS20\n`],
    [`${TLS}  cipher_suites: [TLS_MADE_UP]\n`],
    [`${TLS}  curve_preferences: [P1]\n`],
    ["tls_server_config:\n  cert_file: gone.pem\n  key_file: server.key\n"],
    ["tls_server_config:\n  cert_file: ca.pem\n  key_file: server.key\n"],
    ["http_server_config:\n  headers:\n    Server: x\n"],
    ["http_server_config:\n  headers:\n    X-Frame-Options: maybe\n"],
    ["unknown: 1\n"],
    ["tls_server_config:\n  cert: x\n  unknown: 1\n"],
    ["rate_limit:\n  interval: soon\n"],
  ])("is refused by both: %j", (source) => {
    const file = join(folder, "refused.yml");
    writeFileSync(file, source);
    const toolkit = spawnSync(tool("promtool"), ["check", "web-config", file], { encoding: "utf8" });
    const ours = spawnSync(process.execPath, [CLI, "check-config", `--web.config.file=${file}`], { encoding: "utf8" });
    expect([toolkit.status, ours.status]).toEqual([1, 2]);
    expect(ours.stderr).toContain(file);
  });
});
