/** Secrets planted wherever one can be given, looked for in everything that the process prints, serves and shows. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { hashSync } from "bcryptjs";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "../src/command.ts";
import { ExporterProcess } from "./support/exporter-process.ts";
import { type Behaviour, FakeOllama } from "./support/fake-ollama.ts";
import { FakeOtlp } from "./support/fake-otlp.ts";
import { FakeDriver, h100 } from "./support/nvml/fake-nvml.ts";
import { makeCertificate } from "./support/certificates.ts";

const CANARY = "canary";
/** A text that stands nowhere else. */
const secret = (name: string): string => `${CANARY}-${name}-7f3a91`;

const PATHS = [
  ...["/", "/metrics", "/metrics/otel", "/-/healthy", "/-/ready", "/api/v1/status", "/api/ollama/status"],
  ...["/api/ollama/processes", "/api/ollama/gpu", "/nowhere"],
];

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function fileWith(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "secrets-"));
  closing.push(() => {
    rmSync(folder, { recursive: true });
  });
  const file = join(folder, "file");
  writeFileSync(file, text);
  return file;
}

/** Everything that the command line prints before it ends. */
async function printed(
  argv: readonly string[],
  env: Record<string, string>,
): Promise<{ readonly text: string; readonly exitCode: number }> {
  let text = "";
  const stream = { on: () => stream, write: (chunk: string) => (text += chunk) } as unknown as NodeJS.WriteStream;
  let exitCode = 0;
  await runCommand({
    input: { argv, env },
    out: stream,
    err: stream,
    exit: (code) => (exitCode = code),
    onSignal: () => undefined,
  });
  return { text, exitCode };
}

async function mustNotRepeat(flags: readonly string[], env: Record<string, string>): Promise<void> {
  for (const command of ["check-config", "serve"]) {
    const { text, exitCode } = await printed([command, ...flags], env);
    expect(exitCode).toBeGreaterThan(0);
    expect(text).not.toBe("");
    expect(text).not.toContain(CANARY);
  }
}

describe("a configuration that is refused", () => {
  const SECRET = secret("refused");
  type Case = readonly [what: string, argv: readonly string[], env: Record<string, string>, file: string];
  const CASES: readonly Case[] = [
    ["a header without a name", [`--ollama.header=${SECRET}`], {}, ""],
    ["a header with a control character", [`--ollama.header=Authorization: Bearer ${SECRET}\n`, "--x"], {}, ""],
    ["a flag that nobody knows, and its value", ["--ollama.headers", `Authorization: Bearer ${SECRET}`], {}, ""],
    ["a header in the environment", [], { OLLAMA_GPU_EXPORTER_OLLAMA_HEADER: SECRET }, ""],
    ["a password in a server's address", [`--ollama.host=http://user:${SECRET}@host:1`], {}, ""],
    ["a password in OLLAMA_HOST", [], { OLLAMA_HOST: `https://user:${SECRET}@host` }, ""],
    ["a password behind a name", [`--ollama.host=big=http://user:${SECRET}@host:1`], {}, ""],
    ["a key in a server's query", [`--ollama.host=http://host/?key=${SECRET}`], {}, ""],
    ["a key in a server's query, without a path", [`--ollama.host=http://host?key=${SECRET}`], {}, ""],
    [
      "headers of OpenTelemetry",
      ["--otlp.endpoint=http://127.0.0.1:1"],
      { OTEL_EXPORTER_OTLP_HEADERS: `authorization=%ZZ${SECRET}` },
      "",
    ],
    ["an endpoint's password", [`--otlp.endpoint=ftp://user:${SECRET}@host`], {}, ""],
    ["an endpoint that is no URL", [], { OTEL_EXPORTER_OTLP_ENDPOINT: `http//user:${SECRET}@host` }, ""],
    ["a header in the file that is a map", [], {}, `ollama.header: {Authorization: ${SECRET}}\n`],
    ["a header in the file with a tag", [], {}, `ollama.header: !${SECRET} x\n`],
    ["a header in the file with an alias", [], {}, `ollama.header: *${SECRET}\n`],
    ["a header in the file without its closing quote", [], {}, `ollama.header: "Authorization: ${SECRET}\n`],
    ["a header in the file, not quoted", [], {}, `ollama.header: Authorization: Bearer ${SECRET}\n`],
    ["a key of the file that nobody knows", [], {}, `ollama:\n  token: ${SECRET}\n`],
    ["a text at the end of the file", [], {}, `demo: true\n"${SECRET}"\n`],
    ["a block in the file", [], {}, `ollama.header: |${SECRET}\n  x\n`],
  ];

  it.each(CASES)("does not repeat %s", async (_what, argv, env, file) => {
    const flags = file === "" ? argv : [...argv, `--config.file=${fileWith(file)}`];
    await mustNotRepeat(flags, env);
  });

  const WEB_CASES: readonly (readonly [what: string, file: string])[] = [
    ["a password that is no hash", `basic_auth_users:\n  user: ${SECRET}\n`],
    ["a password in a list", `basic_auth_users:\n- user:${SECRET}\n`],
    ["a password alone", `basic_auth_users: ${SECRET}\n`],
    ["a password without its closing quote", `basic_auth_users:\n  user: "${SECRET}\n`],
    ["a key that is none", `tls_server_config:\n  cert: x\n  key: ${SECRET}\n`],
    ["a key with a tag", `tls_server_config:\n  key: !${SECRET} x\n`],
  ];
  it.each(WEB_CASES)("does not repeat %s in the web configuration", async (_what, file) => {
    await mustNotRepeat([`--web.config.file=${fileWith(file)}`], {});
  });
});

describe("an exporter at work", () => {
  /** Repeats what it was sent wherever an answer has room for it. */
  const reflects: Behaviour = (request, response) => {
    const { authorization = "", "x-key": key = "" } = request.headers;
    const reflected = `${authorization} ${String(key)}`;
    response.writeHead(500, reflected, { location: `http://127.0.0.1:1/${String(key)}`, "x-reflected": reflected });
    response.end(JSON.stringify({ error: reflected }));
  };

  /** Both streams, all answers with their headers, and what /proc shows of the driver's process. */
  async function everythingOf(exporter: ExporterProcess, init: RequestInit = {}): Promise<string> {
    const answers = PATHS.map(async (path) => {
      const answer = await fetch(exporter.url(path), init);
      return [answer.statusText, ...[...answer.headers].flat(), await answer.text()].join("\n");
    });
    const pid = String(exporter.child.pid);
    const children = childrenOf(pid);
    const shown = [pid, ...children].flatMap((id) =>
      ["cmdline", "comm"].map((file) => readFileSync(`/proc/${id}/${file}`, "utf8")),
    );
    const environments = children.map((id) => readFileSync(`/proc/${id}/environ`, "utf8"));
    return [...(await Promise.all(answers)), ...shown, ...environments, exporter.stdout, ...exporter.stderr].join("\n");
  }

  it.each(["logfmt", "json"])("keeps them to itself whatever its servers repeat; log as %s", async (format) => {
    const ollama = new FakeOllama();
    const receiver = new FakeOtlp();
    const driver = new FakeDriver({ gpus: [h100({ processes: [] })] });
    closing.push(
      () => ollama.close(),
      () => receiver.close(),
      () => {
        driver[Symbol.dispose]();
      },
    );
    for (const path of ["/api/ps", "/api/version", "/api/tags"]) ollama.behaviours.set(path, reflects);
    const address = await ollama.listen();
    const url = new URL(await receiver.listen());
    url.username = "user";
    url.password = secret("endpoint");
    url.search = `?key=${secret("query")}`;
    receiver.answer = (response) => {
      const token = secret("otlp");
      response.writeHead(401, `Bearer ${token} is not known`).end(`no ${token}`);
    };
    const exporter = await ExporterProcess.start(
      [`--log.format=${format}`, "--log.level=debug", "--cache.duration=0", "--retry.attempts=2", "--retry.delay=1ms"],
      {
        env: {
          ...driver.env,
          OLLAMA_GPU_EXPORTER_GPU_NVML_LIBRARY: driver.library,
          OLLAMA_GPU_EXPORTER_OLLAMA_HOST: address,
          OLLAMA_GPU_EXPORTER_OLLAMA_HEADER: `Authorization: Bearer ${secret("header")},X-Key: @${fileWith(secret("file"))}`,
          OTEL_EXPORTER_OTLP_ENDPOINT: url.href,
          OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${secret("otlp")}`,
          OLLAMA_GPU_EXPORTER_OTLP_INTERVAL: "50ms",
          SOME_TOKEN: secret("environment"),
          DATABASE_URL: `postgres://user:${secret("database")}@host`,
        },
      },
    );
    closing.push(() => exporter.stop("SIGKILL"));
    await receiver.next();
    receiver.answer = (response) => {
      const errorMessage = `${secret("otlp")} was not taken, nor ${secret("query")}`;
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ partialSuccess: { rejectedDataPoints: "1", errorMessage } }));
    };
    await receiver.next();
    const everything = await everythingOf(exporter);
    expect(ollama.requests.some(({ headers }) => headers.authorization === `Bearer ${secret("header")}`)).toBe(true);
    expect(ollama.requests.some(({ headers }) => headers["x-key"] === secret("file"))).toBe(true);
    expect(receiver.pushes.some(({ headers }) => headers.authorization === `Bearer ${secret("otlp")}`)).toBe(true);
    expect(everything).toContain("collector failed");
    expect(everything).toContain("OTLP push failed");
    expect(everything).toContain("FAKE_NVML_SCENARIO"); // the driver's process was looked at
    expect(everything).not.toContain(CANARY);
    await exporter.stop();
    expect([exporter.stdout, ...exporter.stderr].join("\n")).not.toContain(CANARY);
  });

  it("keeps a header to itself that cannot be sent", async () => {
    const ollama = new FakeOllama();
    closing.push(() => ollama.close());
    const address = await ollama.listen();
    const file = fileWith(`${secret("two")}\n${secret("lines")}`);
    const args = [`--ollama.host=${address}`, "--gpu.backend=none", `--ollama.header=X-Key: @${file}`];
    const exporter = await ExporterProcess.start([...args, "--retry.attempts=1"]);
    closing.push(() => exporter.stop("SIGKILL"));
    const everything = await everythingOf(exporter);
    expect(everything).toContain("collector failed");
    expect(everything).not.toContain(CANARY);
    for (const form of [[], ["--json"]]) {
      const { text } = await printed(["status", ...form, ...args, "--retry.attempts=1"], {});
      expect(text).toMatch(/STATUS AS OF|timestamp/);
      expect(text).not.toContain(CANARY);
    }
  });

  it("keeps passwords and keys of the web configuration to itself, right and wrong ones", async () => {
    const { key, cert } = makeCertificate("exporter", { ip: ["127.0.0.1"] });
    const indented = (pem: string) => pem.trim().replaceAll("\n", "\n    ");
    const hash = hashSync(secret("password"), 4);
    const file = fileWith(
      `tls_server_config:\n  cert: |\n    ${indented(cert)}\n  key: |\n    ${indented(key)}\nbasic_auth_users:\n  user: ${hash}\n`,
    );
    const args = ["--gpu.backend=none", "--ollama.host=none", "--log.level=debug", `--web.config.file=${file}`];
    const exporter = await ExporterProcess.start(args);
    closing.push(() => exporter.stop("SIGKILL"));
    const texts: string[] = [];
    for (const password of [secret("password"), secret("wrong")])
      for (const path of PATHS) texts.push(await securely(exporter.address, path, `user:${password}`));
    expect(texts.filter((text) => text.startsWith("401"))).toHaveLength(PATHS.length);
    writeFileSync(file, `basic_auth_users:\n  user: ${secret("plain")}\n`);
    texts.push(await securely(exporter.address, "/metrics", `user:${secret("password")}`));
    expect(exporter.stderr.join("\n")).toContain("web configuration not taken over");
    const everything = [...texts, exporter.stdout, ...exporter.stderr].join("\n");
    const keyText = key.split("\n")[1] ?? "";
    for (const text of [CANARY, hash, keyText]) expect(everything).not.toContain(text);
  });
});

function childrenOf(pid: string): readonly string[] {
  const parentOf = (id: string): string | undefined => {
    try {
      return /\) \S (\d+)/.exec(readFileSync(`/proc/${id}/stat`, "utf8"))?.[1];
    } catch {
      return undefined;
    }
  };
  return readdirSync("/proc").filter((id) => /^\d+$/.test(id) && parentOf(id) === pid);
}

/** Status, headers and body of an answer over TLS. */
async function securely(address: string, path: string, auth: string): Promise<string> {
  const [hostname, port] = address.split(":");
  const request = get({ hostname, port, path, auth, rejectUnauthorized: false, agent: false });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return [response.statusCode, ...response.rawHeaders, Buffer.concat(chunks).toString()].join("\n");
}
