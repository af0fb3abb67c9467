import { describe, expect, it } from "@jest/globals";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const SOURCE = join(import.meta.dirname, "../src");

/** First match decides. A file imports only from its own layer or below. */
const LAYERS: readonly (readonly [pattern: RegExp, layer: number])[] = [
  [/^(errors|logger|units|build-info)\.ts$|^lib\//, 0],
  [/^snapshot(\.ts$|\/)|^catalog\//, 1],
  [/^sources\//, 2],
  [/^attribution(\.ts|\/)|^collect\//, 3],
  [/^families\//, 4],
  [/^outputs\//, 5],
  [/^(config\/|pipeline|monitor|exporter|command|cli|index)/, 6],
];

/** Packages that one place alone may import. */
const OWNERS: readonly (readonly [pattern: RegExp, owner: RegExp])[] = [
  [/^koffi$/, /^sources\/nvml\/library\.ts$/],
  [/^prom-client$/, /^outputs\/prometheus\/render\.ts$/],
  [/^@opentelemetry\//, /^outputs\/otel\//],
  [/^ollama$/, /^sources\/ollama\/client\.ts$/],
  [/^undici$/, /^sources\/ollama\/client\.ts$/],
  [/^yaml$/, /^(config\/file|outputs\/http\/web-config\/(format|go-yaml))\.ts$/],
  [/^bcryptjs$/, /^outputs\/http\/web-config\/bcrypt-worker\.ts$/],
];

const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
const textOf = (file: string): string => readFileSync(join(SOURCE, file), "utf8");

function importsOf(file: string): { readonly inside: readonly string[]; readonly outside: readonly string[] } {
  const names = [...textOf(file).matchAll(/(?:from|import\()\s*"([^"]+)"/g)].map(([, name = ""]) => name);
  return {
    inside: names
      .filter((name) => name.startsWith("."))
      .map((name) => relative(SOURCE, resolve(SOURCE, dirname(file), name))),
    outside: names.filter((name) => !name.startsWith(".")),
  };
}

const layerOf = (file: string): number => LAYERS.find(([pattern]) => pattern.test(file))?.[1] ?? NaN;

describe("the structure of the sources", () => {
  it("has a layer for every file", () => {
    expect(files.filter((file) => Number.isNaN(layerOf(file)))).toEqual([]);
  });

  it("imports downwards only", () => {
    const upward = files.flatMap((file) =>
      importsOf(file)
        .inside.filter((target) => layerOf(target) > layerOf(file))
        .map((target) => `${file} imports ${target} from a layer above`),
    );
    expect(upward).toEqual([]);
  });

  it("has no cycles", () => {
    const cycles: string[] = [];
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (path.includes(file) || done.has(file)) return;
      for (const target of importsOf(file).inside) visit(target, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it.each(OWNERS)("imports %s in one place", (pattern, owner) => {
    expect(
      files.filter((file) => !owner.test(file) && importsOf(file).outside.some((name) => pattern.test(name))),
    ).toEqual([]);
  });

  it("touches the environment, arguments and exit only in cli.ts and config/load.ts", () => {
    const touching = files.filter((file) => /\bprocess\.(env|argv|exit)\b/.test(textOf(file)));
    expect(touching.sort()).toEqual(["cli.ts", "config/load.ts"]);
  });

  it("has no file over 400 lines", () => {
    expect(files.filter((file) => textOf(file).split("\n").length > 401)).toEqual([]);
  });
});
