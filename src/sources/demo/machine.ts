/** What the synthetic machine does: a smooth function of time. Nothing in it is measured. */
import { CLOCK_EVENT_REASONS } from "../../catalog/gpu-health.ts";
import { CRITICAL_XIDS } from "../nvml/abi.ts";
import { CLOCK_EVENT_FIELDS } from "../nvml/fields.ts";
import type { ByName, Gpu, GpuProcess, LoadedModel, Runner, RunnerEndpoints } from "../../snapshot.ts";
import { type Board, type DemoModel, type Inventory, MIB } from "./inventory.ts";
import { load, PEAK, wave, work } from "./load.ts";

/** A time: seconds since the demo started, and unix seconds. */
export interface Moment {
  readonly seconds: number;
  readonly unixSeconds: number;
}

/** Boards and instances at a time. */
export function gpusAt(inventory: Inventory, moment: Moment): readonly Gpu[] {
  return inventory.boards.flatMap((board) => {
    const processesOn = (label: string) => processesAt(inventory, label, moment.seconds);
    return [boardAt(board, moment, processesOn), ...instancesAt(board, processesOn)];
  });
}

type ProcessesOn = (label: string) => readonly GpuProcess[];

function identityOf({ index, name, uuid, bus, capability, vbios }: Board): Gpu {
  return {
    gpu: String(index),
    index,
    uuid,
    up: true,
    name,
    vendor: "nvidia",
    driverVersion: "580.00.00",
    cudaVersion: "13.0",
    vbiosVersion: vbios,
    pciBusId: bus,
    computeCapability: capability,
  };
}

/** They share the GPU equally, so that it is never more than busy. */
function processesAt({ models, foreign }: Inventory, label: string, seconds: number): readonly GpuProcess[] {
  const own = models.flatMap(({ pid, vram }): GpuProcess[] => {
    const memoryBytes = vram[label];
    return pid === undefined || memoryBytes === undefined
      ? []
      : [{ pid, kinds: ["compute"], memoryBytes, smUtilizationRatio: load(pid, seconds) }];
  });
  const others: GpuProcess[] =
    label === foreign?.gpu
      ? [
          {
            pid: foreign.pid,
            kinds: ["compute"],
            memoryBytes: foreign.memoryBytes,
            smUtilizationRatio: load(foreign.pid, seconds),
          },
        ]
      : [];
  const all = [...own, ...others];
  return all.map(({ smUtilizationRatio = 0, ...process }) => ({
    ...process,
    smUtilizationRatio: Math.round((smUtilizationRatio / all.length) * 100) / 100,
  }));
}

function memoryOf(totalBytes: number, processes: readonly GpuProcess[]) {
  const reserved = 500 * MIB;
  const used = processes.reduce((sum, { memoryBytes = 0 }) => sum + memoryBytes, 0) + 180 * MIB;
  return {
    memoryTotalBytes: totalBytes,
    memoryUsedBytes: used,
    memoryReservedBytes: reserved,
    memoryFreeBytes: totalBytes - used - reserved,
  };
}

const countsOf = (processes: readonly GpuProcess[]): ByName => ({ compute: processes.length, graphics: 0, mps: 0 });

function instancesAt(board: Board, processesOn: ProcessesOn): readonly Gpu[] {
  return (board.instances ?? []).map(({ uuid, profile, memoryBytes }, migIndex) => {
    const gpu = `${board.index}:${migIndex}`;
    // The driver has no utilisation of processes in MIG mode.
    const processes = processesOn(gpu).map(({ pid, kinds, memoryBytes: bytes = 0 }) => ({
      pid,
      kinds,
      memoryBytes: bytes,
    }));
    return {
      ...identityOf(board),
      gpu,
      uuid,
      parentUuid: board.uuid,
      name: `${board.name} MIG ${profile}`,
      migProfile: profile,
      ...memoryOf(memoryBytes, processes),
      processes,
      processCounts: countsOf(processes),
    };
  });
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

const activeWatts = ({ limitWatts, idleWatts }: Board): number => limitWatts * 0.9 - idleWatts;

function boardAt(board: Board, { seconds, unixSeconds }: Moment, processesOn: ProcessesOn): Gpu {
  const { index, instances, limitWatts, idleWatts } = board;
  const processes = processesOn(String(index));
  const onInstances = (instances ?? []).flatMap((_, migIndex) => processesOn(`${index}:${migIndex}`));
  const pids = [...processes, ...onInstances].map(({ pid }) => pid);
  const busy = mean(pids.map((pid) => load(pid, seconds)));
  const watts = Math.round((idleWatts + busy * activeWatts(board)) * 1000) / 1000;
  return {
    ...identityOf(board),
    ...memoryOf(board.memoryBytes, [...processes, ...onInstances]),
    bar1MemoryTotalBytes: 2 ** Math.ceil(Math.log2(board.memoryBytes)),
    bar1MemoryUsedBytes: 12 * MIB,
    ...(instances ? {} : utilizationAt(busy, seconds)),
    ...(board.gpm && gpmAt(busy)),
    temperatureCelsius: Math.round(34 + busy * 40 + index * 2),
    temperatureMarginCelsius: Math.round(53 - busy * 40 - index * 2),
    temperatureThresholdCelsius: { shutdown: 95, slowdown: 92, memory_max: 95, gpu_max: 87 },
    ...(board.ecc && { memoryTemperatureCelsius: Math.round(41 + busy * 38) }),
    powerDrawWatts: watts,
    powerInstantWatts: Math.round((watts + (wave(seconds, 3, index) - 0.5) * 6) * 1000) / 1000,
    powerLimitWatts: limitWatts,
    powerEnforcedLimitWatts: limitWatts,
    powerDefaultLimitWatts: limitWatts,
    powerMinLimitWatts: Math.round(limitWatts * 0.3),
    powerMaxLimitWatts: limitWatts,
    energyJoules: energyAt(board, mean(pids.map((pid) => work(pid, seconds))), unixSeconds),
    ...clocksAt(board, busy, seconds),
    performanceState: busy > 0.05 ? 0 : 8,
    ...(board.fan && {
      fanSpeedRatio: { "0": Math.round(30 + busy * 50) / 100, "1": Math.round(31 + busy * 50) / 100 },
    }),
    pcieLinkGeneration: busy > 0.05 ? 4 : 1,
    pcieLinkGenerationMax: index === 0 ? 5 : 4,
    pcieLinkWidth: 16,
    pcieLinkWidthMax: 16,
    pcieReplays: 0,
    pcieReceiveBytes: Math.floor(unixSeconds) * 1_000_000 * (index + 1),
    pcieTransmitBytes: Math.floor(unixSeconds) * 400_000 * (index + 1),
    ...(board.nvlink && {
      nvlinkReceiveBytes: Math.floor(unixSeconds) * 3_000_000,
      nvlinkTransmitBytes: Math.floor(unixSeconds) * 2_900_000,
    }),
    ...healthOf(board),
    ...(instances && { migModeEnabled: 1 }),
    ...(!instances && index !== 2 && { migModeEnabled: 0 }),
    persistenceModeEnabled: index === 2 ? 0 : 1,
    xidErrors: Object.fromEntries(CRITICAL_XIDS.map((xid) => [xid, 0])),
    processes,
    processCounts: countsOf(processes),
  };
}

function utilizationAt(busy: number, seconds: number): Partial<Gpu> {
  return {
    utilizationRatio: Math.round(busy * 100) / 100,
    memoryUtilizationRatio: Math.round(busy * 60) / 100,
    encoderUtilizationRatio: 0,
    decoderUtilizationRatio: Math.round(wave(seconds, 400) * 4) / 100,
    jpegUtilizationRatio: 0,
    ofaUtilizationRatio: 0,
  };
}

/** Token generation waits for the memory: much bandwidth, few warps, little for the tensor cores to do. */
function gpmAt(busy: number): Partial<Gpu> {
  return {
    smActiveRatio: Math.round(busy * 930) / 1000,
    smOccupancyRatio: Math.round(busy * 310) / 1000,
    tensorActiveRatio: Math.round(busy * 120) / 1000,
    dramActiveRatio: Math.round(busy * 710) / 1000,
  };
}

/** The integral of the power since the demo started, on top of what an idle board would have used before. */
function energyAt(board: Board, workSeconds: number, unixSeconds: number): number {
  const { idleWatts } = board;
  return Math.round((idleWatts * (unixSeconds - 1_700_000_000) + workSeconds * activeWatts(board)) * 1000) / 1000;
}

function clocksAt({ graphicsMhz, throttles }: Board, busy: number, seconds: number): Partial<Gpu> {
  const mhz = Math.round(busy > 0.05 ? graphicsMhz * (throttles ? 0.82 : 0.97) : 210);
  const active = busy <= 0.05 ? "gpu_idle" : throttles ? "sw_thermal_slowdown" : "sw_power_cap";
  const held = (reason: string) => (reason === "sw_thermal_slowdown" && throttles ? Math.floor(seconds * 10) / 20 : 0);
  return {
    clockHertz: { graphics: mhz * 1e6, sm: mhz * 1e6, memory: 2619e6, video: Math.round(mhz * 0.8) * 1e6 },
    clockMaxHertz: {
      graphics: graphicsMhz * 1e6,
      sm: graphicsMhz * 1e6,
      memory: 2619e6,
      video: Math.round(graphicsMhz * 0.8) * 1e6,
    },
    clockEventReasonActive: Object.fromEntries(
      CLOCK_EVENT_REASONS.map((reason) => [reason, reason === active ? 1 : 0]),
    ),
    clockEventSeconds: Object.fromEntries(Object.keys(CLOCK_EVENT_FIELDS).map((reason) => [reason, held(reason)])),
  };
}

function healthOf({ ecc }: Board): Partial<Gpu> {
  if (!ecc) return { retiredPagesPending: 0 };
  const { corrected, uncorrected } = ecc;
  return {
    eccModeEnabled: 1,
    eccErrors: {
      "corrected/volatile": corrected,
      "corrected/aggregate": corrected * 3,
      "uncorrected/volatile": uncorrected,
      "uncorrected/aggregate": uncorrected,
    },
    remappedRows: { corrected: 0, uncorrected },
    rowRemapPending: uncorrected > 0 ? 1 : 0,
    rowRemapFailure: 0,
    recoveryAction: uncorrected > 0 ? "gpu_reset" : "none",
  };
}

/** A loaded model as /api/ps would list it: its expiry moves on with every (synthetic) request. */
export function loadedAt(model: DemoModel, nowMs: number): LoadedModel {
  const vram = Object.values(model.vram).reduce((sum, bytes) => sum + bytes, 0);
  const { name, hex, family, parameterSize, quantization, contextTokens, cpuBytes = 0 } = model;
  // Ollama's own figure leaves out contexts and workspaces of the driver.
  const reported = Math.round(vram * 0.95);
  return {
    name,
    digest: hex,
    blobDigest: hex,
    family,
    parameterSize,
    quantization,
    format: "gguf",
    sizeBytes: reported + cpuBytes,
    sizeVramBytes: reported,
    ...(contextTokens !== undefined && { contextTokens }),
    expiresAtMs: name.startsWith("nomic") ? Infinity : nowMs + 240_000 - (nowMs % 60_000),
  };
}

/** Two slots; what was generated and read follows from the work done. */
function endpointsAt(
  { pid, generatesPerSecond = 40, readsPerSecond = 600 }: DemoModel & { pid: number },
  seconds: number,
) {
  const slotsBusy = Math.round((2 * load(pid, seconds)) / PEAK);
  const generating = generatesPerSecond > 0 ? 0.9 : 0;
  const generationSeconds = Math.round(work(pid, seconds) * generating * 1000) / 1000;
  const promptSeconds = Math.round(work(pid, seconds) * (1 - generating) * 1000) / 1000;
  const promptTokens = Math.floor(promptSeconds * readsPerSecond);
  return {
    slots: 2,
    slotsBusy,
    activeTokens: Math.floor(slotsBusy * (seconds % 30) * generatesPerSecond),
    answersMetrics: true,
    generatedTokens: Math.floor(generationSeconds * generatesPerSecond),
    promptTokens,
    promptTokensCached: promptTokens * 2,
    promptSeconds,
    generationSeconds,
    requestsProcessing: slotsBusy,
    requestsDeferred: 0,
  } satisfies RunnerEndpoints;
}

/** The runner processes; their CPU time grows with the demo's age. */
export function runnersAt({ models, servers }: Inventory, seconds: number, startedSeconds: number): readonly Runner[] {
  return models.flatMap((model): Runner[] => {
    const { pid, hex, server, cpuBytes = 0 } = model;
    const parent = servers.find((candidate) => candidate.server === server);
    if (pid === undefined || !parent) return [];
    return [
      {
        pid,
        parentPid: parent.pid,
        kind: "blob",
        blobDigest: hex,
        port: 40_000 + (pid % 1000),
        hasEndpoints: true,
        endpoints: endpointsAt({ ...model, pid }, seconds),
        orphaned: false,
        parentListenPorts: [parent.port],
        startTimeSeconds: startedSeconds - 3600,
        residentMemoryBytes: 900 * MIB + cpuBytes,
        cpuSeconds: 120 + Math.floor(work(pid, seconds) * (cpuBytes > 0 ? 8 : 1) * 100) / 100,
      },
    ];
  });
}
