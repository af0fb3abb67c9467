/** Starts a reading that hangs and prints the worker's PID; then waits to be killed, or with "at once" dies as by `kill -9`. */
import { systemClock } from "../../src/lib/clock.ts";
import { silentLogger } from "../../src/logger.ts";
import { NvmlSource } from "../../src/sources/nvml/source.ts";
import { WorkerProcess } from "../../src/sources/nvml/worker-process.ts";

const [, , library = "", end] = process.argv;
const worker = new WorkerProcess(process.env);
const source = new NvmlSource({
  library,
  mode: "nvml",
  timeoutMs: 60_000,
  energyIntervalMs: 0,
  workerEnvironment: process.env,
  retry: { attempts: 1, delayMs: 1 },
  clock: systemClock,
  logger: silentLogger,
  startWorker: () => worker,
});
void source.read(new AbortController().signal);
setImmediate(() => {
  process.stdout.write(`${worker.pid ?? ""}\n`, () => {
    if (end === "at once") process.kill(process.pid, "SIGKILL");
  });
});
