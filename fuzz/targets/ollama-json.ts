/** What a server answers to /api/version, /api/ps, /api/tags and /api/show, through to every output. */
import type { OllamaReading } from "../../src/snapshot.ts";
import {
  decodeBlobDigest,
  decodeInstalled,
  decodeLoaded,
  decodeVersion,
  OutlineError,
} from "../../src/sources/ollama/decode.ts";
import { captures } from "../captures.ts";
import { mustComeOut, snapshotOf } from "../snapshots.ts";
import { must, mustBeText, mustCount, type Target } from "../target.ts";

const NOW_MS = Date.UTC(2026, 10, 23, 19);
const MAY_BE_INFINITE = "expiresAtMs";
const OUTPUTS_UP_TO = 20;

export const target: Target = {
  seeds: () => captures(/^ollama\/v[\d.]+\/(?:ps|tags|show|version|err)[^/]*\.json$/),
  words: ["FROM /x/sha256-", "sha256:", "ab".repeat(32), "2026-11-23T19:56:49.121843117+01:00"],
  maxBytes: 65_536,
  json: true,
  check: async (input) => {
    const answer = jsonOf(input);
    if (answer === undefined) return;
    const version = valueOf(() => decodeVersion(answer).value);
    mustBeText(version, "the version");
    must(/^(?:[0-9a-f]{64})?$/.test(valueOf(() => decodeBlobDigest(answer)) ?? ""), "a digest that is none");
    const loaded = valueOf(() => decodeLoaded(answer, NOW_MS).value) ?? [];
    const installed = valueOf(() => decodeInstalled(answer).value) ?? [];
    for (const model of [...loaded, ...installed]) {
      must(model.name !== "", "a model without a name");
      for (const [key, value] of Object.entries(model) as [string, unknown][]) {
        if (typeof value === "string") mustBeText(value, key);
        else if (!(key === MAY_BE_INFINITE && value === Infinity)) mustCount(value as number, key);
      }
    }
    if (loaded.length === 0 || loaded.length > OUTPUTS_UP_TO) return;
    await mustSayAll({
      loaded,
      loadedCount: loaded.length,
      dropped: 0,
      installed,
      installedCount: installed.length,
      ...(version !== undefined && { version }),
    });
  },
};

async function mustSayAll(ollama: OllamaReading): Promise<void> {
  const samples = await mustComeOut(snapshotOf({ ollama }));
  const names = samples.filter(({ name }) => name === "ollama_model_loaded").map(({ labels }) => labels.model);
  for (const { name } of ollama.loaded) must(names.includes(name), `${JSON.stringify(name)} is not in the output`);
}

function jsonOf(input: Buffer): unknown {
  try {
    return JSON.parse(input.toString());
  } catch {
    return undefined; // the client says so
  }
}

/** An answer of another outline is what the caller expects. */
function valueOf<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof OutlineError) return undefined;
    throw error;
  }
}
