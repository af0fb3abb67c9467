import type { ProcStat } from "./procfs-formats.ts";
import type { Procfs } from "./procfs.ts";
import { mayBeServer } from "./runners.ts";
import type { ListenPorts } from "./sockets.ts";

/** What a runner's parent tells about its server. */
export interface ParentFacts {
  /** Absent when unreadable. */
  readonly listenPorts?: readonly number[];
  /** The server is gone and the kernel gave its runner to this process. */
  readonly adopted: (runner: ProcStat | undefined) => boolean;
}

/** Processes that adopt orphans without being process 1 of a PID namespace, or that never are a server themselves. */
const REAPERS = /^(?:systemd|init|tini|dumb-init|docker-init|catatonit|conmon|containerd-shim.*)$/;

/**
 * Looks at a process that has a runner as its child. It is taken for a living server unless it is gone, a known reaper,
 * or the init of its namespace without a sign of being the server (in a container `ollama serve` is often process 1).
 */
export async function readParent(procfs: Procfs, ports: ListenPorts, pid: number): Promise<ParentFacts> {
  const stat = procfs.stat(pid);
  const argv = procfs.arguments(pid);
  // Process 0 stands for a parent outside the visible namespace, of which nothing can be said.
  if (stat === undefined && argv === undefined) return { adopted: () => pid !== 0 };
  const listenPorts = await ports.of(pid, stat?.startTicks ?? 0);
  const isReaper = REAPERS.test(stat?.comm ?? "");
  const isInit = pid === 1 || procfs.status(pid)?.namespacePids.at(-1) === 1;
  const looksLikeServer = mayBeServer(argv ?? []);
  return {
    ...(listenPorts && { listenPorts }),
    adopted: (runner) => {
      if (isReaper || looksLikeServer || !isInit) return isReaper;
      // Ollama starts runners in its own session; an init that listens for other reasons never shared the orphan's.
      return !(listenPorts?.length && runner?.session === stat?.session);
    },
  };
}
