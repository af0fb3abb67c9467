/** Starts a reading that hangs, prints the worker's PID, and dies as by `kill -9`. */
import { readdirSync, readFileSync } from "node:fs";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLogger } from "../../src/logger.ts";
import { NvmlSource } from "../../src/sources/nvml/source.ts";

const [, , library = ""] = process.argv;
const source = new NvmlSource({
  library,
  mode: "nvml",
  timeoutMs: 800,
  energyIntervalMs: 0,
  retry: { attempts: 1, delayMs: 1 },
  clock: systemClock,
  logger: silentLogger,
});
void source.read(new AbortController().signal);
await systemClock.sleep(500); // until the worker is inside the driver
const parentOf = (pid: string): string | undefined => {
  try {
    return /\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1];
  } catch {
    return undefined;
  }
};
const worker = readdirSync("/proc").find((pid) => /^\d+$/.test(pid) && parentOf(pid) === String(process.pid));
process.stdout.write(worker ?? "", () => process.kill(process.pid, "SIGKILL"));
