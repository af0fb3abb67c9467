/** A changed web configuration under a running server, and clients that were there before. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { hashSync } from "bcryptjs";
import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect as tlsConnect } from "node:tls";
import { systemClock } from "../../src/lib/clock.ts";
import type { Logger } from "../../src/logger.ts";
import { text } from "../../src/outputs/http/answer.ts";
import { HttpServer } from "../../src/outputs/http/server.ts";
import { RememberedFiles } from "../../src/outputs/http/web-config/remembered-files.ts";
import { WebConfig } from "../../src/outputs/http/web-config/web-config.ts";
import { makeCertificate } from "../support/certificates.ts";
import { FakeClock } from "../support/fake-clock.ts";

const HASH = hashSync("secret", 4);
const users = (...names: readonly string[]): string =>
  `basic_auth_users:\n${names.map((name) => `  ${name}: ${HASH}\n`).join("")}`;
const ca = makeCertificate("test CA", { isCa: true });
const server = makeCertificate("server", { issuer: ca, ip: ["127.0.0.1"] });

describe("a web configuration that changes", () => {
  const root = mkdtempSync(join(tmpdir(), "web-config-reload-"));
  const lines: string[] = [];
  const say = (message: string, fields?: object): void => {
    lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
  };
  const logger: Logger = { debug: () => undefined, info: say, warn: say, error: say };
  const closing: (() => unknown)[] = [];
  let folder = root;
  let file = "";

  beforeEach(() => {
    folder = mkdtempSync(join(root, "test-"));
    file = join(folder, "web.yml");
    writeFileSync(join(folder, "server.pem"), server.cert);
    writeFileSync(join(folder, "server.key"), server.key);
  });
  afterEach(async () => {
    lines.length = 0;
    for (const close of closing.splice(0).reverse()) await close();
  });
  afterAll(() => {
    rmSync(root, { recursive: true });
  });

  const TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

  async function serve(source: string, clock = systemClock): Promise<number> {
    writeFileSync(file, source);
    const made = new HttpServer({
      addresses: [{ host: "127.0.0.1", port: 0 }],
      routes: new Map([["/a", { name: "a", answer: () => text(200, "hello") }]]),
      logger,
      webConfig: new WebConfig({ path: file, clock, logger }),
      onRequest: () => undefined,
    });
    closing.push(() => made.close());
    const [address = ""] = await made.listen();
    return Number(address.split(":")[1]);
  }

  interface Client {
    /** Asks on the client's one connection: `200 by 41234`, or what went wrong. */
    ask(user: string, path?: string): Promise<string>;
  }

  /** A client that keeps its connection. */
  function client(port: number, { tls = false, handshake = {} } = {}): Client {
    const options = { keepAlive: true, maxSockets: 1 };
    const agent = tls ? new HttpsAgent({ ...options, ca: ca.cert, ...handshake }) : new HttpAgent(options);
    closing.push(() => {
      agent.destroy();
    });
    return {
      ask: (user) =>
        new Promise((resolve) => {
          const send = tls ? httpsRequest : httpRequest;
          const request = send({ host: "127.0.0.1", port, path: "/a", agent, auth: `${user}:secret` }, (response) => {
            const { localPort } = response.socket;
            response.resume().on("end", () => {
              resolve(`${response.statusCode ?? 0} by ${localPort ?? 0}`);
            });
          });
          request.on("error", ({ message }) => {
            resolve(message);
          });
          request.end();
        }),
    };
  }

  it("is in force with the next request of a connection that stays", async () => {
    const scraper = client(await serve(users("alice")));
    const first = await scraper.ask("alice");
    expect(first).toMatch(/^200 /);
    writeFileSync(file, users("robert"));
    expect(await scraper.ask("alice")).toBe(first.replace("200", "401"));
    expect(await scraper.ask("robert")).toBe(first);
    expect(lines).toEqual([`web configuration taken over {"file":"${file}"}`]);
  });

  it("leaves a TLS connection alone when certificate, key and policy are others", async () => {
    const port = await serve(TLS + users("alice"));
    const scraper = client(port, { tls: true });
    const first = await scraper.ask("alice");
    expect(first).toMatch(/^200 /);
    const otherCa = makeCertificate("other CA", { isCa: true });
    const renewed = makeCertificate("server", { issuer: otherCa, ip: ["127.0.0.1"] });
    writeFileSync(join(folder, "server.pem"), renewed.cert);
    writeFileSync(join(folder, "server.key"), renewed.key);
    writeFileSync(file, `${TLS}  client_auth_type: RequireAnyClientCert\n${users("alice")}`);
    expect(await scraper.ask("alice")).toBe(first);
    expect(await client(port, { tls: true }).ask("alice")).toMatch(/self-signed certificate|unable to verify/);
    const { cert, key } = makeCertificate("client");
    const trusted = { ca: otherCa.cert, cert, key };
    expect(await client(port, { tls: true, handshake: trusted }).ask("alice")).toMatch(/^200 /);
    expect(await scraper.ask("alice")).toBe(first);
  });

  /** One handshake and request: whether the session was resumed, and the answer. */
  const handshake = (port: number, options: ConnectionOptions) =>
    new Promise<{ session: Buffer | undefined; resumed: boolean; answer: string }>((resolve) => {
      let session: Buffer | undefined;
      let answer = "";
      let resumed = false;
      const socket = tlsConnect({ host: "127.0.0.1", port, ca: ca.cert, ...options });
      socket.on("session", (given: Buffer) => (session = given));
      socket.on("secureConnect", () => {
        resumed = socket.isSessionReused();
        socket.write("GET /a HTTP/1.0\r\n\r\n");
      });
      socket.on("data", (data: Buffer) => (answer += data.toString()));
      socket.on("error", () => undefined);
      socket.on("close", () => {
        resolve({ session, resumed, answer: answer.slice(0, 12) });
      });
    });
  const MUTUAL = `${TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n`;

  it.each(["TLSv1.2", "TLSv1.3"] as const)(
    "was once resumed past: a %s session ends with its policy",
    async (version) => {
      const only = { minVersion: version, maxVersion: version };
      const port = await serve(TLS);
      const { session = Buffer.alloc(0) } = await handshake(port, only);
      expect(await handshake(port, { ...only, session })).toMatchObject({ resumed: true, answer: "HTTP/1.1 200" });
      writeFileSync(join(folder, "ca.pem"), ca.cert);
      writeFileSync(file, MUTUAL);
      expect(await handshake(port, { ...only, session })).toMatchObject({ resumed: false, answer: "" });
    },
  );

  it.each(["TLSv1.2", "TLSv1.3"] as const)("ends a %s session with the client CA that let it in", async (version) => {
    const { cert, key } = makeCertificate("client", { issuer: ca });
    const only = { minVersion: version, maxVersion: version, cert, key };
    writeFileSync(join(folder, "ca.pem"), ca.cert);
    const port = await serve(MUTUAL);
    const { session = Buffer.alloc(0) } = await handshake(port, only);
    expect(await handshake(port, { ...only, session })).toMatchObject({ resumed: true, answer: "HTTP/1.1 200" });
    writeFileSync(join(folder, "ca.pem"), makeCertificate("new CA", { isCa: true }).cert);
    expect(await handshake(port, { ...only, session })).toMatchObject({ answer: "" });
  });

  const CHANGES: readonly (readonly [how: string, change: (source: string) => void])[] = [
    [
      "written in place",
      (source) => {
        writeFileSync(file, source);
      },
    ],
    [
      "renamed into place",
      (source) => {
        writeFileSync(`${file}.new`, source);
        renameSync(`${file}.new`, file);
      },
    ],
    [
      "written with the old time set again",
      (source) => {
        const { atime, mtime } = statSync(file);
        writeFileSync(file, source);
        utimesSync(file, atime, mtime);
      },
    ],
    [
      "a link that turns, as Kubernetes mounts it",
      (source) => {
        mkdirSync(join(folder, "..data_2"));
        writeFileSync(join(folder, "..data_2/web.yml"), source);
        symlinkSync("..data_2/web.yml", `${file}.link`);
        renameSync(`${file}.link`, file);
      },
    ],
  ];
  it.each(CHANGES)("is seen when it is %s, at the same size", async (_how, change) => {
    const scraper = client(await serve(users("alice")));
    expect(await scraper.ask("alice")).toMatch(/^200 /);
    change(users("carol"));
    expect(await scraper.ask("carol")).toMatch(/^200 /);
    expect(await scraper.ask("alice")).toMatch(/^401 /);
  });

  it("keeps the old settings while it is broken, says so once, and once when it is good", async () => {
    const scraper = client(await serve(users("alice")));
    writeFileSync(file, "basic_auth_users: nonsense\n");
    for (let index = 0; index < 5; index++) expect(await scraper.ask("alice")).toMatch(/^200 /);
    rmSync(file);
    for (let index = 0; index < 5; index++) expect(await scraper.ask("alice")).toMatch(/^200 /);
    writeFileSync(file, users("robert"));
    for (let index = 0; index < 5; index++) expect(await scraper.ask("robert")).toMatch(/^200 /);
    expect(lines).toEqual([
      `web configuration not taken over; the old one stays in force ${JSON.stringify({ file, error: `${file}:1: basic_auth_users: expected keys and values` })}`,
      `web configuration is good again {"file":"${file}"}`,
    ]);
  });

  it("was once not noticed to be good again when the certificate that it names came later", async () => {
    const port = await serve(TLS);
    const ask = () => client(port, { tls: true }).ask("nobody");
    writeFileSync(file, TLS.replace("server.pem", "renewed.pem"));
    expect(await ask()).toMatch(/^200 /);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(`cannot read the certificate ${join(folder, "renewed.pem")}`);
    writeFileSync(join(folder, "renewed.pem"), server.cert);
    expect(await ask()).toMatch(/^200 /);
    expect(lines[1]).toContain("web configuration is good again");
  });

  it("goes on counting an unchanged rate limit, and takes over a changed one", async () => {
    const clock = new FakeClock(Date.now());
    const limit = (burst: number): string => `rate_limit:\n  interval: 1h\n  burst: ${burst}\n`;
    const scraper = client(await serve(limit(2), clock));
    expect(await scraper.ask("a")).toMatch(/^200 /);
    writeFileSync(file, `${limit(2)}http_server_config:\n  headers:\n    X-Frame-Options: deny\n`);
    expect(await scraper.ask("a")).toMatch(/^200 /);
    expect(await scraper.ask("a")).toMatch(/^429 /);
    writeFileSync(file, limit(1));
    expect(await scraper.ask("a")).toMatch(/^200 /);
    expect(await scraper.ask("a")).toMatch(/^429 /);
  });

  it("is not taken over, nor said to be, when it was only touched", async () => {
    const scraper = client(await serve(users("alice")));
    writeFileSync(file, users("alice"));
    expect(await scraper.ask("alice")).toMatch(/^200 /);
    expect(lines).toEqual([]);
  });
});

describe("RememberedFiles", () => {
  const folder = mkdtempSync(join(tmpdir(), "remembered-files-"));
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it("sees every change, those of one size within one tick of the file system's clock too", () => {
    const path = join(folder, "often");
    for (let index = 1_000; index < 1_200; index++) {
      writeFileSync(path, String(index));
      const files = new RememberedFiles(() => Date.now());
      files.read(path);
      expect(files.haveChanged()).toBe(false);
      writeFileSync(path, String(index + 1_000));
      expect(files.haveChanged()).toBe(true);
    }
  });

  it("reads no more than stamps once the files have been left alone for two seconds", () => {
    const path = join(folder, "settled");
    writeFileSync(path, "a");
    let now = Date.now();
    const files = new RememberedFiles(() => now);
    files.read(path);
    now += 3_000;
    expect(files.haveChanged()).toBe(false);
    const { atimeMs } = statSync(path);
    expect(files.haveChanged()).toBe(false);
    expect(statSync(path).atimeMs).toBe(atimeMs);
  });

  it("counts a file that comes or goes as changed", () => {
    const path = join(folder, "comes");
    const files = new RememberedFiles(() => Date.now());
    expect(() => files.read(path)).toThrow("ENOENT");
    expect(files.haveChanged()).toBe(false);
    writeFileSync(path, "a");
    expect(files.haveChanged()).toBe(true);
    files.read(path);
    rmSync(path);
    expect(files.haveChanged()).toBe(true);
  });
});
