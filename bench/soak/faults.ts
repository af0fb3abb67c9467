/** What is broken and mended again: one row per kind. */
import type { ServerResponse } from "node:http";
import type { FakeOtlp } from "../../test/support/fake-otlp.ts";
import type { Behaviour } from "../../test/support/fake-ollama.ts";
import type { Random } from "../random.ts";
import type { World } from "./world.ts";

export interface FaultContext {
  readonly world: World;
  readonly receiver: FakeOtlp;
  readonly random: Random;
  /** The exporter's worker process, if there is one now. */
  readonly worker: () => number | undefined;
  readonly crowd: (requests: number) => Promise<void>;
}

export interface Fault {
  readonly name: string;
  /** Two faults at the same time are of two groups. */
  readonly group: "driver" | "ollama" | "runner" | "receiver" | "clients";
  /** How long it is kept, seconds from and to. */
  readonly holdSeconds: readonly [number, number];
  /** Everything must be well again this long after it was mended. */
  readonly recoverySeconds: number;
  /** What the exporter must have said meanwhile, at least once in a run; absent when it may rightly notice nothing. */
  readonly sign?: RegExp;
  /** Breaks it; returns how to mend it. */
  readonly begin: (context: FaultContext) => Promise<() => Promise<void>>;
}

/** The exporter kills a hanging worker at most every 30 s (docs/architecture.md), so two hangs in a row take that long. */
const BETWEEN_KILLS_SECONDS = 30;

const HANGING = ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetTemperatureThreshold"];

const ENDPOINTS = ["/api/version", "/api/ps", "/api/tags", "/api/show"];

/** One server misbehaves in one way on every path. */
function misbehave(behaviour: (random: Random) => Behaviour): Fault["begin"] {
  return ({ world, random }) => {
    const server = random.of(world.ollamas);
    const how = behaviour(random);
    for (const path of ENDPOINTS) server.behaviours.set(path, how);
    return Promise.resolve(() => {
      server.behaviours.clear();
      // What hangs is never answered by itself.
      server.closeConnections();
      return Promise.resolve();
    });
  };
}

const GARBAGE: readonly ((response: ServerResponse) => void)[] = [
  (response) => response.setHeader("content-type", "text/html").end("<html><body>It works!</body></html>"),
  (response) => response.setHeader("content-type", "application/json").end('{"models":[{"name":"soak'),
  (response) => response.end("[1,2,3]"),
  (response) => response.end(Buffer.from([0, 255, 254, 253])),
];

const driverFault = (fault: Omit<Fault, "group">): Fault => ({ ...fault, group: "driver" });
const ollamaFault = (fault: Omit<Fault, "group" | "holdSeconds" | "sign" | "recoverySeconds">): Fault => ({
  ...fault,
  group: "ollama",
  holdSeconds: [3, 6],
  sign: /^ollama /,
  recoverySeconds: 10,
});

export const FAULTS: readonly Fault[] = [
  driverFault({
    name: "driver call hangs",
    holdSeconds: [3, 6],
    recoverySeconds: BETWEEN_KILLS_SECONDS + 10,
    sign: /^nvml /,
    begin: async ({ world, random }) => {
      await world.breakDriver({ [random.of(HANGING)]: { hang: random.of(["forever", "while-set"]) } });
      return () => world.breakDriver({});
    },
  }),
  driverFault({
    name: "driver crashes the worker",
    holdSeconds: [2, 5],
    recoverySeconds: 15,
    sign: /^nvml /,
    begin: async ({ world, random }) => {
      await world.breakDriver({ [random.of(HANGING)]: { crash: true } });
      return () => world.breakDriver({});
    },
  }),
  driverFault({
    name: "GPU lost",
    holdSeconds: [3, 6],
    recoverySeconds: 10,
    sign: /^gpu /,
    begin: async ({ world, random }) => {
      const gpu = random.of([0, 1, 2]);
      await world.breakDriver({ "*": { rc: 15, gpu: `${gpu}` } }, [gpu]);
      return () => world.breakDriver({});
    },
  }),
  driverFault({
    name: "worker killed (SIGKILL)",
    holdSeconds: [1, 2],
    recoverySeconds: 10,
    begin: async ({ worker }) => {
      const pid = worker();
      if (pid !== undefined) process.kill(pid, "SIGKILL");
      return Promise.resolve(() => Promise.resolve());
    },
  }),
  driverFault({
    name: "worker stopped (SIGSTOP, SIGCONT)",
    holdSeconds: [3, 6],
    recoverySeconds: 15,
    sign: /^nvml /,
    begin: async ({ worker }) => {
      const pid = worker();
      if (pid !== undefined) process.kill(pid, "SIGSTOP");
      return Promise.resolve(() => {
        if (pid !== undefined && worker() === pid) process.kill(pid, "SIGCONT"); // else it was killed for hanging
        return Promise.resolve();
      });
    },
  }),
  ollamaFault({ name: "Ollama hangs", begin: misbehave(() => () => undefined) }),
  ollamaFault({
    name: "Ollama answers 500",
    begin: misbehave(
      () => (_, response) => response.writeHead(500).end('{"error":"llama runner process has terminated"}'),
    ),
  }),
  ollamaFault({
    name: "Ollama answers garbage",
    begin: misbehave((random) => (_, response) => {
      random.of(GARBAGE)(response);
    }),
  }),
  ollamaFault({
    name: "Ollama restarts",
    begin: async ({ world, random }) => {
      const index = world.ollamas.indexOf(random.of(world.ollamas));
      const server = world.ollamas[index];
      await server?.close();
      return async () => {
        await server?.listen(Number(world.addresses[index]?.split(":")[1]));
      };
    },
  }),
  {
    name: "runner killed (SIGKILL), model still listed",
    group: "runner",
    holdSeconds: [3, 5],
    recoverySeconds: 10,
    sign: /^runner/,
    begin: async ({ world, random }) => {
      const running = world.models.filter(({ runnerPid }) => runnerPid !== undefined);
      if (running.length === 0) return () => Promise.resolve();
      const { name } = random.of(running);
      await world.killRunner(name);
      return () => world.unload(name);
    },
  },
  {
    name: "OTLP receiver down",
    group: "receiver",
    holdSeconds: [3, 6],
    recoverySeconds: 20,
    begin: ({ receiver, random }) => {
      const well = receiver.answer;
      receiver.answer = random.of<(response: ServerResponse) => void>([
        (response) => response.writeHead(503).end(),
        (response) => response.destroy(),
        () => undefined,
      ]);
      return Promise.resolve(() => {
        receiver.answer = well;
        return Promise.resolve();
      });
    },
  },
  {
    name: "120 scrapes at once",
    group: "clients",
    holdSeconds: [0, 1],
    recoverySeconds: 10,
    begin: async ({ crowd }) => {
      await crowd(120);
      return () => Promise.resolve();
    },
  },
];
