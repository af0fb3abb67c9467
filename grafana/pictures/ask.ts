/** Asks a Prometheus what a panel asks, with the board's variables filled in as Grafana would. */
import type { Board, Panel, Target } from "./board.ts";

export interface Window {
  readonly fromSeconds: number;
  readonly toSeconds: number;
  readonly stepSeconds: number;
  readonly scrapeSeconds: number;
}

/** A series of a range query, or with one point of an instant one. */
export interface Series {
  readonly refId: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly points: readonly (readonly [seconds: number, value: number])[];
}

/** Chosen values of variables, by name; one that is not named is All. */
export type Choice = Readonly<Record<string, string>>;

interface ApiSeries {
  readonly metric: Readonly<Record<string, string>>;
  readonly values?: readonly (readonly [number, string])[];
  readonly value?: readonly [number, string];
}

/** What each variable of the board is replaced with. */
export function valuesOf({ templating }: Board, choice: Choice): ReadonlyMap<string, string> {
  return new Map(
    templating.list.map(({ name, query, allValue }) => [
      name,
      choice[name] ?? allValue ?? (typeof query === "string" ? query : ""),
    ]),
  );
}

/** The expression without variables. $__rate_interval is Grafana's: four scrapes, or a step and a scrape. */
export function filledIn(expr: string, values: ReadonlyMap<string, string>, window: Window): string {
  const { fromSeconds, toSeconds, stepSeconds, scrapeSeconds } = window;
  const builtIn = new Map([
    ["__rate_interval", `${Math.max(stepSeconds + scrapeSeconds, 4 * scrapeSeconds)}s`],
    ["__range", `${toSeconds - fromSeconds}s`],
    ["__interval", `${stepSeconds}s`],
  ]);
  return expr.replaceAll(/\$(\w+)/g, (text, name: string) => builtIn.get(name) ?? values.get(name) ?? text);
}

/** Grafana's legendFormat: `{{label}}` becomes the label's value, nothing where it has none. */
export function legendOf(format: string, labels: Readonly<Record<string, string>>): string {
  return format
    .replaceAll(/\{\{\s*(\w+)\s*\}\}/g, (_, name: string) => labels[name] ?? "")
    .replaceAll(/\s+/g, " ")
    .trim();
}

/** All series of a panel, in the order of its queries. Throws what Prometheus answers when it refuses one. */
export async function askPanel(
  panel: Panel,
  values: ReadonlyMap<string, string>,
  { url, window }: { readonly url: string; readonly window: Window },
): Promise<readonly Series[]> {
  const answers = await Promise.all(
    panel.targets.map((target) => ask(url, target, { expr: filledIn(target.expr, values, window), window })),
  );
  return answers.flat();
}

async function ask(
  url: string,
  target: Target,
  { expr, window }: { readonly expr: string; readonly window: Window },
): Promise<readonly Series[]> {
  const { fromSeconds, toSeconds, stepSeconds } = window;
  const parameters = target.instant
    ? { query: expr, time: String(toSeconds) }
    : { query: expr, start: String(fromSeconds), end: String(toSeconds), step: String(stepSeconds) };
  const path = target.instant ? "query" : "query_range";
  const answer = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(parameters).toString()}`);
  const { data, error } = (await answer.json()) as { data?: { result: readonly ApiSeries[] }; error?: string };
  if (!data) throw new Error(`${expr}: ${error ?? `status ${answer.status}`}`);
  return data.result.map(({ metric, values, value }) => ({
    refId: target.refId,
    name: legendOf(target.legendFormat, metric),
    labels: metric,
    points: (values ?? (value ? [value] : [])).map(([seconds, text]) => [seconds, numberOf(text)] as const),
  }));
}

const numberOf = (text: string): number => (text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text));
