/** CPU time and memory of a process and its children, from /proc. */
import { readFileSync } from "node:fs";

export const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** The middle one. */
export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

/** CPU time of a process and the children it has now, from now on. */
export class CpuMeter {
  readonly pids: readonly number[];
  readonly #before: number;

  constructor(pid: number) {
    this.pids = [pid, ...childrenOf(pid)];
    this.#before = sum(this.pids.map(cpuSeconds));
  }

  seconds(): number {
    return sum(this.pids.map(cpuSeconds)) - this.#before;
  }
}

/** Its share of shared memory counted in part. */
export function pssMb(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]) / 1024;
}

const childrenOf = (pid: number): readonly number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter((text) => text !== "")
    .map(Number);

/** In ticks of a hundredth of a second. */
function cpuSeconds(pid: number): number {
  const [, user = 0, system = 0] = /\) (?:\S+ ){11}(\d+) (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
  return (Number(user) + Number(system)) / 100;
}
