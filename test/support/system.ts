/** What Linux tells and does about a running process: its children, descriptors and limits. Needs prlimit (util-linux). */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** PIDs of the children, as the kernel lists them. */
export function childrenOf(pid: number): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
}

/** How many descriptors it has open. */
export function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** A line of /proc/PID/status in bytes: VmSize, VmRSS, VmHWM. */
export function memoryOf(pid: number, line: "VmSize" | "VmRSS" | "VmHWM"): number {
  const kib = new RegExp(`^${line}:\\s+(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kib) * 1024;
}

/** Sets the soft limit of a running process. */
export function limit(pid: number, resource: "nofile" | "as", value: number): void {
  execFileSync("prlimit", [`--pid=${pid}`, `--${resource}=${value}:`]);
}
