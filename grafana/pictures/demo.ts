/** What the pictures show: two exporters in demo mode, and a real Prometheus with the bundled rules that scrapes them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ExporterProcess } from "../../test/support/exporter-process.ts";
import { freePort, Programs, ready } from "../../test/support/real-tools.ts";

const ROOT = join(import.meta.dirname, "../..");
const RULES = join(ROOT, "deploy/prometheus/rules");
/** The synthetic machine is a function of its age: without this both hosts would draw the same curves. */
const APART_MS = 45_000;

export const SCRAPE_SECONDS = 5;

/** A Prometheus that scrapes the demo; disposing of it ends every program it started. */
export class Demo implements AsyncDisposable {
  readonly #programs = new Programs();
  readonly #exporters: ExporterProcess[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "pictures-"));
  /** Base URL of the Prometheus. */
  url = "";

  /** Resolves when Prometheus is ready; its first scrape comes five seconds later. */
  static async start(): Promise<Demo> {
    const demo = new Demo();
    try {
      await demo.#start();
    } catch (error) {
      await demo[Symbol.asyncDispose]();
      throw error;
    }
    return demo;
  }

  async #start(): Promise<void> {
    const targets = [];
    for (const instance of ["gpu-a:9434", "gpu-b:9434"]) {
      if (targets.length > 0) await delay(APART_MS);
      const exporter = await ExporterProcess.start(["--demo", "--cache.duration=1s", "--processes=all"], {
        cli: join(ROOT, "dist/cli.js"),
      });
      this.#exporters.push(exporter);
      targets.push({ targets: [exporter.address], labels: { instance } });
    }
    // The rules as shipped but for the waiting.
    for (const name of readdirSync(RULES)) {
      const rules = readFileSync(join(RULES, name), "utf8").replaceAll(/(for|interval): \d+[smh]/g, "$1: 5s");
      writeFileSync(join(this.#folder, name), rules);
    }
    const config = {
      global: { scrape_interval: `${SCRAPE_SECONDS}s`, evaluation_interval: "5s" },
      rule_files: readdirSync(RULES),
      scrape_configs: [{ job_name: "ollama-gpu", static_configs: targets }],
    };
    writeFileSync(join(this.#folder, "prometheus.yml"), JSON.stringify(config));
    const port = await freePort();
    this.url = `http://127.0.0.1:${port}`;
    this.#programs.start("prometheus", [
      `--config.file=${this.#folder}/prometheus.yml`,
      `--storage.tsdb.path=${this.#folder}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    await ready(`${this.url}/-/ready`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#programs.close();
    await Promise.all(this.#exporters.map((exporter) => exporter.stop("SIGKILL")));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
