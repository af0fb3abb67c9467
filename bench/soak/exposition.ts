/** A strict reader of text expositions: anything a scraper would refuse, and every duplicate, is an error. */

export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** Of its family: gauge, counter, histogram, ... */
  readonly type: string;
}

/** Series by name and sorted labels. */
export type Exposition = ReadonlyMap<string, Series>;

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)(?: [\d.]+)?$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const SUFFIX = /_(?:total|bucket|sum|count|created|info)$/;

/** @throws with the line and what is wrong with it */
export function parseStrictly(text: string, { openMetrics }: { readonly openMetrics: boolean }): Exposition {
  if (!text.endsWith(openMetrics ? "\n# EOF\n" : "\n")) throw new Error("the body is cut off");
  const types = new Map<string, string>();
  const closed = new Set<string>();
  const series = new Map<string, Series>();
  let family = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const [, name, type] = /^# TYPE (\S+) (\w+)$/.exec(line) ?? [];
    if (name !== undefined && type !== undefined) {
      if (types.has(name)) throw new Error(`the family ${name} is there twice`);
      types.set(name, type);
    }
    if (line.startsWith("#") || line === "") continue;
    const sample = parseSample(line, types);
    if (sample.family !== family) {
      closed.add(family);
      family = sample.family;
      if (closed.has(family)) throw new Error(`the family ${family} is not in one piece: ${line}`);
    }
    if (series.has(sample.key)) throw new Error(`duplicate series ${sample.key}`);
    series.set(sample.key, sample.series);
  }
  return series;
}

function parseSample(
  line: string,
  types: ReadonlyMap<string, string>,
): { readonly key: string; readonly family: string; readonly series: Series } {
  const [, name, labelText = "", number] = SAMPLE.exec(line) ?? [];
  if (name === undefined || number === undefined) throw new Error(`no sample: ${line}`);
  const value = number === "+Inf" ? Infinity : Number(number);
  if (Number.isNaN(value)) throw new Error(`no number, and none is ever NaN: ${line}`);
  const family = types.has(name) ? name : name.replace(SUFFIX, "");
  const type = types.get(family);
  if (type === undefined) throw new Error(`no TYPE before ${line}`);
  const pairs = [...labelText.matchAll(LABEL)].map(([, label = "", text = ""]) => [label, text] as const);
  const labels = Object.fromEntries(pairs);
  if (Object.keys(labels).length !== pairs.length) throw new Error(`a label is there twice: ${line}`);
  return { key: keyOf(name, labels), family, series: { name, labels, value, type } };
}

/** Name and sorted labels in one text. */
export function keyOf(name: string, labels: Readonly<Record<string, string>>): string {
  const text = Object.keys(labels)
    .sort()
    .map((label) => `${label}="${labels[label] ?? ""}"`);
  return `${name}{${text.join(",")}}`;
}
