import { describe, expect, it } from "@jest/globals";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ExporterProcess } from "./support/exporter-process.ts";

const CLI = join(import.meta.dirname, "../src/cli.ts");

function run(...args: string[]) {
  const env = { ...process.env, NODE_OPTIONS: "" };
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8", env });
  return { status, stdout, stderr };
}

describe("the command line", () => {
  it("prints help and version", () => {
    expect(run("--help")).toMatchObject({
      status: 0,
      stderr: "",
      stdout: expect.stringContaining("--web.listen-address") as unknown as string,
    });
    expect(run("--version")).toEqual({ status: 0, stderr: "", stdout: "ollama-gpu-exporter 0.1.0\n" });
  });

  it("ends with 2 and one line on a bad configuration, and says how many more there are", () => {
    expect(run("--gpu.timeout=x", "--procesess=all")).toEqual({
      status: 2,
      stdout: "",
      stderr: "unknown flag --procesess; the nearest known one is --processes (and 1 more: see check-config)\n",
    });
  });

  it("shows every problem with check-config", () => {
    expect(run("check-config", "--gpu.timeout=x", "--procesess=all").stderr.split("\n")).toHaveLength(3);
    expect(run("check-config")).toEqual({ status: 0, stderr: "", stdout: "configuration is valid\n" });
  });

  it("ends with 1 and one line when the port is taken", async () => {
    const first = await ExporterProcess.start(["--demo"]);
    const { status, stdout, stderr } = run("--demo", `--web.listen-address=${first.address}`);
    await first.stop();
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^ollama-gpu-exporter: Cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE.*\n$/);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });

  it("ends with 1 and one line when gRPC is asked for and its optional package is not there", () => {
    const args = [
      "--demo",
      "--web.listen-address=127.0.0.1:0",
      "--otlp.endpoint=http://127.0.0.1:1",
      "--otlp.protocol=grpc",
    ];
    const hook = join(import.meta.dirname, "support/without-grpc.js");
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", hook, CLI, ...args], {
      encoding: "utf8",
    });
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^ollama-gpu-exporter: --otlp.protocol=grpc needs the optional package @opentelemetry.*\n$/);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });

  it("prints the status of a machine with nothing, and ends with 0", () => {
    const { status, stdout } = run(
      "status",
      "--ollama.host=127.0.0.1:1",
      "--retry.attempts=1",
      "--gpu.nvml-library=/nonexistent.so",
    );
    expect(status).toBe(0);
    expect(stdout).toContain("NO OLLAMA PROCESSES RUNNING.\n\nGPU STATUS:\n");
    expect(stdout).toContain("n/a: no NVIDIA GPU");
    expect(stdout).toMatch(/\n\nCONDITIONS:\n─+\n(.+\n)*OllamaDown server=127\.0\.0\.1:1\n$/);
  });

  it("prints the demo's status as JSON", () => {
    const { stdout } = run("status", "--demo", "--json", "--unit=GB");
    expect(JSON.parse(stdout)).toMatchObject({
      gpu_status: [
        { gpu_id: 0, total_memory: 80, unit: "GB" },
        {},
        { temperature: expect.any(Number) as unknown as number },
        {},
      ],
      model_gpu_usage: [
        { model_name: "llama3.3:70b", gpu_match_quality: "exact", gpus: [{ gpu_id: 0 }, { gpu_id: 3 }] },
        {},
        {},
        {},
      ],
      conditions: expect.arrayContaining([
        {
          name: "OllamaModelSpilled",
          labels: { server: expect.any(String) as unknown as string, model: "gemma3:27b" },
        },
      ]) as unknown,
    });
  });
});
