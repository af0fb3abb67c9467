import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../lib/clock.ts";
import { parseListeners, parseSocketLink } from "./procfs-formats.ts";
import type { Procfs } from "./procfs.ts";

const CACHE_MS = 30_000;
const LINKS_PER_TURN = 500;

/**
 * TCP ports on which a process listens, ascending, in its own network namespace. Undefined when they are unreadable:
 * the links under /proc/PID/fd need the same user or CAP_SYS_PTRACE.
 */
export async function readListenPorts(procfs: Procfs, pid: number): Promise<readonly number[] | undefined> {
  // The kernel lists listening sockets first, so the beginning of the table is enough however many connections there are.
  const tables = ["tcp", "tcp6"].map((name) => procfs.largeText(`${pid}/net/${name}`));
  const descriptors = procfs.names(`${pid}/fd`);
  if (descriptors === undefined || tables.every((table) => table === undefined)) return undefined;
  const portOf = new Map(tables.flatMap((table) => [...parseListeners(table ?? "")]));
  const ports = new Set<number>();
  for (const [position, descriptor] of descriptors.entries()) {
    if (position % LINKS_PER_TURN === LINKS_PER_TURN - 1) await nextTurn();
    const port = portOf.get(parseSocketLink(procfs.link(`${pid}/fd/${descriptor}`) ?? "") ?? "");
    if (port !== undefined) ports.add(port);
  }
  return [...ports].sort((a, b) => a - b);
}

/** Listening ports by process, remembered for 30 s: a server does not change them while it lives. */
export class ListenPorts {
  readonly #procfs: Procfs;
  readonly #clock: Clock;
  readonly #known = new Map<string, { readonly ports: readonly number[]; readonly untilMs: number }>();

  constructor(procfs: Procfs, clock: Clock) {
    this.#procfs = procfs;
    this.#clock = clock;
  }

  /** `startTicks` tells a process from a later one with the same PID. */
  async of(pid: number, startTicks: number): Promise<readonly number[] | undefined> {
    const key = `${pid}:${startTicks}`;
    const known = this.#known.get(key);
    if (known && this.#clock.monotonic() < known.untilMs) return known.ports;
    const ports = await readListenPorts(this.#procfs, pid);
    this.#forget();
    // A server that has just started does not listen yet: ask again next time.
    if (ports?.length) this.#known.set(key, { ports, untilMs: this.#clock.monotonic() + CACHE_MS });
    return ports;
  }

  #forget(): void {
    for (const [key, { untilMs }] of this.#known) if (untilMs <= this.#clock.monotonic()) this.#known.delete(key);
  }
}
