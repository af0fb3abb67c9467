/** What the worker process sends: it shares its memory with the driver's library. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EnergyLedger } from "../../src/collect/energy.ts";
import { decodeReply } from "../../src/sources/nvml/decode-reply.ts";
import { texts } from "../captures.ts";
import { mustComeOut, snapshotOf } from "../snapshots.ts";
import { must, mustBeText, mustCount, type Target } from "../target.ts";

const GOLDENS = join(import.meta.dirname, "../../test/goldens");
const READING = { boardCount: 1, callErrors: [], xidUuids: [], xidEvents: [], energySamples: [] };

export const target: Target = {
  seeds: () => [
    ...goldens(),
    ...texts(
      '{"id":1,"type":"fault","function":"nvmlInit_v2","code":9}',
      '{"id":1,"type":"unloadable","reason":"Cannot load x"}',
      '{"id":1,"type":"reading","reading":{"gpus":[],"boardCount":0,"callErrors":[{"function":"f","code":"c","count":1}],"xidUuids":["u"],"xidEvents":[{"uuid":"u","xid":79}],"energySamples":[{"uuid":"u","atSeconds":1,"powerWatts":5,"busy":[[1,50]]},{"uuid":"u","atSeconds":2,"energyJoules":5}]}}',
    ),
  ],
  maxBytes: 16_384,
  json: true,
  check: async (input) => {
    const reply = decodeReply(jsonOf(input));
    if (!reply) return;
    mustCount(reply.id, "the number of the question");
    if (reply.type !== "reading") {
      mustBeText(reply.type === "fault" ? reply.function : reply.reason, "the reason");
      return;
    }
    const { gpus, boardCount, callErrors, energySamples } = reply.reading;
    const ledger = new EnergyLedger();
    const owners = {
      ollamaPids: new Set([42]),
      models: new Map([[42, "m"]]),
      starts: new Map(),
      others: new Set<number>(),
    };
    ledger.add(energySamples, owners);
    for (const { uuid } of energySamples) mustCount(ledger.ofBoard(uuid)?.ollamaJoules, "energy");
    must(
      gpus.every(({ gpu, uuid }) => gpu.isWellFormed() && uuid.isWellFormed()),
      "a GPU without a name",
    );
    await mustComeOut(snapshotOf({ nvml: { gpus, boardCount, callErrors, energySamples } }));
  },
};

function goldens(): readonly Buffer[] {
  return readdirSync(GOLDENS)
    .filter((file) => file.startsWith("nvml-"))
    .map((file) => {
      const { gpus } = JSON.parse(readFileSync(join(GOLDENS, file), "utf8")) as { readonly gpus: unknown };
      return Buffer.from(JSON.stringify({ id: 1, type: "reading", reading: { ...READING, gpus } }));
    });
}

function jsonOf(input: Buffer): unknown {
  try {
    return JSON.parse(input.toString());
  } catch {
    return undefined; // Node's channel would not have delivered it
  }
}
