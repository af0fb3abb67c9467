/**
 * Asks local runners over their own port. A port is only trusted while the very process that was started with it lives: its
 * arguments and start are compared before the requests and after the answers.
 */
import { type ClientRequest, request } from "node:http";
import type { Clock } from "../../lib/clock.ts";
import type { Runner, RunnerEndpoints } from "../../snapshot.ts";
import { TICKS_PER_SECOND } from "../processes/procfs-formats.ts";
import { Procfs } from "../processes/procfs.ts";
import { classify } from "../processes/runners.ts";
import { decodeMetrics, decodeSlots } from "./decode.ts";

/** For all requests of one reading together. */
const TIMEOUT_MS = 500;
/** More runners than any machine has; a thousand requests at once would hold up the event loop. */
const ASKED_AT_ONCE = 32;
const MAX_BODY_BYTES = 1024 * 1024;
/** The kernel computes the boot time from the clock. */
const BOOT_TIME_JITTER_SECONDS = 2;

export interface RunnerEndpointsOptions {
  readonly procfs: string;
  readonly clock: Clock;
}

/** What holds for all runners of one reading. */
interface Machine {
  readonly bootTimeSeconds: number | undefined;
  /** Network namespace of this process. */
  readonly network: string | undefined;
}

/** Never fails: a runner that cannot be asked is not in the answer. */
export class RunnerEndpointsSource {
  readonly #options: RunnerEndpointsOptions;
  readonly #procfs: Procfs;
  readonly #underWay = new Set<ClientRequest>();

  constructor(options: RunnerEndpointsOptions) {
    this.#options = options;
    this.#procfs = new Procfs(options.procfs);
  }

  /** By PID, within half a second; whoever was not asked or has not answered by then is left out. */
  async read(runners: readonly Runner[]): Promise<ReadonlyMap<number, RunnerEndpoints>> {
    const candidates = runners.filter(
      ({ hasEndpoints, port, orphaned }) => hasEndpoints && port !== undefined && !orphaned,
    );
    if (candidates.length === 0) return new Map();
    const machine: Machine = {
      bootTimeSeconds: this.#procfs.bootTimeSeconds(),
      network: new Procfs("/proc").link("self/ns/net"),
    };
    const reachable = candidates.filter(({ pid }) => this.#sharesNetwork(pid, machine));
    // Of two that claim one port only one can have it, and nobody knows which.
    const groups = [...Map.groupBy(reachable, ({ port }) => port).values()];
    const asked = groups.flatMap((claimants) => (claimants.length === 1 ? claimants : []));
    return this.#askAll(asked, machine);
  }

  close(): Promise<void> {
    this.#cutAll();
    return Promise.resolve();
  }

  #cutAll(): void {
    for (const asked of this.#underWay) asked.destroy();
  }

  async #askAll(runners: readonly Runner[], machine: Machine): Promise<ReadonlyMap<number, RunnerEndpoints>> {
    const answers = new Map<number, RunnerEndpoints>();
    const answered = new AbortController();
    let isLate = false;
    const late = this.#options.clock.sleep(TIMEOUT_MS, answered.signal).then(
      () => {
        isLate = true;
        this.#cutAll();
      },
      () => undefined,
    );
    const waiting = runners.values();
    const work = async (): Promise<void> => {
      for (const runner of waiting) {
        if (isLate) return;
        const answer = await this.#ask(runner, machine);
        if (answer) answers.set(runner.pid, answer);
      }
    };
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, work));
    answered.abort();
    await late;
    return answers;
  }

  async #ask(runner: Runner, machine: Machine): Promise<RunnerEndpoints | undefined> {
    const life = this.#lifeOf(runner, machine);
    if (life === undefined) return undefined;
    const [slots, metrics] = await Promise.all([this.#get(runner, "/slots"), this.#get(runner, "/metrics")]);
    return this.#lifeOf(runner, machine) === life ? { ...slotsOf(slots), ...metricsOf(metrics) } : undefined;
  }

  /**
   * Undefined for anything but a whole answer. No connection is kept: the next one would be made to whoever has the port
   * then, and a kept one takes one of the few threads of the runner's server.
   */
  #get({ port }: Runner, path: string): Promise<Reply | undefined> {
    return new Promise((resolve) => {
      const asked = request({ host: "127.0.0.1", port, path, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_BODY_BYTES) asked.destroy();
          else chunks.push(chunk);
        });
        response.on("error", () => undefined); // closes the request too
        response.on("end", () => {
          if (size <= MAX_BODY_BYTES)
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
        });
      });
      this.#underWay.add(asked);
      asked.on("error", () => undefined);
      asked.on("close", () => {
        this.#underWay.delete(asked);
        resolve(undefined);
      });
      asked.end();
    });
  }

  /**
   * Says which life of the PID this is, so that two moments can be compared; undefined when the process is not the runner
   * that was found: other port or model in its arguments, or another start.
   */
  #lifeOf({ pid, port, blobDigest, startTimeSeconds }: Runner, { bootTimeSeconds }: Machine): string | undefined {
    const argv = this.#procfs.arguments(pid);
    const role = argv && classify(argv, () => this.#procfs.link(`${pid}/exe`));
    if (role?.role !== "runner" || !role.model.hasEndpoints) return undefined;
    if (role.model.port !== port || role.model.blobDigest !== blobDigest) return undefined;
    const startTicks = this.#procfs.stat(pid)?.startTicks;
    if (startTicks !== undefined && startTimeSeconds !== undefined && bootTimeSeconds !== undefined) {
      const startedAt = bootTimeSeconds + startTicks / TICKS_PER_SECOND;
      if (Math.abs(startedAt - startTimeSeconds) > BOOT_TIME_JITTER_SECONDS) return undefined;
    }
    return String(startTicks);
  }

  /** In another network namespace 127.0.0.1 is somebody else. What cannot be read (another user's) is taken as shared. */
  #sharesNetwork(pid: number, { network }: Machine): boolean {
    const theirs = this.#procfs.link(`${pid}/ns/net`);
    return theirs === undefined || network === undefined || theirs === network;
  }
}

interface Reply {
  readonly status: number;
  readonly text: string;
}

function slotsOf(reply: Reply | undefined): RunnerEndpoints {
  return reply?.status === 200 ? decodeSlots(json(reply.text)) : {};
}

/** 501: the server runs without --metrics. */
function metricsOf(reply: Reply | undefined): RunnerEndpoints {
  if (reply?.status === 501) return { answersMetrics: false };
  const metrics = reply?.status === 200 ? decodeMetrics(reply.text) : undefined;
  return metrics ? { ...metrics, answersMetrics: true } : {};
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
