import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  decodeBlobDigest,
  decodeInstalled,
  decodeLoaded,
  decodeVersion,
  OutlineError,
} from "../../src/sources/ollama/decode.ts";

const CAPTURES = join(import.meta.dirname, "../captures/ollama");
const NOW = Date.UTC(2026, 10, 23, 19);

const captures = (version: string, pattern: RegExp): readonly (readonly [string, unknown])[] =>
  readdirSync(join(CAPTURES, version))
    .filter((file) => pattern.test(file))
    .map((file) => [file, JSON.parse(readFileSync(join(CAPTURES, version, file), "utf8")) as unknown] as const);

describe.each(["v0.24.0", "v0.33.2"])("recorded answers of %s", (version) => {
  it("has recordings of every kind", () => {
    for (const kind of [/^ps/, /^tags/, /^show/, /^version/]) expect(captures(version, kind).length).toBeGreaterThan(0);
  });

  it.each(captures(version, /^ps/))("decodes %s without a problem", (_file, answer) => {
    const { value, problems } = decodeLoaded(answer, NOW);
    expect(problems).toEqual([]);
    for (const model of value) {
      expect(model).toMatchObject({ sizeVramBytes: 0, format: "gguf" });
      expect(model.digest).toMatch(/^[0-9a-f]{64}$/);
      expect(model.expiresAtMs).toBeGreaterThan(NOW - 7_200_000);
    }
  });

  it.each(captures(version, /^tags/))("decodes %s without a problem", (_file, answer) => {
    const { value, problems } = decodeInstalled(answer);
    expect(problems).toEqual([]);
    expect(value.length).toBeGreaterThan(0);
    for (const { modifiedAtMs, fileBytes } of value)
      expect([typeof modifiedAtMs, typeof fileBytes]).toEqual(["number", "number"]);
  });

  it.each(captures(version, /^show/))("finds the blob in %s", (_file, answer) => {
    expect(decodeBlobDigest(answer)).toMatch(/^[0-9a-f]{64}$/);
  });

  it("decodes the version", () => {
    for (const [, answer] of captures(version, /^version/)) expect(decodeVersion(answer).value).toBe(version.slice(1));
  });

  it("sees a keep-alive of -1 as never", () => {
    const [, answer] = captures(version, /^ps-keepalive-minus1/)[0] ?? [];
    expect(decodeLoaded(answer, NOW).value.map(({ expiresAtMs }) => expiresAtMs)).toEqual([Infinity]);
  });
});

describe("decoding what no Ollama sends", () => {
  it.each([null, 5, "x", [], {}, { models: {} }, { models: "x" }])("refuses %j as a list of models", (answer) => {
    expect(() => decodeLoaded(answer, NOW)).toThrow(OutlineError);
  });

  it("takes a null list for an empty one", () => {
    expect(decodeLoaded({ models: null }, NOW).value).toEqual([]);
  });

  it("loses a wrong field and nothing else", () => {
    const { value, problems } = decodeLoaded(
      {
        models: [
          { name: "m", size: "big", size_vram: 5, digest: 7, expires_at: "soon", context_length: -1, details: 3 },
        ],
      },
      NOW,
    );
    expect(value).toEqual([{ name: "m", sizeVramBytes: 5 }]);
    expect(problems).toHaveLength(5);
  });

  it("drops entries that are no objects or have no name, and repeats", () => {
    const { value } = decodeLoaded(
      { models: [null, 1, [], {}, { model: "a" }, { name: "a", size: 1 }, { name: "" }] },
      NOW,
    );
    expect(value).toEqual([{ name: "a" }]);
  });

  it("takes Go's zero time as not set", () => {
    expect(decodeLoaded({ models: [{ name: "m", expires_at: "0001-01-01T00:00:00Z" }] }, NOW).value).toEqual([
      { name: "m" },
    ]);
  });

  it("reads nine digits and an offset", () => {
    const { value } = decodeLoaded({ models: [{ name: "m", expires_at: "2026-11-23T19:56:49.121843117+01:00" }] }, NOW);
    expect(value[0]?.expiresAtMs).toBe(Date.UTC(2026, 10, 23, 18, 56, 49, 121));
  });

  it("throws nothing but OutlineError and gives no NaN, whatever comes", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (entry, answer) => {
        for (const body of [
          answer,
          { models: [entry, { name: "x", size: entry, expires_at: entry, details: entry }] },
        ]) {
          try {
            for (const model of decodeLoaded(body, NOW).value) expect(Object.values(model)).not.toContain(NaN);
          } catch (error) {
            expect(error).toBeInstanceOf(OutlineError);
          }
        }
      }),
    );
  });

  it("finds the first FROM line that is no comment", () => {
    const hex = (digit: string) => digit.repeat(64);
    const modelfile = `# FROM /x/sha256-${hex("a")}\nFROM /b/sha256-${hex("b")}\nFROM /c/sha256-${hex("c")}\n`;
    expect(decodeBlobDigest({ modelfile })).toBe(hex("b"));
    expect(decodeBlobDigest({ modelfile: "FROM mlx-model\n" })).toBeUndefined();
  });
});
