/** Machines that differ: boards, servers, models, owners and sizes by a seed, of the demo's building blocks. */
import {
  type Board,
  DEMO,
  type DemoModel,
  type DemoServer,
  type ForeignProcess,
  GIB,
  type Inventory,
  MIB,
} from "../../src/sources/demo/inventory.ts";
import { Random } from "../random.ts";

/** How many boards, by weight. */
const BOARD_COUNTS = [1, 1, 2, 2, 4, 4, 4, 4, 4, 8];
const FAMILIES = ["llama", "qwen3", "gemma3", "mistral3", "phi3", "deepseek2", "granite", "command-r"];
const SIZES = ["1.2B", "3.2B", "7.6B", "8.2B", "14.8B", "24.0B", "32.8B", "70.6B"];
const QUANTIZATIONS = ["Q4_K_M", "Q5_K_M", "Q8_0", "F16"];

const hex = (random: Random, digits: number): string =>
  Array.from({ length: digits }, () => Math.floor(random.next() * 16).toString(16)).join("");

const uuid = (random: Random, kind: "GPU" | "MIG"): string =>
  `${kind}-${[8, 4, 4, 4, 12].map((digits) => hex(random, digits)).join("-")}`;

/** The machine of one host; the same seed gives the same machine. */
export function inventoryOf(seed: number): Inventory {
  const random = new Random(seed * 7919 + 1);
  const boards = Array.from({ length: random.of(BOARD_COUNTS) }, (_, index) => boardOf(random, index));
  const servers = Array.from({ length: random.of([1, 1, 1, 2]) }, (_, index): DemoServer => {
    return { server: `127.0.0.1:${11_434 + index}`, port: 11_434 + index, pid: pid(random) };
  });
  const models = modelsOf(random, boards, servers);
  const foreign = random.next() < 0.3 ? { foreign: foreignOf(random, boards) } : {};
  return { boards, servers, models, ...foreign };
}

function boardOf(random: Random, index: number): Board {
  const { instances, ...kind } = random.of(DEMO.boards);
  const bus = (index * 16 + 25).toString(16).toUpperCase().padStart(2, "0");
  return {
    ...kind,
    ...{ index, uuid: uuid(random, "GPU"), bus: `00000000:${bus}:00.0` },
    vbios: `${kind.vbios.slice(0, 8)}.${hex(random, 2)}.${hex(random, 2)}`,
    limitWatts: Math.round(kind.limitWatts * random.between(0.7, 1)),
    ...(instances && { instances: instances.map((instance) => ({ ...instance, uuid: uuid(random, "MIG") })) }),
  };
}

/** Six to twenty-five, of which as many are loaded as the boards hold. */
function modelsOf(random: Random, boards: readonly Board[], servers: readonly DemoServer[]): readonly DemoModel[] {
  const places = boards.flatMap(({ index, memoryBytes, instances }): readonly (readonly [string, number])[] =>
    instances
      ? instances.map((instance, mig) => [`${index}:${mig}`, instance.memoryBytes] as const)
      : [[`${index}`, memoryBytes]],
  );
  const free = new Map(places);
  let toLoad = 1 + Math.floor(random.next() * 2 * boards.length);
  return Array.from({ length: 6 + Math.floor(random.next() * 20) }, (_, index) => {
    const family = random.of(FAMILIES);
    const fileBytes = Math.round(random.between(0.3, 22) * GIB);
    const vramBytes = Math.round((fileBytes * 1.15 + random.between(200, 900) * MIB) / MIB) * MIB;
    const fits = [...free].filter(([, bytes]) => bytes > vramBytes + GIB);
    const gpu = toLoad > 0 && fits.length > 0 ? random.of(fits)[0] : undefined;
    if (gpu !== undefined) {
      toLoad -= 1;
      free.set(gpu, (free.get(gpu) ?? 0) - vramBytes);
    }
    return {
      server: random.of(servers).server,
      name: `${family}-${index}:${random.of(SIZES).toLowerCase()}`,
      hex: hex(random, 64),
      ...{ family, parameterSize: random.of(SIZES), quantization: random.of(QUANTIZATIONS), fileBytes },
      contextTokens: random.of([2048, 4096, 8192, 32_768]),
      ...(gpu !== undefined && { pid: pid(random) }),
      vram: gpu === undefined ? {} : { [gpu]: vramBytes },
    };
  });
}

function foreignOf(random: Random, boards: readonly Board[]): ForeignProcess {
  const { index } = random.of(boards);
  return { pid: pid(random), gpu: `${index}`, memoryBytes: GIB, process: "python3", user: "research" };
}

const pid = (random: Random): number => 1000 + Math.floor(random.next() * 4_000_000);
