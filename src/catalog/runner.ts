/** Families of what a model's runners say over their own port (Ollama 0.30 and later). Labels of the scope: server, model. */
import type { Model, RequestCounters, Runner, RunnerEndpoints } from "../snapshot.ts";
import type { MetricSpec, Reading } from "./spec.ts";

const SLOTS = "runner's GET /slots";
const METRICS = "runner's GET /metrics";

/** The catalogue's section on tokens and slots. */
export const RUNNER_ENDPOINT_METRICS: readonly MetricSpec<Model>[] = [
  {
    name: "ollama_model_slots",
    type: "gauge",
    unit: "none",
    help: "Requests that the model's runners can work on at the same time.",
    source: SLOTS,
    read: (model) => sum(model, ({ slots }) => slots),
  },
  {
    name: "ollama_model_slots_busy",
    type: "gauge",
    unit: "none",
    help: "Requests that the model's runners work on now.",
    source: SLOTS,
    read: (model) => sum(model, ({ slotsBusy }) => slotsBusy),
  },
  {
    name: "ollama_model_active_tokens",
    type: "gauge",
    unit: "tokens",
    help: "Tokens decoded so far by the requests running now.",
    source: `${SLOTS}: next_token n_decoded`,
    read: (model) => sum(model, ({ activeTokens }) => activeTokens),
  },
  {
    name: "ollama_model_generated_tokens_total",
    type: "counter",
    unit: "tokens",
    help: "Tokens generated since the runner was started; moves at the end of each request.",
    source: `${METRICS}: tokens_predicted_total`,
    read: (model) => counted(model, ({ generatedTokens }) => generatedTokens),
  },
  {
    name: "ollama_model_prompt_tokens_total",
    type: "counter",
    unit: "tokens",
    labels: ["cached"],
    help: "Prompt tokens since the runner was started, taken from its cache or not; moves at the end of each request.",
    source: `${METRICS}: prompt_tokens_cached_total, prompt_tokens_total`,
    read: (model) => [
      ...labelled(
        counted(model, ({ promptTokensCached }) => promptTokensCached),
        "true",
      ),
      ...labelled(
        counted(model, ({ promptTokens }) => promptTokens),
        "false",
      ),
    ],
  },
  {
    name: "ollama_model_prompt_seconds_total",
    type: "counter",
    unit: "seconds",
    help: "Time spent on prompts since the runner was started.",
    source: `${METRICS}: prompt_seconds_total`,
    read: (model) => counted(model, ({ promptSeconds }) => promptSeconds),
  },
  {
    name: "ollama_model_generation_seconds_total",
    type: "counter",
    unit: "seconds",
    help: "Time spent on generating tokens since the runner was started.",
    source: `${METRICS}: tokens_predicted_seconds_total`,
    read: (model) => counted(model, ({ generationSeconds }) => generationSeconds),
  },
  {
    name: "ollama_model_requests_processing",
    type: "gauge",
    unit: "none",
    help: "Requests that the runners process now.",
    source: `${METRICS}: requests_processing`,
    read: (model) => sum(model, ({ requestsProcessing }) => requestsProcessing),
  },
  {
    name: "ollama_model_requests_deferred",
    type: "gauge",
    unit: "none",
    help: "Requests that wait in the runners; Ollama's own queue is not in it.",
    source: `${METRICS}: requests_deferred`,
    read: (model) => sum(model, ({ requestsDeferred }) => requestsDeferred),
  },
  {
    name: "ollama_model_request_metrics",
    type: "gauge",
    unit: "none",
    help: "1 when the runner's /metrics answers, 0 when the server was started without LLAMA_ARG_ENDPOINT_METRICS=1 in its environment.",
    source: METRICS,
    read: answersMetrics,
  },
];

/** What the model's runners used above the boards' idle power. */
export const MODEL_ENERGY_METRICS: readonly MetricSpec<Model>[] = [
  {
    name: "ollama_model_power_watts",
    type: "gauge",
    unit: "watts",
    labels: ["gpu"],
    help: "Mean power of the model's work on this GPU since the last reading, above the idle floor; process utilisation is a proxy for it.",
    source: "energy counter, ProcessUtilization",
    read: ({ energy }) =>
      energy?.flatMap(({ gpu, watts }) => (watts === undefined ? [] : [{ labels: { gpu }, value: watts }])),
  },
  {
    name: "ollama_model_energy_joules_total",
    type: "counter",
    unit: "joules",
    labels: ["gpu"],
    help: "Energy of the model's work on this GPU since the exporter started, above the idle floor.",
    source: "energy counter, ProcessUtilization",
    since: "exporter",
    read: ({ energy }) => energy?.map(({ gpu, joules }) => ({ labels: { gpu }, value: joules })),
  },
];

/** A sum with an unknown part is unknown. */
function sum({ runners = [] }: Model, pick: (endpoints: RunnerEndpoints) => number | undefined): number | undefined {
  const values = runners.map(({ endpoints }) => endpoints && pick(endpoints));
  if (values.length === 0) return undefined;
  return values.reduce((a, b) => (a === undefined || b === undefined ? undefined : a + b), 0);
}

/** Counts from the start of the youngest runner; the server's own, where they stand in, from a start that it does not tell. */
function counted(
  model: Model,
  pick: (counters: RequestCounters) => number | undefined,
): Exclude<Reading, number | boolean> {
  const served = model.requestCounters && pick(model.requestCounters);
  if (served !== undefined) return [{ labels: {}, value: served }];
  const value = sum(model, pick);
  if (value === undefined) return undefined;
  const starts = (model.runners ?? []).map(({ startTimeSeconds }: Runner) => startTimeSeconds);
  const known = starts.filter((start) => start !== undefined);
  return [{ labels: {}, value, ...(known.length === starts.length && { startTimeSeconds: Math.max(...known) }) }];
}

function labelled(reading: Exclude<Reading, number | boolean>, cached: string) {
  return (reading ?? []).map((sample) => ({ ...sample, labels: { cached } }));
}

function answersMetrics({ runners = [] }: Model): Reading {
  const answers = runners.map(({ endpoints }) => endpoints?.answersMetrics);
  if (answers.includes(false)) return false;
  return answers.length === 0 || answers.includes(undefined) ? undefined : true;
}
