/** What a runner answers to /slots and /metrics: one input is both. */
import type { RunnerEndpoints } from "../../src/snapshot.ts";
import { decodeMetrics, decodeSlots } from "../../src/sources/runner-endpoints/decode.ts";
import { captures, texts } from "../captures.ts";
import { mustComeOut, snapshotOf } from "../snapshots.ts";
import { mustCount, type Target } from "../target.ts";

const BLOB = "ab".repeat(32);
const MODEL = { name: "m", sizeVramBytes: 1, blobDigest: BLOB };
const OLLAMA = { loaded: [MODEL], loadedCount: 1, dropped: 0 };

export const target: Target = {
  seeds: () => [
    ...captures(/llama-server\/(?:slots|metrics)/),
    ...texts(
      '[{"is_processing":true,"next_token":{"n_decoded":3}},{"is_processing":false}]',
      "llamacpp:tokens_predicted_total 1\nllamacpp:requests_processing 2\n",
    ),
  ],
  words: ["1e308", "llamacpp:"],
  maxBytes: 65_536,
  json: true,
  check: async (input) => {
    const text = input.toString();
    const endpoints: RunnerEndpoints = { ...decodeSlots(jsonOf(text)), ...decodeMetrics(text) };
    if (Object.keys(endpoints).length === 0) return;
    for (const [key, value] of Object.entries(endpoints)) mustCount(value as number, key);
    const runner = { pid: 2, parentPid: 1, kind: "blob", blobDigest: BLOB, orphaned: false, endpoints } as const;
    const other = { ...runner, pid: 3 };
    const processes = { runners: [runner, other], ollamaPids: new Set([2, 3]), blind: false };
    await mustComeOut(snapshotOf({ ollama: OLLAMA, processes }));
  },
};

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
