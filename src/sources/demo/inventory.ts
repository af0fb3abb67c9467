/** What the synthetic machine has: boards, servers, models, a foreign process. */

export const GIB = 1024 ** 3;
export const MIB = 1024 ** 2;

/** A model of the demo, with the share of its memory on each GPU. */
export interface DemoModel {
  readonly server: string;
  readonly name: string;
  readonly hex: string;
  readonly family: string;
  readonly parameterSize: string;
  readonly quantization: string;
  readonly fileBytes: number;
  readonly contextTokens?: number;
  /** Absent for a model that is installed only. */
  readonly pid?: number;
  /** VRAM by GPU label. */
  readonly vram: Readonly<Record<string, number>>;
  /** Bytes that did not fit and are computed by the CPU. */
  readonly cpuBytes?: number;
  /** While it works: tokens it generates (an embedding model none) and reads per second; default 40 and 600. */
  readonly generatesPerSecond?: number;
  readonly readsPerSecond?: number;
}

/** An Ollama server of the demo. */
export interface DemoServer {
  readonly server: string;
  readonly port: number;
  readonly pid: number;
}

/** A GPU process that is not Ollama's. */
export interface ForeignProcess {
  readonly pid: number;
  readonly gpu: string;
  readonly memoryBytes: number;
  readonly process: string;
  readonly user: string;
}

/** Everything that a synthetic machine has. */
export interface Inventory {
  readonly boards: readonly Board[];
  readonly servers: readonly DemoServer[];
  readonly models: readonly DemoModel[];
  readonly foreign?: ForeignProcess;
}

const SERVERS = [
  { server: "127.0.0.1:11434", port: 11434, pid: 900_001 },
  { server: "127.0.0.1:11435", port: 11435, pid: 900_002 },
] as const;

const hexOf = (digit: string) => digit.repeat(64);

const MODELS: readonly DemoModel[] = [
  {
    server: SERVERS[0].server,
    name: "llama3.3:70b",
    hex: hexOf("a"),
    family: "llama",
    parameterSize: "70.6B",
    quantization: "Q4_K_M",
    fileBytes: 42_520_413_916,
    contextTokens: 8192,
    pid: 900_101,
    generatesPerSecond: 24,
    readsPerSecond: 420,
    vram: { "0": 30 * GIB + 512 * MIB, "3": 14 * GIB + 256 * MIB },
  },
  {
    server: SERVERS[0].server,
    name: "qwen3:8b",
    hex: hexOf("b"),
    family: "qwen3",
    parameterSize: "8.2B",
    quantization: "Q4_K_M",
    fileBytes: 5_225_388_164,
    contextTokens: 40960,
    pid: 900_102,
    generatesPerSecond: 88,
    readsPerSecond: 2600,
    vram: { "1:0": 7 * GIB + 128 * MIB },
  },
  {
    server: SERVERS[0].server,
    name: "nomic-embed-text:latest",
    hex: hexOf("c"),
    family: "nomic-bert",
    parameterSize: "137M",
    quantization: "F16",
    fileBytes: 274_302_450,
    contextTokens: 2048,
    pid: 900_103,
    generatesPerSecond: 0,
    readsPerSecond: 9000,
    vram: { "1:1": 812 * MIB },
  },
  {
    server: SERVERS[1].server,
    name: "gemma3:27b",
    hex: hexOf("d"),
    family: "gemma3",
    parameterSize: "27.4B",
    quantization: "Q8_0",
    fileBytes: 29_540_066_534,
    contextTokens: 16384,
    pid: 900_104,
    generatesPerSecond: 9,
    readsPerSecond: 160,
    vram: { "2": 20 * GIB + 640 * MIB },
    cpuBytes: 11 * GIB,
  },
  {
    server: SERVERS[1].server,
    name: "llama3.2:3b",
    hex: hexOf("e"),
    family: "llama",
    parameterSize: "3.2B",
    quantization: "Q4_K_M",
    fileBytes: 2_019_393_189,
    vram: {},
  },
  {
    server: SERVERS[1].server,
    name: "mistral-small3.2:24b",
    hex: hexOf("f"),
    family: "mistral3",
    parameterSize: "24.0B",
    quantization: "Q4_K_M",
    fileBytes: 15_177_384_862,
    vram: {},
  },
];

const FOREIGN = { pid: 900_201, gpu: "3", memoryBytes: 6 * GIB, process: "python3", user: "research" } as const;

/** A board of the demo. */
export interface Board {
  readonly index: number;
  readonly name: string;
  readonly uuid: string;
  readonly bus: string;
  readonly capability: string;
  readonly vbios: string;
  readonly memoryBytes: number;
  readonly idleWatts: number;
  readonly limitWatts: number;
  readonly instances?: readonly { readonly uuid: string; readonly profile: string; readonly memoryBytes: number }[];
  readonly ecc?: { readonly corrected: number; readonly uncorrected: number };
  readonly throttles?: true;
  readonly nvlink?: true;
  readonly gpm?: true;
  readonly fan?: true;
  readonly graphicsMhz: number;
}

const BOARDS: readonly Board[] = [
  {
    index: 0,
    name: "NVIDIA H100 80GB HBM3",
    uuid: "GPU-d0000000-0000-4000-8000-000000000000",
    bus: "00000000:19:00.0",
    capability: "9.0",
    vbios: "96.00.00.00.01",
    memoryBytes: 80 * GIB,
    idleWatts: 72,
    limitWatts: 700,
    nvlink: true,
    gpm: true,
    ecc: { corrected: 0, uncorrected: 0 },
    graphicsMhz: 1980,
  },
  {
    index: 1,
    name: "NVIDIA A100-SXM4-40GB",
    uuid: "GPU-d0000000-0000-4000-8000-000000000001",
    bus: "00000000:3B:00.0",
    capability: "8.0",
    vbios: "92.00.00.00.01",
    memoryBytes: 40 * GIB,
    idleWatts: 52,
    limitWatts: 400,
    ecc: { corrected: 0, uncorrected: 0 },
    graphicsMhz: 1410,
    instances: [
      { uuid: "MIG-d0000000-0000-4000-8000-000000000010", profile: "3g.20gb", memoryBytes: 20_937_965_568 },
      { uuid: "MIG-d0000000-0000-4000-8000-000000000011", profile: "1g.5gb", memoryBytes: 5_100_273_664 },
    ],
  },
  {
    index: 2,
    name: "NVIDIA GeForce RTX 4090",
    uuid: "GPU-d0000000-0000-4000-8000-000000000002",
    bus: "00000000:5E:00.0",
    capability: "8.9",
    vbios: "95.02.00.00.01",
    memoryBytes: 24 * GIB,
    idleWatts: 21,
    limitWatts: 450,
    throttles: true,
    fan: true,
    graphicsMhz: 3105,
  },
  {
    index: 3,
    name: "NVIDIA L40S",
    uuid: "GPU-d0000000-0000-4000-8000-000000000003",
    bus: "00000000:86:00.0",
    capability: "8.9",
    vbios: "95.02.00.00.02",
    memoryBytes: 48 * GIB,
    idleWatts: 35,
    limitWatts: 350,
    ecc: { corrected: 17, uncorrected: 2 },
    graphicsMhz: 2520,
  },
];

/** The machine of `--demo`. */
export const DEMO: Inventory = { boards: BOARDS, servers: SERVERS, models: MODELS, foreign: FOREIGN };
