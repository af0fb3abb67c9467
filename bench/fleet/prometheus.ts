/** A real Prometheus with the bundled rules that scrapes the fleet, and what it costs. */
import type { ChildProcess } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, Programs, ready } from "../../test/support/real-tools.ts";

const RULES = join(import.meta.dirname, "../../deploy/prometheus/rules");

export class FleetPrometheus {
  readonly #folder = mkdtempSync(join(tmpdir(), "fleet-prometheus-"));
  readonly #programs = new Programs();
  #child: ChildProcess | undefined;
  base = "";

  async start(targets: string, { scrapeSeconds }: { readonly scrapeSeconds: number }): Promise<void> {
    cpSync(RULES, join(this.#folder, "rules"), { recursive: true });
    writeFileSync(
      join(this.#folder, "prometheus.yml"),
      `global: {scrape_interval: ${scrapeSeconds}s, evaluation_interval: 30s}
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: ollama-gpu
    scrape_timeout: ${Math.min(10, scrapeSeconds)}s
    http_sd_configs: [{url: "${targets}", refresh_interval: 30s}]
`,
    );
    const port = await freePort();
    this.base = `http://127.0.0.1:${port}`;
    this.#child = this.#programs.start("prometheus", [
      `--config.file=${this.#folder}/prometheus.yml`,
      `--storage.tsdb.path=${this.#folder}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    await ready(`${this.base}/-/ready`);
  }

  residentMb(): number {
    return Number(/^VmRSS:\s+(\d+)/m.exec(this.#proc("status"))?.[1]) / 1024;
  }

  cpuSeconds(): number {
    const [, user = 0, system = 0] = /\) (?:\S+ ){11}(\d+) (\d+)/.exec(this.#proc("stat")) ?? [];
    return (Number(user) + Number(system)) / 100;
  }

  walMb(): number {
    const wal = join(this.#folder, "data/wal");
    const files = readdirSync(wal, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    return files.reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0) / 1024 ** 2;
  }

  /** A family of Prometheus' own metrics: value by label text. */
  async own(family: string): Promise<ReadonlyMap<string, number>> {
    const text = await (await fetch(`${this.base}/metrics`)).text();
    const lines = text.split("\n").filter((line) => line.startsWith(`${family}{`) || line.startsWith(`${family} `));
    return new Map(
      lines.map((line) => [
        line.slice(family.length, line.lastIndexOf(" ")),
        Number(line.slice(line.lastIndexOf(" ") + 1)),
      ]),
    );
  }

  async close(): Promise<void> {
    await this.#programs.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #proc(file: string): string {
    return readFileSync(`/proc/${this.#child?.pid ?? 0}/${file}`, "utf8");
  }
}
