/** Series as a Prometheus API and a text exposition say them, under one key, so that both can be compared. */

export interface ApiResult {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [time: number, value: string];
}

/** An instant query. */
export async function query(api: string, expression: string): Promise<readonly ApiResult[]> {
  const answer = await fetch(`${api}query?query=${encodeURIComponent(expression)}`);
  const { data } = (await answer.json()) as { data?: { result: ApiResult[] } };
  if (!data) throw new Error(`${expression}: status ${answer.status}`);
  return data.result;
}

/** Name and labels in one text, without the labels that a server adds. */
export function keyOf(
  metric: Readonly<Record<string, string>>,
  added: readonly string[] = ["job", "instance"],
): string {
  const labels = Object.entries(metric)
    .filter(([name]) => name !== "__name__" && !added.includes(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `${metric.__name__ ?? ""}{${labels.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(",")}}`;
}

/** Series of a text exposition by the key above. */
export function parseExposition(text: string): Map<string, number> {
  const series = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = /^([a-zA-Z_0-9]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) continue;
    const pairs = [...labels.matchAll(/([a-z_0-9]+)="((?:[^"\\]|\\.)*)"/g)].map(
      ([, key = "", raw = ""]) => [key, unescape(raw)] as const,
    );
    // Prometheus writes the bounds of a histogram that it scraped as OpenMetrics as floats; an empty label is none to it.
    const metric = Object.fromEntries(
      pairs
        .filter(([, own]) => own !== "")
        .map(([key, own]) => [key, key === "le" && /^\d+$/.test(own) ? `${own}.0` : own]),
    );
    series.set(keyOf({ __name__: name, ...metric }), value === "+Inf" ? Infinity : Number(value));
  }
  return series;
}

const unescape = (raw: string): string =>
  raw.replace(/\\(.)/g, (_, letter: string) => (letter === "n" ? "\n" : letter));
