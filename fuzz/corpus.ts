/**
 * The kept inputs of a target, in fuzz/corpus/TARGET: `grown.jsonl` is what runs have found to reach something of its own, a
 * line each; every other file is one input, named for what it once broke or what it stands for.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "corpus");
const GROWN = "grown.jsonl";

export interface KeptInput {
  readonly name: string;
  readonly input: Buffer;
}

/** All of them, by name. */
export function readCorpus(target: string, folder = FOLDER): readonly KeptInput[] {
  const files = existsSync(join(folder, target)) ? readdirSync(join(folder, target)).sort() : [];
  return files.flatMap((file): readonly KeptInput[] => {
    const content = readFileSync(join(folder, target, file));
    if (file !== GROWN) return [{ name: file, input: content }];
    const lines = content
      .toString()
      .split("\n")
      .filter((line) => line !== "");
    return lines.map((line, index) => ({ name: `${GROWN}:${index + 1}`, input: decode(line) }));
  });
}

/** Writes what runs have grown, the shortest first. */
export function writeGrown(target: string, inputs: readonly Buffer[], folder = FOLDER): void {
  const lines = [...new Set(inputs.map(encode))].sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  mkdirSync(join(folder, target), { recursive: true });
  writeFileSync(join(folder, target, GROWN), lines.map((line) => `${line}\n`).join(""));
}

/** A JSON text where the bytes are UTF-8, else an object with base64. */
function encode(input: Buffer): string {
  const text = input.toString();
  // What an editor could take for a line end or would not show is written as an escape.
  const visible = (line: string) =>
    line.replace(/[\u007f-\u009f\u2028-\u202f\ufeff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return Buffer.from(text).equals(input)
    ? visible(JSON.stringify(text))
    : JSON.stringify({ base64: input.toString("base64") });
}

function decode(line: string): Buffer {
  const value = JSON.parse(line) as string | { readonly base64: string };
  return typeof value === "string" ? Buffer.from(value) : Buffer.from(value.base64, "base64");
}
