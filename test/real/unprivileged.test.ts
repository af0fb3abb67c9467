/** The built exporter as nobody, without any capability, under strace: what it needs, what it writes, whom it contacts. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DummyProcesses, type DummyRunner } from "../support/dummy-runner.ts";
import { samplesOf } from "../support/exporter-process.ts";
import { FakeOllama } from "../support/fake-ollama.ts";
import { FakeOtlp } from "../support/fake-otlp.ts";
import { buildFakeNvml, FakeDriver, h100 } from "../support/nvml/fake-nvml.ts";
import { eventually, tool } from "../support/real-tools.ts";
import { NOBODY, ReadableCopy, withoutRights } from "../support/unprivileged.ts";

const HEX = randomBytes(32).toString("hex");
const MODEL_BYTES = 5_000_000_001;

describe("the built exporter as nobody", () => {
  const isRoot = process.getuid?.() === 0;
  const closing: (() => unknown)[] = [];
  let copy: ReadableCopy;
  beforeAll(() => {
    copy = new ReadableCopy();
  });
  afterAll(() => {
    copy[Symbol.dispose]();
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  /** A runner of somebody else's that holds a model on a GPU, and the server that knows of it. */
  async function world() {
    const library = join(mkdtempSync(join(tmpdir(), "library-")), "libnvidia-ml.so.1");
    copyFileSync(buildFakeNvml(), library);
    const table = new DummyProcesses();
    const ollama = new FakeOllama();
    const receiver = new FakeOtlp();
    closing.push(
      () => table.close(),
      () => ollama.close(),
      () => receiver.close(),
    );
    const argv = ["/usr/local/lib/ollama/llama-server", "--model", `/m/blobs/sha256-${HEX}`, "--port", "1"];
    const runner: DummyRunner = await table.startRunner({
      argv: [...argv, "--no-webui", "--offline"],
      parent: await table.startServer(),
    });
    ollama.models = [{ name: "m:latest", blob: HEX, loaded: { size: 9_000_000_000, sizeVram: 9_000_000_000 } }];
    const driver = new FakeDriver(
      { gpus: [h100({ processes: [{ pid: runner.pid, kind: "compute", memory: MODEL_BYTES }] })] },
      library,
    );
    closing.push(() => {
      driver[Symbol.dispose]();
    });
    for (const folder of [join(library, ".."), driver.folder]) chmodSync(folder, 0o755);
    const { FAKE_NVML_SCENARIO } = driver.env;
    const [address, endpoint] = [await ollama.listen(), await receiver.listen()];
    const args = [
      ...[`--gpu.nvml-library=${library}`, `--ollama.host=${address}`, "--cache.duration=0", "--processes=all"],
      ...[`--otlp.endpoint=${endpoint}`, "--otlp.interval=200ms", "--web.listen-address=127.0.0.1:0"],
    ];
    return { args, env: { PATH: process.env.PATH ?? "", FAKE_NVML_SCENARIO }, address, endpoint, receiver, runner };
  }

  /** Starts it in an empty folder of its own; `before` stands before setpriv, such as strace. */
  async function start(before: readonly string[], args: readonly string[], env: NodeJS.ProcessEnv) {
    const [program = "", ...rest] = [...before, ...withoutRights(), copy.node, copy.cli, ...args];
    const folder = mkdtempSync(join(tmpdir(), "home-"));
    chmodSync(folder, 0o777);
    closing.push(() => {
      rmSync(folder, { recursive: true, force: true });
    });
    const child = spawn(program, rest, {
      cwd: folder,
      env: { ...env, HOME: folder, TMPDIR: folder },
      stdio: ["ignore", "ignore", "pipe"],
    });
    closing.push(() => end(child));
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stderr })) {
      lines.push(line);
      const address = /msg=listening address=(\S+)/.exec(line)?.[1];
      if (address !== undefined) {
        child.stderr.resume();
        return { child, url: `http://${address}`, folder };
      }
    }
    throw new Error(`it did not start: ${lines.join("\n")}`);
  }

  async function end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    await exited;
  }

  const scrape = async (url: string): Promise<string> => (await fetch(`${url}/metrics`)).text();

  it("has no rights at all, and attributes another user's runner to the byte all the same", async () => {
    const { args, env, address } = await world();
    const { child, url } = await start([], args, env);
    const pid = String(child.pid);
    const worker = readdirSync("/proc").find((id) => /^\d+$/.test(id) && statusOf(id).PPid === pid);
    await scrape(url);
    const text = await scrape(url);
    for (const id of [
      pid,
      worker ?? readdirSync("/proc").find((id) => /^\d+$/.test(id) && statusOf(id).PPid === pid) ?? "",
    ]) {
      const status = statusOf(id);
      expect(status).toMatchObject({ NoNewPrivs: "1", CapPrm: NONE, CapEff: NONE, CapInh: NONE, CapAmb: NONE });
      if (isRoot) expect(status).toMatchObject({ CapBnd: NONE, Uid: Array(4).fill(NOBODY).join("\t") });
    }
    expect(samplesOf(text, "ollama_model_vram_bytes")).toEqual({
      [`{server="${address}",model="m:latest",gpu="0"}`]: MODEL_BYTES,
    });
    expect(Object.values(samplesOf(text, "ollama_gpu_exporter_collector_success"))).toEqual([1, 1, 1]);
    expect(Object.keys(samplesOf(text, "gpu_process_info"))[0]).toContain('process="llama-server"');
  });

  it("writes no file, makes none, changes none, and contacts whom it was told to alone", async () => {
    const { args, env, address, endpoint, receiver } = await world();
    const trace = join(mkdtempSync(join(tmpdir(), "trace-")), "trace");
    const calls =
      "trace=%file,%network,openat2,ftruncate,fallocate,write,pwrite64,sendfile,copy_file_range,fchmod,fchown";
    args.push("--ollama.runner-metrics=off"); // other suites' runners are in the process table too
    const { child, url, folder } = await start([tool("strace"), "-D", "-f", "-y", "-o", trace, "-e", calls], args, env);
    await scrape(url);
    for (const path of ["/metrics/otel", "/api/v1/status", "/"]) await (await fetch(url + path)).text();
    await receiver.next();
    await end(child);
    expect(readdirSync(folder)).toEqual([]);
    const lines = await eventually(() => {
      const text = readFileSync(trace, "utf8");
      if (!new RegExp(`^${child.pid ?? 0} +\\+{3} exited with 0`, "m").test(text))
        throw new Error("the trace has not ended");
      return Promise.resolve(text.split("\n"));
    });
    expect(lines.some((line) => /openat\(.*"\/proc\/\d+\/cmdline", O_RDONLY/.test(line))).toBe(true);
    expect(changesFiles('7 openat(AT_FDCWD</x>, "/x/y", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 3</x/y>')).toBe(true);
    expect(changesFiles('7 mkdir("/x/y", 0777) = 0')).toBe(true);
    expect(lines.filter(changesFiles)).toEqual([]);
    const contacts = lines.flatMap(
      (line) =>
        /connect\(.*sin6?_port=htons\((\d+)\).*"([\d.:a-f]+)"/.exec(line)?.slice(1, 3).reverse().join(":") ?? [],
    );
    expect([...new Set(contacts)].toSorted()).toEqual([address, new URL(endpoint).host].toSorted());
    const locals = lines.filter((line) => /connect\(.*sa_family=AF_UNIX/.test(line) && !line.includes("/run/nscd/"));
    expect(locals).toEqual([]); // but for the C library's own question for the name cache daemon
  });
});

const NONE = "0000000000000000";

/** A call that succeeded in making, changing or opening for writing anything that has a name on a disk. */
function changesFiles(line: string): boolean {
  if (/ = -1 E|resumed>/.test(line) && !line.includes("<... openat")) return false;
  if (
    /\b(?:mkdir|mkdirat|unlink|unlinkat|rename|renameat2?|link|linkat|symlink|symlinkat|mknod|truncate|ftruncate|fallocate|chmod|fchmod|fchmodat|chown|fchown|utime\w*|utimensat|setxattr|rmdir|creat)\(/.test(
      line,
    )
  )
    return true;
  const isOpenedForWriting = /\bopen(?:at2?)?\(.*(?:O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE)/.test(line);
  return isOpenedForWriting && !/"\/dev\/(?:null|tty|ptmx)"/.test(line);
}

/** /proc/PID/status by key; empty when the process is gone. */
function statusOf(pid: string): Readonly<Record<string, string>> {
  try {
    const lines = readFileSync(`/proc/${pid}/status`, "utf8").split("\n");
    return Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2) as [string, string]));
  } catch {
    return {};
  }
}
