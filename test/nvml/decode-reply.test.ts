import { describe, expect, it } from "@jest/globals";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeReply } from "../../src/sources/nvml/decode-reply.ts";

const GOLDENS = join(import.meta.dirname, "../goldens");
const READING = { gpus: [], boardCount: 0, callErrors: [], xidUuids: [], xidEvents: [], energySamples: [] };
const GPU = { gpu: "0", index: 0, uuid: "GPU-x", up: true, vendor: "nvidia" };

const reading = (parts: object) => ({ id: 3, type: "reading", reading: { ...READING, ...parts } });
const gpuOf = (values: object): unknown => {
  const reply = decodeReply(reading({ gpus: [{ ...GPU, ...values }] }));
  return reply?.type === "reading" ? reply.reading.gpus[0] : reply;
};

describe("what the driver's process sends", () => {
  it.each(["h100", "a100-mig", "rtx4090"])("is taken over whole: every value of the golden of %s", (name) => {
    const { gpus } = JSON.parse(
      readFileSync(join(GOLDENS, `nvml-${name}.json`), "utf8"),
      (key, value: unknown) => (key === "xidErrors" ? undefined : value), // those are counted by the parent
    ) as { gpus: object[] };
    expect(JSON.stringify(decodeReply(reading({ gpus, boardCount: gpus.length })))).toBe(
      JSON.stringify(reading({ gpus, boardCount: gpus.length })),
    );
  });

  it("is taken over whole: everything that goes with the GPUs", () => {
    const parts = {
      boardCount: 2,
      callErrors: [{ function: "nvmlDeviceGetName", code: "NVML_ERROR_UNKNOWN", count: 3 }],
      xidUuids: ["GPU-x"],
      xidEvents: [{ uuid: "GPU-x", xid: 79 }],
      energySamples: [
        { uuid: "GPU-x", atSeconds: 1.5, energyJoules: 2, busy: [[42, 60]] },
        { uuid: "GPU-x", atSeconds: 2.5, powerWatts: 70 },
      ],
    };
    expect(decodeReply(reading(parts))).toEqual(reading(parts));
  });

  it.each([
    { id: 3, type: "fault", function: "nvmlInit_v2", code: 9 },
    { id: 3, type: "unloadable", reason: "Cannot load x" },
    { id: 3, type: "error", reason: "a bug" },
  ])("is %j", (reply) => {
    expect(decodeReply(reply)).toEqual(reply);
  });

  it.each([null, "x", 5, [], {}, { type: "reading" }, { id: -1 }, { id: "3" }, { id: 1.5 }])(
    "answers nothing when it is %j",
    (message) => {
      expect(decodeReply(message)).toBeUndefined();
    },
  );

  it.each([
    { id: 3 },
    { id: 3, type: "fault", function: "f" },
    { id: 3, type: "unloadable" },
    { id: 3, type: "reading" },
    reading({ gpus: {} }),
    reading({ boardCount: -1 }),
    reading({ gpus: [null] }),
    reading({ gpus: [{ ...GPU, uuid: undefined }] }),
    reading({ gpus: [{ ...GPU, index: "0" }] }),
  ])("is an error when it is %j", (message) => {
    expect(decodeReply(message)).toEqual({ id: 3, type: "error", reason: "its answer cannot be understood" });
  });

  it("loses values of another kind, such as the null that JSON makes of what is no number", () => {
    const values = { powerDrawWatts: null, name: 7, memoryUsedBytes: "5", clockHertz: { sm: 1, memory: null } };
    expect(gpuOf({ ...values, temperatureCelsius: -3 })).toEqual({
      ...GPU,
      clockHertz: { sm: 1 },
      temperatureCelsius: -3,
    });
    expect(
      gpuOf({
        processes: [
          { pid: 1, kinds: ["compute", "x"], memoryBytes: -1 },
          { pid: "2", kinds: [] },
        ],
      }),
    ).toEqual({
      ...GPU,
      processes: [{ pid: 1, kinds: ["compute"] }],
    });
  });
});
