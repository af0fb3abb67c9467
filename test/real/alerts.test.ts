/** Alerts on their way: from hardware that breaks, through Prometheus and Alertmanager, to who is told. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ExporterProcess } from "../support/exporter-process.ts";
import { LivePrometheus } from "../support/live-prometheus.ts";
import { FakeDriver, h100, rtx4090 } from "../support/nvml/fake-nvml.ts";
import { eventually, freePort, Programs, ready, tool } from "../support/real-tools.ts";
import { SmtpSink } from "../support/smtp-sink.ts";
import { ROOT, run, text as fileText } from "../support/tool-run.ts";
import { Webhook } from "../support/webhook.ts";

type Labels = Readonly<Record<string, string>>;
const CONFIG = "deploy/alertmanager/alertmanager.yml";

describe("the routes", () => {
  const route = (...labels: readonly string[]) =>
    run(tool("amtool"), ["config", "routes", "test", `--config.file=${CONFIG}`, ...labels]).output.trim();

  it("are accepted by amtool", () => {
    const { status, output } = run(tool("amtool"), ["check-config", CONFIG]);
    expect([status, output]).toEqual([0, expect.stringMatching(/8 inhibit rules[^]*3 receivers/)]);
  });

  it.each([
    ["critical", "pager"],
    ["warning", "mail"],
    ["info", "quiet"],
  ])("send what is %s to %s", (severity, receiver) => {
    expect(route(`severity=${severity}`, "alertname=Any", "job=ollama-gpu", "instance=host:9434")).toBe(receiver);
  });

  it("send what has no severity by mail, so that nothing is lost", () => {
    expect(route("alertname=Any")).toBe("mail");
  });
});

describe("a real Alertmanager with the project's configuration", () => {
  const folder = mkdtempSync(join(tmpdir(), "real-alerts-"));
  const programs = new Programs();
  const webhook = new Webhook();
  const mail = new SmtpSink();
  const healthy = { driverVersion: "570.86.15", gpus: [h100({ eccErrors: { uncorrectedVolatile: 0 } }), rtx4090()] };
  const driver = new FakeDriver(healthy);
  let exporter: ExporterProcess;
  let prometheus: LivePrometheus;
  let alertmanager = "";

  beforeAll(async () => {
    const port = await freePort();
    alertmanager = `127.0.0.1:${port}`;
    // With addresses of this test in place of the examples, and without patience.
    const config = fileText(CONFIG)
      .replace("http://127.0.0.1:9095/alerts", await webhook.listen())
      .replace("127.0.0.1:25", await mail.listen())
      .replaceAll(/group_wait: \d+s/g, "group_wait: 1s")
      .replace("group_interval: 5m", "group_interval: 2s");
    writeFileSync(join(folder, "alertmanager.yml"), config);
    programs.start("alertmanager", [
      `--config.file=${folder}/alertmanager.yml`,
      `--storage.path=${folder}/alertmanager`,
      `--web.listen-address=${alertmanager}`,
      "--cluster.listen-address=",
    ]);
    await ready(`http://${alertmanager}/-/ready`);
    exporter = await ExporterProcess.start(
      [`--gpu.nvml-library=${driver.library}`, "--cache.duration=0s", "--retry.attempts=1"],
      { env: driver.env, cli: join(ROOT, "dist/cli.js") },
    );
    prometheus = await LivePrometheus.start({ programs, folder, alertmanager });
    prometheus.scrape(exporter.address);
    await eventually(
      async () => {
        if ((await prometheus.query("gpu_up == 1")).length !== 2) throw new Error("no scrape yet");
      },
      { withinMs: 60_000, what: "both GPUs" },
    );
  }, 120_000);

  afterAll(async () => {
    await programs.close();
    await exporter.stop("SIGKILL");
    driver[Symbol.dispose]();
    webhook.close();
    mail.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const told = (name: string, status: "firing" | "resolved") =>
    eventually(() => Promise.resolve().then(() => webhook.get(name, status)), { withinMs: 60_000, what: name });
  const mailed = (name: string, status: "FIRING" | "RESOLVED") =>
    eventually(
      () =>
        mail.messages.some((text) => new RegExp(`^Subject: .*${status}`, "m").test(text) && text.includes(name))
          ? Promise.resolve()
          : Promise.reject(new Error(`${mail.messages.length} other messages`)),
      { withinMs: 60_000, what: `${status} ${name} by mail` },
    );

  it("tells the webhook of a GPU that the driver loses, and that it is back after a reset", async () => {
    expect(webhook.alerts.map(({ labels }) => labels.alertname)).not.toContain("GpuLost");
    driver.update({ calls: { "*": { rc: 15, gpu: "1" } } });
    const { labels } = await told("GpuLost", "firing");
    expect(labels).toMatchObject({ severity: "critical", gpu: "1", job: "ollama-gpu", instance: exporter.address });
    driver.update({ calls: {} });
    await told("GpuLost", "resolved");
  }, 130_000);

  it("tells the webhook of a host that does not answer, until somebody takes it out", async () => {
    const gone = `127.0.0.1:${await freePort()}`;
    prometheus.scrape(exporter.address, gone);
    expect((await told("OllamaGpuExporterDown", "firing")).labels.instance).toBe(gone);
    prometheus.scrape(exporter.address);
    await told("OllamaGpuExporterDown", "resolved");
  }, 130_000);

  it("tells the webhook of an uncorrected memory error and mails the pending repair, until a reset has mended both", async () => {
    driver.update({
      gpus: [h100({ eccErrors: { uncorrectedVolatile: 1 }, remappedRows: { pending: 1 } }), rtx4090()],
    });
    const { labels } = await told("GpuEccUncorrected", "firing");
    expect(labels).toMatchObject({ gpu: "0", type: "uncorrected", counter: "volatile" });
    await mailed("GpuRowRemapPending", "FIRING");
    driver.write({
      ...healthy,
      gpus: [h100({ eccErrors: { uncorrectedVolatile: 0 }, remappedRows: { pending: 0 } }), rtx4090()],
    });
    await told("GpuEccUncorrected", "resolved");
    await mailed("GpuRowRemapPending", "RESOLVED");
  }, 130_000);

  const api = () => `http://${alertmanager}/api/v2/alerts`;
  let hosts = 0;

  /** Sends two alerts of a host that nobody else has; returns whether the second one is silenced. */
  async function pair(source: Labels, target: Labels): Promise<() => Promise<boolean>> {
    const instance = `h${hosts++}`;
    const sent = [source, target].map((labels, index) => ({
      labels: { job: "ollama-gpu", instance, pair: `${instance}-${index}`, ...labels },
    }));
    const headers = { "content-type": "application/json" };
    const { status } = await fetch(api(), { method: "POST", headers, body: JSON.stringify(sent) });
    expect(status).toBe(200);
    return async () => {
      const answer = await fetch(`${api()}?filter=${encodeURIComponent(`pair="${instance}-1"`)}`);
      const [found] = (await answer.json()) as { status: { state: string } }[];
      return found?.status.state === "suppressed";
    };
  }

  /** Alertmanager takes alerts in order: when a later pair is silenced, it has seen this one. */
  async function silences(source: Labels, target: Labels): Promise<boolean> {
    const isSilenced = await pair(source, target);
    const isControlSilenced = await pair(alert("OllamaGpuExporterDown"), alert("Any"));
    await eventually(async () => {
      if (!(await isControlSilenced())) throw new Error("not yet looked at");
    });
    return isSilenced();
  }

  const alert = (alertname: string, labels: Record<string, string> = {}) => ({
    alertname,
    severity: "warning",
    ...labels,
  });
  const DOWN = alert("OllamaDown", { severity: "critical", server: "a" });
  const LOST = alert("GpuLost", { severity: "critical", gpu: "0" });
  const SHUTDOWN = alert("GpuTemperatureNearShutdown", { severity: "critical", gpu: "0" });

  it.each([
    ["an exporter that is down, all else on its host", alert("OllamaGpuExporterDown"), LOST, true],
    [
      "an exporter that is down, nothing on other hosts",
      alert("OllamaGpuExporterDown"),
      { ...LOST, instance: "x" },
      false,
    ],
    ["a server that is down, its models", DOWN, alert("OllamaModelSlow", { server: "a", model: "m" }), true],
    ["a server that is down, its slots", DOWN, alert("OllamaSlotsSaturated", { server: "a", model: "m" }), true],
    [
      "a server that is down, its collector",
      DOWN,
      alert("OllamaGpuCollectorFailing", { collector: "ollama", target: "a" }),
      true,
    ],
    [
      "a server that is down, not the driver's collector",
      DOWN,
      alert("OllamaGpuCollectorFailing", { collector: "nvml" }),
      false,
    ],
    [
      "a server that is down, not another one's models",
      DOWN,
      alert("OllamaModelSlow", { server: "b", model: "m" }),
      false,
    ],
    ["a server that is down, not the GPUs", DOWN, alert("GpuMemoryNearlyFull", { gpu: "0" }), false],
    ["a lost GPU, its warnings", LOST, alert("GpuPowerBrake", { gpu: "0" }), true],
    ["a lost GPU, not another one's", LOST, alert("GpuPowerBrake", { gpu: "1" }), false],
    ["a lost GPU, not what else is critical", LOST, alert("GpuXidCritical", { severity: "critical", gpu: "0" }), false],
    ["near shutdown, near slowdown", SHUTDOWN, alert("GpuTemperatureNearSlowdown", { gpu: "0" }), true],
    ["near shutdown, thermal slowdown", SHUTDOWN, alert("GpuThermalSlowdown", { gpu: "0" }), true],
    ["near shutdown, not the power brake", SHUTDOWN, alert("GpuPowerBrake", { gpu: "0" }), false],
    [
      "a failed repair, the pending one",
      alert("GpuRowRemapFailure", { gpu: "0" }),
      alert("GpuRowRemapPending", { gpu: "0" }),
      true,
    ],
    [
      "uncorrected errors, corrected ones",
      alert("GpuEccUncorrected", { gpu: "0" }),
      alert("GpuEccCorrectedRising", { gpu: "0" }),
      true,
    ],
    [
      "a critical XID, one of a program",
      alert("GpuXidCritical", { gpu: "0" }),
      alert("GpuXidApplication", { gpu: "0" }),
      true,
    ],
    ["a warning, not its critical twin", alert("GpuTemperatureNearSlowdown", { gpu: "0" }), SHUTDOWN, false],
  ])("silences: %s", async (_, source, target, expected) => {
    expect(await silences(source, target)).toBe(expected);
  });
});
