/** A strict reader of the text exposition formats, to read back what was rendered. */
import { Broken, must } from "./target.ts";

/** One line of values. */
export interface ReadSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const COMMENT = /^# (?:HELP|TYPE) [a-zA-Z_:][\w:]* [^\n]*$/;
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/su;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/suy;
const ESCAPES: Readonly<Record<string, string>> = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/** All samples. Throws Broken on a line that is none, on a series that is there twice and on a value that is no number. */
export function readExposition(text: string): readonly ReadSample[] {
  must(text.endsWith("\n"), "no newline at the end");
  const lines = text.split("\n").filter((line) => line !== "" && line !== "# EOF");
  const samples = lines.filter((line) => !COMMENT.test(line)).map(sampleOf);
  const series = new Set(samples.map(({ name, labels }) => JSON.stringify([name, labels])));
  must(series.size === samples.length, "a series twice");
  return samples;
}

function sampleOf(line: string): ReadSample {
  const [, name = "", labels = "", number = ""] = SAMPLE.exec(line) ?? [];
  must(name !== "", `no sample: ${JSON.stringify(line)}`);
  const value = number === "+Inf" ? Infinity : Number(number);
  must(!Number.isNaN(value) && value !== -Infinity, `no number: ${number}`);
  return { name, labels: labelsOf(labels), value };
}

function labelsOf(text: string): Readonly<Record<string, string>> {
  const labels: Record<string, string> = {};
  for (let at = 0; at < text.length; at = LABEL.lastIndex) {
    LABEL.lastIndex = at;
    const [, name = "", value = ""] = LABEL.exec(text) ?? [];
    if (name === "") throw new Broken(`no labels: ${JSON.stringify(text)}`);
    must(!Object.hasOwn(labels, name), "a label twice");
    labels[name] = value.replace(/\\["\\n]/g, (escape) => ESCAPES[escape] ?? "");
  }
  return labels;
}
