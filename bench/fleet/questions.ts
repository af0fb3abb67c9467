/** What opening the Fleet overview asks a Prometheus: variables, then every query of every panel, as Grafana would. */
import { fleet } from "../../grafana/src/boards/fleet.ts";
import type { PanelSpec } from "../../grafana/src/panel.ts";

export interface Question {
  readonly panel: string;
  readonly form: "range" | "instant" | "variable";
  readonly expr: string;
}

export interface Answered extends Question {
  /** Slowest of the rounds. */
  readonly seconds: number;
  readonly series: number;
}

const SHOWN_SECONDS = 600;
/** Grafana's, for ten minutes on a wide screen with a scrape interval of 15 s. */
const STEP_SECONDS = 15;
const RATE_INTERVAL = "1m";
const ROUNDS = 3;

const VARIABLES: readonly { readonly label: string; readonly selector: string }[] = [
  { label: "job", selector: "ollama_gpu_exporter_build_info" },
  { label: "instance", selector: 'ollama_gpu_exporter_build_info{job=~".+"}' },
  { label: "gpu", selector: 'gpu_info{job=~".+", instance=~".+"}' },
  { label: "server", selector: 'ollama_up{job=~".+", instance=~".+"}' },
];

/** All of them, each as its panel asks it: what has a time axis over the ten minutes shown, what has not for now. */
export function questions(): readonly Question[] {
  const ofPanels = fleet.panels.flatMap(({ title, queries, kind }: PanelSpec) => {
    const form = kind === "timeseries" || kind === "statetimeline" ? "range" : "instant";
    return queries.map(({ expr }): Question => ({ panel: title, form, expr: substituted(expr) }));
  });
  const ofVariables = VARIABLES.map(({ label, selector }): Question => {
    return { panel: `variable ${label}`, form: "variable", expr: `${label} ${selector}` };
  });
  return [...ofVariables, ...ofPanels];
}

/** As with "All" in every variable. */
function substituted(expr: string): string {
  return expr
    .replaceAll(/\$(job|instance|gpu|server|model)\b/g, ".+")
    .replaceAll("$__rate_interval", RATE_INTERVAL)
    .replaceAll("$__range", `${SHOWN_SECONDS}s`);
}

/** Asks every question in a few rounds, one after the other. */
export async function askAll(base: string): Promise<readonly Answered[]> {
  const answers: Answered[] = [];
  for (const question of questions()) {
    const rounds: { readonly seconds: number; readonly series: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) rounds.push(await ask(base, question));
    const seconds = Math.max(...rounds.map((round) => round.seconds));
    answers.push({ ...question, seconds, series: rounds.at(-1)?.series ?? 0 });
  }
  return answers;
}

async function ask(base: string, question: Question): Promise<{ readonly seconds: number; readonly series: number }> {
  const now = Date.now() / 1000;
  const startedAt = performance.now();
  const response = await fetch(urlOf(base, question, now));
  const { data } = (await response.json()) as { data?: { result: unknown[] } | string[] };
  const seconds = (performance.now() - startedAt) / 1000;
  if (!data) throw new Error(`${question.expr}: status ${response.status}`);
  return { seconds, series: Array.isArray(data) ? data.length : data.result.length };
}

function urlOf(base: string, { form, expr }: Question, now: number): string {
  const window = `start=${now - SHOWN_SECONDS}&end=${now}`;
  const query = `query=${encodeURIComponent(expr)}`;
  if (form === "instant") return `${base}/api/v1/query?${query}&time=${now}`;
  if (form === "range") return `${base}/api/v1/query_range?${query}&${window}&step=${STEP_SECONDS}`;
  const [label = "", ...selector] = expr.split(" ");
  return `${base}/api/v1/label/${label}/values?match[]=${encodeURIComponent(selector.join(" "))}&${window}`;
}
