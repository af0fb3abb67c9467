/** The YAML file: flat or nested keys, every problem with its line. */
import { isCollection, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { syntaxProblem } from "../lib/yaml-problems.ts";
import { visible } from "../lib/visible.ts";
import { OPTIONS } from "./options.ts";
import { nearest } from "./nearest.ts";

/** A value found in the file, as texts; several for a list. */
export interface FileValue {
  readonly flag: string;
  readonly values: readonly string[];
  /** `exporter.yml:12` */
  readonly where: string;
}

const MOST_HINTS = 20;

const KEYS = OPTIONS.filter(({ notInFile }) => !notInFile).map(({ flag }) => flag);

/** All values and all problems of a file's text. */
export function readFileValues(source: string, name: string): { values: FileValue[]; problems: string[] } {
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number) => `${name}:${lines.linePos(offset).line}`;
  const problems = document.errors.map(({ pos, message }) => `${at(pos[0])}: ${syntaxProblem(message)}`);
  const values: FileValue[] = [];

  function visit(node: unknown, prefix: string): void {
    if (!isMap(node)) return;
    for (const pair of node.items) {
      const key = isScalar(pair.key) ? String(pair.key.value) : "?";
      const flag = prefix === "" ? key : `${prefix}.${key}`;
      const where = at(offsetOf(pair.key));
      if (isMap(pair.value) && KEYS.some((known) => known.startsWith(`${flag}.`))) visit(pair.value, flag);
      else if (KEYS.includes(flag)) takeValue(flag, pair.value, where);
      else problems.push(`${where}: unknown key "${flag}"${hint(flag)}`);
    }
  }

  /** Nobody reads hundreds of hints. */
  function hint(flag: string): string {
    return problems.length < MOST_HINTS ? nearest(flag, KEYS) : "";
  }

  function takeValue(flag: string, node: unknown, where: string): void {
    const items: readonly unknown[] = isSeq(node) ? node.items : [node];
    const texts = items.map((item) => (isScalar(item) ? textOf(item.value) : undefined));
    const repeatable = OPTIONS.some((option) => option.flag === flag && option.repeatable);
    if (values.some((known) => known.flag === flag)) problems.push(`${where}: ${flag} is given twice`);
    else if (texts.includes(undefined)) problems.push(`${where}: ${flag}: expected a value, got ${kindOf(node)}`);
    else if (isSeq(node) && !repeatable) problems.push(`${where}: ${flag}: expected one value, got a list`);
    else values.push({ flag, values: texts.filter((text) => text !== undefined), where });
  }

  const { contents } = document;
  // What could not be read says nothing more, and may take a password for a key.
  if (document.errors.some(({ code }) => code !== "DUPLICATE_KEY")) return { values, problems: problems.map(visible) };
  if (contents !== null && !isMap(contents) && !(isScalar(contents) && contents.value === null)) {
    problems.push(`${name}: expected keys and values, got ${kindOf(contents)}`);
  }
  visit(contents, "");
  return { values, problems: problems.map(visible) };
}

/** `5`, `5s` and `true` are texts to us; the option's own parser decides. */
function textOf(value: unknown): string | undefined {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : undefined;
}

function kindOf(node: unknown): string {
  if (isSeq(node)) return "a list";
  return isCollection(node) ? "a map" : isScalar(node) && node.value !== null ? "a text" : "nothing";
}

function offsetOf(node: unknown): number {
  return isNode(node) ? (node.range?.[0] ?? 0) : 0;
}

const isNode = (value: unknown): value is Node => isScalar(value) || isCollection(value);
