/** The soak's own eyes: a run that sees nothing wrong proves nothing unless these see what is wrong. */
import { describe, expect, it } from "@jest/globals";
import { parseStrictly } from "../../bench/soak/exposition.ts";
import { type Sample, slopeOf } from "../../bench/soak/resources.ts";
import { Random } from "../../bench/random.ts";
import { Templates } from "../../bench/soak/templates.ts";
import type { WorldModel } from "../../bench/soak/world.ts";

const text = (body: string) => parseStrictly(body, { openMetrics: false });

describe("parseStrictly", () => {
  it("reads what the exporter writes", () => {
    const body = text('# HELP a_total Say "a".\n# TYPE a_total counter\na_total{b="x\\ny \\"q\\"",c=""} 1.5\n');
    expect([...body.values()]).toEqual([
      { name: "a_total", labels: { b: 'x\\ny \\"q\\"', c: "" }, value: 1.5, type: "counter" },
    ]);
  });

  it.each([
    [
      "a duplicate, also with its labels in another order",
      '# TYPE a gauge\na{b="1",c="2"} 1\na{c="2",b="1"} 1\n',
      "duplicate",
    ],
    ["a body that ends in the middle of a line", "# TYPE a gauge\na 1\na{b", "cut off"],
    ["a family in two pieces", '# TYPE a gauge\n# TYPE b gauge\na 1\nb 1\na{c="1"} 1\n', "not in one piece"],
    ["a second TYPE", "# TYPE a gauge\na 1\n# TYPE a gauge\n", "there twice"],
    ["a sample without a TYPE", "a 1\n", "no TYPE"],
    ["a label twice", '# TYPE a gauge\na{b="1",b="2"} 1\n', "label is there twice"],
    ["NaN", "# TYPE a gauge\na NaN\n", "no number"],
    ["a line that is no sample", "# TYPE a gauge\na{b=1} 1\n", "no sample"],
  ])("refuses %s", (_, body, message) => {
    expect(() => text(body)).toThrow(message);
  });

  it("misses the end of an OpenMetrics body", () => {
    expect(() => parseStrictly("# TYPE a gauge\na 1\n", { openMetrics: true })).toThrow("cut off");
  });
});

describe("slopeOf", () => {
  const samples = (pssAt: (second: number) => number): readonly Sample[] =>
    Array.from({ length: 600 }, (_, atSeconds) => ({ atSeconds, pssMb: pssAt(atSeconds), oldMb: 0, descriptors: 0 }));
  const growth = (pssAt: (second: number) => number): number =>
    slopeOf(samples(pssAt), ({ pssMb }) => pssMb)?.growth ?? NaN;

  it("finds a leak below the saw-tooth of garbage collection", () => {
    expect(growth((second) => 100 + (second % 17) * 3 + second * 0.05)).toBeCloseTo(30, -1);
  });

  it("sees no slope in a saw-tooth, nor in a single peak", () => {
    expect(growth((second) => 100 + (second % 17) * 3)).toBeCloseTo(0);
    expect(growth((second) => (second > 300 && second < 340 ? 300 : 100))).toBeCloseTo(0);
  });

  it("says nothing of a few samples", () => {
    expect(slopeOf(samples(() => 1).slice(0, 3), ({ pssMb }) => pssMb)).toBeUndefined();
  });
});

describe("Templates", () => {
  const model = (name: string, more: Partial<WorldModel>): WorldModel => {
    return { server: 0, name, blob: "", gpu: 0, bytes: 1, loaded: false, ...more };
  };
  const body = text(`# TYPE gpu_up gauge
gpu_up{gpu="0"} 1
# TYPE ollama_up gauge
ollama_up{server="soak0"} 1
# TYPE ollama_model_loaded gauge
ollama_model_loaded{server="soak0",model="a"} 1
ollama_model_loaded{server="soak0",model="b"} 0
# TYPE ollama_model_vram_bytes gauge
ollama_model_vram_bytes{server="soak0",model="a",gpu="0"} 1
# TYPE gpu_process_memory_bytes gauge
gpu_process_memory_bytes{gpu="0",pid="7"} 1
# TYPE ollama_gpu_exporter_build_info gauge
ollama_gpu_exporter_build_info{version="1"} 1
`);
  const state = {
    ...{ fromMs: 0, untilMs: Infinity, lostBoards: new Set<number>(), calm: true },
    models: [model("a", { loaded: true, runnerPid: 7 }), model("b", {})],
  };
  const templates = Templates.learn(body, state);
  const running = [...body.values()].filter(({ labels }) => labels.model === "a");

  it("finds nothing wrong with a model like the one it learnt from", () => {
    expect(templates.differences("model running", running)).toEqual([]);
  });

  it("names the series that is lost, and the one that must not be there", () => {
    expect(templates.differences("model running", running.slice(0, 1))).toEqual(["lost ollama_model_vram_bytes{}"]);
    expect(templates.differences("model idle", running)).toEqual(["unexpected ollama_model_vram_bytes{}"]);
  });

  it("says which family nobody can have learnt from it", () => {
    expect(templates.lacking).toContain("ollama_model_slots of a model running");
    expect(templates.lacking).not.toContain("ollama_model_vram_bytes of a model running");
  });

  it("does not learn from a body that lacks a kind of entity", () => {
    expect(() => Templates.learn(body, { ...state, models: [] })).toThrow("model idle");
  });
});

describe("Random", () => {
  it("asks for the same in the same order after the same seed, and for other things after another", () => {
    const of = (seed: number) => {
      const random = new Random(seed);
      return random.shuffled(Array.from({ length: 20 }, (_, index) => index));
    };
    expect(of(7)).toEqual(of(7));
    expect(of(7)).not.toEqual(of(8));
    expect(of(7).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index));
  });
});
