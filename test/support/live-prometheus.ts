/** A real Prometheus with the rules as shipped, but for their waiting. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ApiResult, query } from "./prometheus-series.ts";
import { freePort, type Programs, ready } from "./real-tools.ts";
import { ROOT } from "./tool-run.ts";

export const RULES = join(ROOT, "deploy/prometheus/rules");

export interface LiveOptions {
  readonly programs: Programs;
  /** Holds configuration and data. */
  readonly folder: string;
  readonly alertmanager?: string;
}

export class LivePrometheus {
  readonly url: string;
  readonly #folder: string;

  private constructor(url: string, folder: string) {
    this.url = url;
    this.#folder = folder;
  }

  /** Resolves when it answers; the first scrape comes some seconds later. */
  static async start({ programs, folder, alertmanager }: LiveOptions): Promise<LivePrometheus> {
    const port = await freePort();
    const live = new LivePrometheus(`http://127.0.0.1:${port}`, folder);
    for (const name of readdirSync(RULES)) {
      const text = readFileSync(join(RULES, name), "utf8");
      writeFileSync(join(folder, name), text.replaceAll(/(for|interval): \d+[smh]/g, "$1: 1s"));
    }
    const alerting = alertmanager === undefined ? "" : `[{static_configs: [{targets: ['${alertmanager}']}]}]`;
    writeFileSync(
      join(folder, "prometheus.yml"),
      `global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}
rule_files: [${readdirSync(RULES).join(", ")}]
alerting: {alertmanagers: ${alerting === "" ? "[]" : alerting}}
scrape_configs:
  - job_name: ollama-gpu
    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]
`,
    );
    live.scrape();
    programs.start("prometheus", [
      `--config.file=${folder}/prometheus.yml`,
      `--storage.tsdb.path=${folder}/prometheus`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    await ready(`${live.url}/-/ready`);
    return live;
  }

  get api(): string {
    return `${this.url}/api/v1/`;
  }

  /** These targets and no others, from now on. */
  scrape(...addresses: readonly string[]): void {
    writeFileSync(join(this.#folder, "targets.json"), JSON.stringify([{ targets: addresses }]));
  }

  query(expression: string): Promise<readonly ApiResult[]> {
    return query(this.api, expression);
  }

  /** Names of the alerts that fire now. */
  async firing(): Promise<readonly string[]> {
    const alerts = await this.query('ALERTS{alertstate="firing"}');
    return [...new Set(alerts.map(({ metric }) => metric.alertname ?? ""))].sort();
  }
}
