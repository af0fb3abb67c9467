/**
 * Asks local runners over their own port. A port is only trusted while the very process that was started with it lives: its
 * arguments and start are compared before the request and after the answer.
 */
import { Agent, request } from "undici";
import type { Clock } from "../../lib/clock.ts";
import type { Runner, RunnerEndpoints } from "../../snapshot.ts";
import { TICKS_PER_SECOND } from "../processes/procfs-formats.ts";
import { Procfs } from "../processes/procfs.ts";
import { classify } from "../processes/runners.ts";
import { decodeMetrics, decodeSlots } from "./decode.ts";

/** For both requests of one runner together. */
const TIMEOUT_MS = 500;
const MAX_BODY_BYTES = 1024 * 1024;

export interface RunnerEndpointsOptions {
  readonly procfs: string;
  readonly clock: Clock;
}

/** Never fails: a runner that cannot be asked is not in the answer. */
export class RunnerEndpointsSource {
  readonly #options: RunnerEndpointsOptions;
  readonly #procfs: Procfs;
  readonly #agent = new Agent({ connections: 2, pipelining: 1 });

  constructor(options: RunnerEndpointsOptions) {
    this.#options = options;
    this.#procfs = new Procfs(options.procfs);
  }

  /** By PID, all at once, within half a second. */
  async read(runners: readonly Runner[]): Promise<ReadonlyMap<number, RunnerEndpoints>> {
    const asked = runners.filter(({ hasEndpoints, port }) => hasEndpoints && port !== undefined);
    const answers = await Promise.all(asked.map(async (runner) => [runner.pid, await this.#ask(runner)] as const));
    return new Map(answers.flatMap(([pid, answer]) => (answer ? [[pid, answer] as const] : [])));
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #ask(runner: Runner): Promise<RunnerEndpoints | undefined> {
    if (!this.#isStill(runner)) return undefined;
    const timer = new AbortController();
    const late = this.#options.clock.sleep(TIMEOUT_MS, timer.signal).then(
      () => {
        deadline.abort();
      },
      () => undefined, // both have answered
    );
    const deadline = new AbortController();
    try {
      const [slots, metrics] = await Promise.all([
        this.#get(runner, "/slots", deadline.signal),
        this.#get(runner, "/metrics", deadline.signal),
      ]);
      return this.#isStill(runner) ? { ...slotsOf(slots), ...metricsOf(metrics) } : undefined;
    } finally {
      timer.abort();
      await late;
    }
  }

  async #get({ port = 0 }: Runner, path: string, signal: AbortSignal): Promise<Reply | undefined> {
    try {
      const { statusCode, body } = await request(`http://127.0.0.1:${port}${path}`, {
        signal,
        dispatcher: this.#agent,
      });
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of body as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > MAX_BODY_BYTES) return undefined; // leaving the loop destroys the body
        chunks.push(chunk);
      }
      return { status: statusCode, text: Buffer.concat(chunks).toString() };
    } catch {
      return undefined;
    }
  }

  /** The process with this PID is the runner that was found: same port in its arguments, same start, same network. */
  #isStill({ pid, port, startTimeSeconds }: Runner): boolean {
    const argv = this.#procfs.arguments(pid);
    const role = argv && classify(argv, () => this.#procfs.link(`${pid}/exe`));
    if (role?.role !== "runner" || !role.model.hasEndpoints || role.model.port !== port) return false;
    const bootTime = this.#procfs.bootTimeSeconds();
    const stat = this.#procfs.stat(pid);
    if (stat && startTimeSeconds !== undefined && bootTime !== undefined) {
      const startedAt = bootTime + stat.startTicks / TICKS_PER_SECOND;
      if (Math.abs(startedAt - startTimeSeconds) > 2) return false;
    }
    return this.#sharesNetwork(pid);
  }

  /** In another network namespace 127.0.0.1 is somebody else. What cannot be read (another user's) is taken as shared. */
  #sharesNetwork(pid: number): boolean {
    const theirs = this.#procfs.link(`${pid}/ns/net`);
    const own = new Procfs("/proc").link("self/ns/net");
    return theirs === undefined || own === undefined || theirs === own;
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
