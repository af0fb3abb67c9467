import { describe, expect, it } from "@jest/globals";
import { humanBytes, processorShare, untilWords } from "../../src/outputs/status/ollama-words.ts";
import { formatStatusText, type StatusTextOptions } from "../../src/outputs/status/text.ts";
import { toStatusDict } from "../../src/outputs/status/json.ts";
import { modelGpuUsages } from "../../src/outputs/status/status.ts";
import type { Model, Snapshot } from "../../src/snapshot.ts";
import { type ByteUnit, convertByteUnit } from "../../src/units.ts";

const NOW = new Date(2026, 10, 23, 18, 0, 0).getTime();
const SNAPSHOT: Snapshot = {
  startedAtMs: 0,
  takenAtMs: NOW,
  gpus: [
    {
      gpu: "0",
      index: 0,
      uuid: "GPU-0",
      up: true,
      vendor: "nvidia",
      name: "NVIDIA GeForce RTX 3090",
      memoryTotalBytes: 24_576 * 1024 ** 2,
      memoryUsedBytes: 1024 ** 3,
      memoryFreeBytes: 23_552 * 1024 ** 2,
      utilizationRatio: 0.03,
      temperatureCelsius: 41,
      powerDrawWatts: 20,
      powerLimitWatts: 350,
    },
    { gpu: "1", index: 1, uuid: "GPU-1", up: false, vendor: "nvidia" },
  ],
  owners: [],
  energy: [],
  processes: [],
  servers: [],
  models: [
    {
      server: "127.0.0.1:11434",
      name: "llama3.2:3b",
      loaded: {
        name: "llama3.2:3b",
        digest: "a80c4f17acd5".padEnd(64, "0"),
        sizeBytes: 3_300_000_000,
        sizeVramBytes: 3_300_000_000,
        expiresAtMs: NOW + 280_000,
      },
    },
  ],
  transitions: [],
  collectors: [],
  nvmlRestarts: 0,
  nvmlCallErrors: [],
  dropped: { models: 0, processes: 0 },
};

describe("the status text", () => {
  const options = { unit: "MB", includeGpu: true, includeTimestamp: true, nowMs: NOW } as const;

  it("has the original class's layout", () => {
    expect(formatStatusText(SNAPSHOT, options)).toBe(
      [
        "STATUS AS OF: 2026-11-23 18:00:00",
        "",
        "OLLAMA PROCESSES:",
        "NAME                      ID              SIZE       PROCESSOR       UNTIL               ",
        "─".repeat(85),
        "llama3.2:3b               a80c4f17acd5    3.3 GB     100% GPU        4 minutes from now  ",
        "",
        "GPU STATUS:",
        "─".repeat(50),
        "GPU 0: NVIDIA GeForce RTX 3090",
        "  Memory: 1024.00/24576.00 MB (4.2%)",
        "  Utilization: 3%",
        "  Temperature: 41°C",
        "  Power: 20.00W / 350.00W (5.7%)",
        "",
        "GPU 1: n/a",
        "  Memory: n/a/n/a MB (n/a)",
        "  Utilization: n/a",
        "  Temperature: n/a",
        "  Power: n/a / n/a (n/a)",
        "",
      ].join("\n"),
    );
  });

  it("says so when nothing runs, and why there is no GPU", () => {
    const empty = { ...SNAPSHOT, gpus: [], models: [] };
    expect(formatStatusText(empty, { ...options, includeTimestamp: false, includeGpu: false })).toBe(
      "NO OLLAMA PROCESSES RUNNING.\n",
    );
    expect(formatStatusText(empty, options)).toContain("n/a: no NVIDIA GPU");
  });
});

describe("what models do, in the status text", () => {
  const options = { unit: "MB", includeGpu: true, includeTimestamp: true, nowMs: NOW } as const;
  const original = formatStatusText(SNAPSHOT, options);
  const [known] = SNAPSHOT.models;
  const runner = { pid: 1, parentPid: 0, kind: "blob", orphaned: false } as const;
  const textOf = (more: Partial<Model>, change: Partial<StatusTextOptions> = {}) =>
    formatStatusText({ ...SNAPSHOT, models: known ? [{ ...known, ...more }] : [] }, { ...options, ...change });
  const energy = [{ gpu: "0", joules: 9, watts: 125.25 }];
  const HEAD = ["MODELS AT WORK:", "NAME                      BUSY SLOTS TOKENS/S     POWER       ", "─".repeat(62)];

  it("stands below the original layout, which stays as it is byte for byte", () => {
    const endpoints = { slots: 4, slotsBusy: 1, generatedTokens: 300, generationSeconds: 6 };
    const work = [...HEAD, "llama3.2:3b               1/4        50.0         125.25W     ", ""].join("\n");
    expect(textOf({ runners: [{ ...runner, endpoints }], energy })).toBe(`${original}\n${work}`);
    const short = { includeGpu: false, includeTimestamp: false };
    expect(
      textOf({ runners: [{ ...runner, endpoints }], energy }, short)
        .split("\n")
        .slice(3),
    ).toEqual([expect.stringMatching(/^llama3/), "", ...work.split("\n")]);
  });

  it("says n/a for what is unknown beside what is known, and nothing when nothing is", () => {
    const work = [...HEAD, "llama3.2:3b               n/a        n/a          125.25W     ", ""].join("\n");
    expect(textOf({ runners: [runner], energy })).toBe(`${original}\n${work}`);
    expect(textOf({ runners: [runner], energy: [{ gpu: "0", joules: 9 }] })).toBe(original);
  });

  it("ends with how to switch the token counters on where they are off", () => {
    const off = textOf({ runners: [{ ...runner, endpoints: { answersMetrics: false } }] });
    expect(off.slice(original.length)).toBe(
      "\nNo token counters from 127.0.0.1:11434: set LLAMA_ARG_ENDPOINT_METRICS=1 in the environment of `ollama serve` and restart it (deploy/ollama/README.md)\n",
    );
    expect(textOf({ runners: [{ ...runner, endpoints: { answersMetrics: true } }] })).toBe(original);
  });

  it("is in the JSON of the original class too, but only where known", () => {
    const endpoints = { slots: 4, slotsBusy: 1, generatedTokens: 300, generationSeconds: 6 };
    const jsonOf = (more: Partial<Model>) =>
      toStatusDict({ ...SNAPSHOT, models: known ? [{ ...known, ...more }] : [] }, options).model_gpu_usage[0] ?? {};
    expect(jsonOf({ runners: [{ ...runner, endpoints }], energy })).toMatchObject({
      slots: 4,
      slots_busy: 1,
      tokens_per_second: 50,
      power_watts: 125.25,
    });
    expect(Object.keys(jsonOf({})).at(-1)).toBe("gpu_match_quality");
  });
});

describe("a model's usage", () => {
  const [known] = SNAPSHOT.models;
  const runner = { pid: 1, parentPid: 0, kind: "blob", orphaned: false } as const;
  const usageOf = (more: Partial<Model>) =>
    modelGpuUsages({ ...SNAPSHOT, models: known ? [{ ...known, ...more }] : [] }, { unit: "MB", nowMs: NOW })[0];

  it("says what it does now where the runners and the driver tell", () => {
    const endpoints = { slots: 2, slotsBusy: 1, generatedTokens: 300, generationSeconds: 6 };
    const energy = [
      { gpu: "0", joules: 9, watts: 100 },
      { gpu: "1", joules: 9, watts: 25 },
    ];
    expect(usageOf({ runners: [{ ...runner, endpoints }], energy })).toMatchObject({
      slots: 2,
      slotsBusy: 1,
      tokensPerSecond: 50,
      powerWatts: 125,
    });
  });

  it("says nothing where they do not", () => {
    const unknown = usageOf({ runners: [runner], energy: [{ gpu: "0", joules: 9 }] });
    for (const field of ["slots", "slotsBusy", "tokensPerSecond", "powerWatts"])
      expect(unknown).not.toHaveProperty(field);
  });
});

describe("the words of ollama ps", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1_000, "1 KB"],
    [1_500, "1.5 KB"],
    [3_300_000_000, "3.3 GB"],
    [9_990_000_000, "10.0 GB"],
    [10_900_000_000, "10 GB"],
    [45_000_000_000, "45 GB"],
    [2e15, "2000 TB"],
  ])("writes %i bytes as %p", (bytes, words) => {
    expect(humanBytes(bytes)).toBe(words);
  });

  it.each([
    [100, 100, "100% GPU"],
    [100, 0, "100% CPU"],
    [100, 55, "45%/55% CPU/GPU"],
    [100, 101, "Unknown"],
    [0, 0, "100% CPU"],
    [undefined, 5, "Unknown"],
  ])("writes the share of size %p, VRAM %p as %p", (size, vram, words) => {
    expect(processorShare(size, vram)).toBe(words);
  });

  const MINUTE = 60_000;
  it.each([
    [-1, "Stopping..."],
    [500, "Less than a second from now"],
    [1_000, "1 second from now"],
    [59_000, "59 seconds from now"],
    [MINUTE, "About a minute from now"],
    [4.9 * MINUTE, "4 minutes from now"],
    [60 * MINUTE, "About an hour from now"],
    [5 * 60 * MINUTE, "5 hours from now"],
    [72 * 60 * MINUTE, "3 days from now"],
    [30 * 24 * 60 * MINUTE, "4 weeks from now"],
    [100 * 24 * 60 * MINUTE, "3 months from now"],
    [3 * 365 * 24 * 60 * MINUTE, "3 years from now"],
    [Infinity, "Forever"],
  ])("writes an expiry in %p ms as %p", (ms, words) => {
    expect(untilWords(NOW + ms, NOW)).toBe(words);
  });
});

describe("convertByteUnit", () => {
  it.each([
    [1, "GB", "MB", 1024],
    [8, "bit", "B", 1],
    [1, "Byte", "b", 8],
    [1, "TB", "GB", 1024],
    [1536, "KB", "MB", 1.5],
    [null, "GB", "MB", 0],
    [undefined, "GB", "MB", 0],
  ] as const)("converts %p %s to %s", (value, source, target, expected) => {
    expect(convertByteUnit(value, source, target)).toBe(expected);
  });

  it("refuses what is no number and units that do not exist", () => {
    expect(() => convertByteUnit("5" as unknown as number, "GB", "MB")).toThrow(TypeError);
    expect(() => convertByteUnit(5, "XB" as unknown as ByteUnit, "MB")).toThrow(RangeError);
  });
});
