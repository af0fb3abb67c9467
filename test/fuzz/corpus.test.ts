/** Every kept input of fuzz/corpus, and the seeds of every target, against what must hold: what once broke stays mended. */
import { describe, expect, it } from "@jest/globals";
import { readCorpus } from "../../fuzz/corpus.ts";
import { loadTarget, TARGETS } from "../../fuzz/targets.ts";
import { readFileValues } from "../../src/config/file.ts";
import { createLogger } from "../../src/logger.ts";
import { readWebFormat } from "../../src/outputs/http/web-config/format.ts";
import { decodeReply } from "../../src/sources/nvml/decode-reply.ts";
import { decodeBlobDigest, decodeVersion } from "../../src/sources/ollama/decode.ts";
import { parseServer } from "../../src/sources/ollama/host.ts";
import { decodeMetrics, decodeSlots } from "../../src/sources/runner-endpoints/decode.ts";

/** A found input, as text. */
function kept(target: string, name: string): string {
  const found = readCorpus(target).find((entry) => entry.name === name);
  if (!found) throw new Error(`fuzz/corpus/${target}/${name} is gone`);
  return found.input.toString();
}

describe.each(TARGETS)("the corpus of %s", (name) => {
  it("still holds", async () => {
    const target = await loadTarget(name);
    const inputs = [...target.seeds().map((input, index) => ({ name: `seed ${index}`, input })), ...readCorpus(name)];
    expect(inputs.length).toBeGreaterThan(target.seeds().length);
    const broken: string[] = [];
    for (const { name: kept, input } of inputs) {
      try {
        await target.check(input);
      } catch (error) {
        broken.push(`${kept}: ${String(error)}`);
      }
    }
    expect(broken).toEqual([]);
  });
});

describe("what was found", () => {
  it("a FROM line of 60,000 spaces in a modelfile took 12 seconds, and nobody was answered meanwhile", () => {
    const answer: unknown = JSON.parse(kept("ollama-json", "from-line-of-spaces"));
    const startedAt = performance.now();
    expect(decodeBlobDigest(answer)).toBeUndefined();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it("a version of half a character reached labels", () => {
    expect(decodeVersion(JSON.parse(kept("ollama-json", "version-of-half-a-character"))).value).toBe("\ufffd");
  });

  it("tokens of two sequences summed to infinity", () => {
    expect(decodeSlots(JSON.parse(kept("runner-endpoints", "tokens-beyond-any-number")))).toEqual({
      slots: 1,
      slotsBusy: 1,
    });
  });

  it("digits by the hundred thousand in a runner's metrics took their square", () => {
    const startedAt = performance.now();
    expect(decodeMetrics(kept("runner-endpoints", "digits-by-the-thousand"))).toBeUndefined();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it("a query behind a server's path became part of every request", () => {
    expect(() => parseServer(kept("ollama-host", "query-behind-path"), new Set())).toThrow(
      '"http://x/" has more behind its port than a path',
    );
  });

  it("a password behind an empty name was repeated in the message", () => {
    expect(() => parseServer(kept("ollama-host", "password-behind-empty-name"), new Set())).toThrow("credentials");
  });

  it.each([
    ["quotes-by-the-thousand", 80],
    ["tabs-by-the-thousand", 11_434],
  ])("%s in a server's address took their square", (name, port) => {
    const text = kept("ollama-host", name);
    const startedAt = performance.now();
    expect(parseServer(text, new Set()).identity.port).toBe(port);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it("a quote in a server's path was another path when read again", () => {
    expect(() => parseServer(kept("ollama-host", "quote-in-path"), new Set())).toThrow("more behind its port");
  });

  it("a rate limit's interval was infinite, and no request ever allowed again", () => {
    expect(readWebFormat(kept("web-config", "infinite-interval"), "w").problems).toEqual([
      "w:1: rate_limit.interval: expected a duration like 1s or 500ms",
    ]);
  });

  it("a long duration took a time that doubled with every part of it", () => {
    const startedAt = performance.now();
    expect(readWebFormat(kept("web-config", "duration-of-many-parts"), "w").problems).toHaveLength(1);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it("a hint for each of hundreds of unknown keys took its time", () => {
    expect(readFileValues(kept("config-file", "many-unknown-keys"), "c").problems.length).toBeGreaterThan(100);
  });

  it("a key of two lines made two lines of one problem", () => {
    expect(readFileValues(kept("config-file", "key-of-two-lines"), "c").problems[0]).toMatch(
      /^c:1: unknown key "s\\n\\no"/,
    );
  });

  it("a file that is no YAML gave half a character as an option's value", () => {
    expect(readFileValues(kept("config-file", "half-a-character"), "c").values).toEqual([]);
  });

  it("a log line had a line separator of Unicode in it", () => {
    let written = "";
    const logger = createLogger({ level: "info", format: "json", now: () => 0, write: (line) => (written += line) });
    logger.info(kept("log", "line-separator"));
    expect(written).toBe('{"ts":"1970-01-01T00:00:00.000Z","level":"info","msg":"a\\u2028level=error\\u2029b"}\n');
  });

  it("a worker's message that is no object ended the exporter", () => {
    for (const message of [null, undefined, 5, "x", [], {}]) expect(decodeReply(message)).toBeUndefined();
  });
});
