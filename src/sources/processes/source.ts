import { setImmediate as nextTurn } from "node:timers/promises";
import { messageOf } from "../../errors.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../logger.ts";
import type { ProcessDetail, ProcessesReading, Runner } from "../../snapshot.ts";
import { failed, type Source, type SourceResult } from "../source.ts";
import { Accounts } from "./accounts.ts";
import { readParent, type ParentFacts } from "./parents.ts";
import { parseContainerId, TICKS_PER_SECOND, type ProcStat } from "./procfs-formats.ts";
import { Procfs } from "./procfs.ts";
import { classify, OLLAMA_MARK, type OllamaRole, type RunnerModel } from "./runners.ts";
import { ListenPorts } from "./sockets.ts";
import { readVisibility } from "./visibility.ts";

const PROCESSES_PER_TURN = 100;

export interface ProcessesSourceOptions {
  /** Root of the process table, `/proc` or where the host's is mounted. */
  readonly procfs: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Finds Ollama's processes in the process table. Files beside the command line are read for those alone. */
export class ProcessesSource implements Source<ProcessesReading> {
  readonly name = "processes";
  readonly target = "local";
  readonly #options: ProcessesSourceOptions;
  readonly #procfs: Procfs;
  readonly #listenPorts: ListenPorts;
  readonly #accounts = new Accounts();
  #bootTimeSeconds: number | undefined;
  #warned = false;

  constructor(options: ProcessesSourceOptions) {
    this.#options = options;
    this.#procfs = new Procfs(options.procfs);
    this.#listenPorts = new ListenPorts(this.#procfs, options.clock);
  }

  async read(signal: AbortSignal): Promise<SourceResult<ProcessesReading>> {
    try {
      this.#procfs.takeExhaustion();
      const roles = await this.#scan(signal);
      const { blind, limitation } = readVisibility(this.#procfs);
      if (limitation !== undefined && !this.#warned) {
        this.#warned = true;
        this.#options.logger.warn(limitation);
      }
      const ollamaPids = new Set(roles.keys());
      const runners = await this.#readRunners(roles);
      const exhaustion = this.#procfs.takeExhaustion();
      if (exhaustion) return failed(`The process table was not read as a whole: ${messageOf(exhaustion)}`);
      return { status: "ok", value: { runners, ollamaPids, blind } };
    } catch (error) {
      if (error instanceof OutOfTime) return failed(error.message, true);
      const root = this.#procfs.root;
      const remedy = "set --path.procfs to the process table, in a container to where the host's /proc is mounted";
      return failed(`Cannot read the process table ${root}: ${messageOf(error)}; ${remedy}`);
    }
  }

  /** What the table says about processes that the driver listed; one that is gone has empty values. Never throws. */
  async describe(pids: Iterable<number>): Promise<ReadonlyMap<number, ProcessDetail>> {
    const details = new Map<number, ProcessDetail>();
    for (const pid of pids) {
      if (details.size % PROCESSES_PER_TURN === PROCESSES_PER_TURN - 1) await nextTurn();
      const uid = this.#procfs.status(pid)?.uid;
      details.set(pid, {
        process: this.#procfs.text(`${pid}/comm`)?.replace(/\n$/, "") ?? "",
        containerId: parseContainerId(this.#procfs.text(`${pid}/cgroup`) ?? ""),
        user: uid === undefined ? "" : this.#accounts.nameOf(uid),
      });
    }
    return details;
  }

  /** Nothing is kept open between readings. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  async #scan(signal: AbortSignal): Promise<ReadonlyMap<number, OllamaRole>> {
    const { clock, timeoutMs } = this.#options;
    const deadline = clock.monotonic() + timeoutMs;
    const roles = new Map<number, OllamaRole>();
    for (const [position, pid] of this.#procfs.pids().entries()) {
      if (position % PROCESSES_PER_TURN === 0) {
        await nextTurn();
        if (signal.aborted || clock.monotonic() > deadline) throw new OutOfTime(this.#procfs.root, timeoutMs);
      }
      const argv = this.#procfs.argumentsContaining(pid, OLLAMA_MARK);
      const role = argv && classify(argv, () => this.#procfs.link(`${pid}/exe`));
      if (role) roles.set(pid, role);
    }
    return roles;
  }

  async #readRunners(roles: ReadonlyMap<number, OllamaRole>): Promise<readonly Runner[]> {
    const parents = new Map<number, ParentFacts>();
    const runners: Runner[] = [];
    for (const [pid, role] of roles) {
      if (role.role !== "runner") continue;
      if (runners.length % PROCESSES_PER_TURN === 0) await nextTurn();
      if (runners.length === 0) this.#readBootTime();
      const runner = await this.#readRunner(pid, role.model, parents);
      if (runner) runners.push(runner);
    }
    return runners;
  }

  async #readRunner(pid: number, model: RunnerModel, parents: Map<number, ParentFacts>): Promise<Runner | undefined> {
    const stat = this.#procfs.stat(pid);
    const status = this.#procfs.status(pid);
    const parentPid = stat?.parentPid ?? status?.parentPid;
    if (parentPid === undefined || (stat && "ZX".includes(stat.state))) return undefined;
    const parent = parents.get(parentPid) ?? (await readParent(this.#procfs, this.#listenPorts, parentPid));
    parents.set(parentPid, parent);
    return {
      pid,
      parentPid,
      ...model,
      orphaned: parent.adopted(stat),
      ...(parent.listenPorts && { parentListenPorts: parent.listenPorts }),
      ...(status?.residentBytes !== undefined && { residentMemoryBytes: status.residentBytes }),
      ...(stat && this.#times(stat)),
    };
  }

  #times(stat: ProcStat): Pick<Runner, "startTimeSeconds" | "startTicks" | "cpuSeconds"> {
    const { startTicks } = stat;
    const cpuSeconds = stat.cpuTicks / TICKS_PER_SECOND;
    if (this.#bootTimeSeconds === undefined) return { startTicks, cpuSeconds };
    return { startTimeSeconds: this.#bootTimeSeconds + startTicks / TICKS_PER_SECOND, startTicks, cpuSeconds };
  }

  /** The kernel computes it from the clock, so it jitters by a second: a start time must not. */
  #readBootTime(): void {
    const read = this.#procfs.bootTimeSeconds();
    if (read !== undefined && Math.abs(read - (this.#bootTimeSeconds ?? -Infinity)) > 1) this.#bootTimeSeconds = read;
  }
}

class OutOfTime extends Error {
  constructor(root: string, timeoutMs: number) {
    super(`Reading the process table ${root} took longer than its ${timeoutMs} ms; the machine is overloaded`);
  }
}
