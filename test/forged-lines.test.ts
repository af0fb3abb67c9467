/** Names that want to be more than a name: in the log, in the metrics and on the terminal they stay inside their line. */
import { afterEach, describe, expect, it } from "@jest/globals";
import { connect } from "node:net";
import { readExposition } from "../fuzz/exposition.ts";
import { runCommand } from "../src/command.ts";
import { DummyProcesses } from "./support/dummy-runner.ts";
import { ExporterProcess } from "./support/exporter-process.ts";
import { FakeOllama, json } from "./support/fake-ollama.ts";
import { FakeDriver, h100 } from "./support/nvml/fake-nvml.ts";

const FORGED = "ts=2026-01-01T00:00:00.000Z level=error msg=forged";
const HOSTILE = `m"\n${FORGED}\r\n{"level":"error"}\u001b[2J\u001b]0;x\u0007\u0000\u007f\u0085\u009b\u2028\u2029\u202e\ufeff\\`;
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A server, a GPU and a process of its, all with hostile names. */
async function hostileWorld(): Promise<{ readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv }> {
  const ollama = new FakeOllama();
  closing.push(() => ollama.close());
  ollama.version = HOSTILE;
  ollama.behaviours.set("/api/ps", (_, response) => {
    json(response, { models: [{ name: HOSTILE, size: HOSTILE, size_vram: 1, details: { family: HOSTILE } }] });
  });
  ollama.behaviours.set("/api/tags", (_, response) => {
    response.writeHead(500, "x", { "x-y": "z" }).end(HOSTILE);
  });
  ollama.behaviours.set("/api/show", (_, response) => {
    response.end(HOSTILE);
  });
  const table = new DummyProcesses();
  closing.push(() => table.close());
  const { pid } = await table.startRunner({ argv: ["/tmp/a\n\u001b[2Jlevel=", "serve"] });
  const driver = new FakeDriver({
    gpus: [{ ...h100({ processes: [{ pid, kind: "compute", memory: 7 }] }), name: "GPU\u001b[2J\u2028level=error" }],
    calls: { nvmlDeviceGetFanSpeed_v2: { rc: 999 } },
  });
  closing.push(() => {
    driver[Symbol.dispose]();
  });
  const args = [
    ...[`--gpu.nvml-library=${driver.library}`, "--processes=all", "--retry.attempts=1", "--cache.duration=0"],
    `--ollama.host=a ${FORGED.replaceAll("=", "-").replaceAll(":", ".")}\n\u001b[2J=${await ollama.listen()}`,
  ];
  return { args, env: driver.env };
}

describe.each(["logfmt", "json"])("a log as %s", (format) => {
  it("has a line for each event and no other, whatever servers, GPUs, processes and requests are called", async () => {
    const { args, env } = await hostileWorld();
    const exporter = await ExporterProcess.start([...args, "--log.level=debug", `--log.format=${format}`], { env });
    closing.push(() => exporter.stop("SIGKILL"));
    const samples = readExposition(await exporter.scrape());
    expect(samples.find(({ name }) => name === "ollama_model_loaded")?.labels.model).toBe(HOSTILE);
    expect(samples.find(({ name }) => name === "gpu_process_info")?.labels.process).toBe("a\n\u001b[2Jlevel=");
    const socket = connect(Number(exporter.address.split(":")[1]), "127.0.0.1");
    socket.end(`GET /%0a${encodeURIComponent(FORGED)}?\u001b[2J HTTP/1.1\r\nHost: ${FORGED}\r\n\r\n`);
    for await (const chunk of socket) expect(String(chunk)).not.toContain("forged");
    await exporter.stop();
    const parse = format === "json" ? jsonLine : logfmtLine;
    const events = exporter.stderr.map(parse);
    expect(events.filter(({ msg }) => msg === "collector failed")).toHaveLength(1);
    expect(events.filter(({ msg }) => msg === "unexpected values in Ollama's answer are left out")).toHaveLength(1);
    expect(events.filter(({ level, msg }) => level === "error" || msg === "forged")).toEqual([]);
    expect(exporter.stderr.filter((line) => HIDDEN.test(line))).toEqual([]);
  });
});

describe("the status on a terminal", () => {
  it("moves no cursor and clears no screen, whatever models and GPUs are called", async () => {
    const { args } = await hostileWorld();
    let text = "";
    const stream = { on: () => stream, write: (chunk: string) => (text += chunk) } as unknown as NodeJS.WriteStream;
    const input = { argv: ["status", ...args, "--gpu.backend=demo"], env: {} };
    await runCommand({ input, out: stream, err: stream, exit: () => undefined, onSignal: () => undefined });
    expect(text).toContain("OLLAMA PROCESSES:");
    expect(text.split("\n").filter((line) => HIDDEN.test(line) || line.startsWith("ts="))).toEqual([]);
  });
});

type Event = Readonly<Record<string, unknown>>;

const jsonLine = (line: string): Event => JSON.parse(line) as Event;

function logfmtLine(line: string): Event {
  const pairs = [...line.matchAll(/([\w.]+)=("(?:[^"\\]|\\.)*"|[^\s"]+)(?: |$)/gy)];
  expect(pairs.map(([whole]) => whole).join("")).toBe(line);
  return Object.fromEntries(
    pairs.map(([, key = "", value = ""]) => [key, value.startsWith('"') ? JSON.parse(value) : value]),
  );
}
