import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { decodeMetrics, decodeSlots } from "../../src/sources/runner-endpoints/decode.ts";
import { recording } from "../support/fake-runner.ts";

describe("decoding what a runner answers", () => {
  it("reads the recordings of a real runner, idle and at work", () => {
    expect(decodeSlots(JSON.parse(recording("slots.json")))).toEqual({ slots: 1, slotsBusy: 0, activeTokens: 0 });
    expect(decodeSlots(JSON.parse(recording("slots-while-busy.json")))).toEqual({
      slots: 1,
      slotsBusy: 1,
      activeTokens: 2210,
    });
    expect(decodeMetrics(recording("metrics-while-busy.prom"))).toEqual({
      generatedTokens: 21,
      promptTokens: 41,
      promptTokensCached: 8,
      promptSeconds: 0.004697,
      generationSeconds: 0.007497,
      requestsProcessing: 1,
      requestsDeferred: 0,
    });
  });

  const busy = (next: unknown) => ({ is_processing: true, next_token: next });
  const SLOTS: readonly (readonly [unknown, ReturnType<typeof decodeSlots>])[] = [
    [undefined, {}],
    [{}, {}],
    ["slots", {}],
    [[1], {}],
    [[{ is_processing: "yes" }], {}],
    [[{ is_processing: false }, null], {}],
    [[], { slots: 0, slotsBusy: 0, activeTokens: 0 }],
    [[{ is_processing: true }], { slots: 1, slotsBusy: 1 }],
    [[busy([])], { slots: 1, slotsBusy: 1 }],
    [[busy([{ n_decoded: -1 }])], { slots: 1, slotsBusy: 1 }],
    [[busy([{ n_decoded: 1.5 }])], { slots: 1, slotsBusy: 1 }],
    [[busy([{ n_decoded: 1e300 }])], { slots: 1, slotsBusy: 1 }],
    [[busy([{ n_decoded: "7" }])], { slots: 1, slotsBusy: 1 }],
    [[busy({ n_decoded: 3 })], { slots: 1, slotsBusy: 1, activeTokens: 3 }],
    [[busy([{ n_decoded: 3 }, { n_decoded: 4 }])], { slots: 1, slotsBusy: 1, activeTokens: 7 }],
    [[busy([{ n_decoded: 3 }]), busy([])], { slots: 2, slotsBusy: 2 }],
    [[busy([{ n_decoded: 3 }]), { is_processing: false }], { slots: 2, slotsBusy: 1, activeTokens: 3 }],
  ];
  it.each(SLOTS)("takes the slots %j as %j", (answer, expected) => {
    expect(decodeSlots(answer)).toEqual(expected);
  });

  const VALUES: readonly (readonly [text: string, expected: number | undefined])[] = [
    ["0", 0],
    ["7", 7],
    ["1.5e+06", 1_500_000],
    ["1E3", 1_000],
    ["+4", 4],
    ["9007199254740993", 9_007_199_254_740_992],
    ["NaN", undefined],
    ["+Inf", undefined],
    ["Infinity", undefined],
    ["1e999", undefined],
    ["-1", undefined],
    ["-0", undefined],
    ["0x10", undefined],
    ["1_000", undefined],
    ["", undefined],
    ["5 1700000000000", undefined],
  ];
  it.each(VALUES)("takes the value %j of a metric as %j, and loses no other", (text, expected) => {
    const metrics = decodeMetrics(`llamacpp:tokens_predicted_total ${text}\nllamacpp:prompt_tokens_total 3\n`);
    expect(metrics).toEqual({ promptTokens: 3, ...(expected !== undefined && { generatedTokens: expected }) });
  });

  const TEXTS: readonly (readonly [what: string, text: string, expected: ReturnType<typeof decodeMetrics>])[] = [
    ["the same value twice", "llamacpp:prompt_tokens_total 3\nllamacpp:prompt_tokens_total 3", { promptTokens: 3 }],
    [
      "two different values of one metric",
      "llamacpp:prompt_tokens_total 3\nllamacpp:prompt_tokens_total 4\nllamacpp:requests_deferred 0",
      { requestsDeferred: 0 },
    ],
    ["lines that end as on Windows", "llamacpp:prompt_tokens_total 3\r\n", { promptTokens: 3 }],
    ["labels, which llama.cpp has none of", 'llamacpp:prompt_tokens_total{slot="0"} 3', undefined],
    ["nothing", "", undefined],
    ["a page", "<html>llamacpp:prompt_tokens_total 3</html>", undefined],
    ["another program's metrics", "ollama_up 1\n", undefined],
    ["a name of every object", "llamacpp:toString 1\nllamacpp:__proto__ 1", undefined],
    ["only metrics that are not kept", "llamacpp:n_decode_total 3", undefined],
  ];
  it.each(TEXTS)("takes %s for what it is", (_what, text, expected) => {
    expect(decodeMetrics(text)).toEqual(expected);
  });

  it("never throws, whatever comes", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (answer, text) => {
        decodeSlots(answer);
        decodeMetrics(`llamacpp:${text}`);
      }),
    );
  });
});
