import type { Procfs } from "./procfs.ts";

/** linux/proc_ns.h: PROC_PID_INIT_INO, the same on every kernel. */
const INITIAL_PID_NAMESPACE = "pid:[4026531836]";

const CONTAINER_INITS = new Set(["tini", "docker-init", "dumb-init", "catatonit"]);

/** How much of the machine's process table can be seen. */
export interface Visibility {
  /** Nothing but the exporter itself can be seen. */
  readonly blind: boolean;
  /** In words with the remedy; absent when the whole machine can be seen. */
  readonly limitation?: string;
}

/** Judges by the exporter's own PID namespace. A table without a `self` entry is believed to be whole. */
export function readVisibility(procfs: Procfs): Visibility {
  const namespace = procfs.link("self/ns/pid");
  if (namespace === undefined || namespace === INITIAL_PID_NAMESPACE) return { blind: false };
  return {
    blind: isAlone(procfs),
    limitation:
      "The exporter runs in a PID namespace of its own and cannot see the processes of other containers and of the host: " +
      "start it with `docker run --pid=host`, in Kubernetes with `hostPID: true`",
  };
}

function isAlone(procfs: Procfs): boolean {
  if (procfs.link("self") === "1") return true;
  const parentPid = procfs.stat("self")?.parentPid;
  return parentPid === 1 && CONTAINER_INITS.has(procfs.stat(1)?.comm ?? "");
}
