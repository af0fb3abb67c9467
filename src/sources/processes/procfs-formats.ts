/** The formats of the files under /proc/PID (proc_pid_stat(5), proc_pid_status(5), cgroups(7), proc_net_tcp). Pure; never throws. */

/** What is used of /proc/PID/stat. */
export interface ProcStat {
  readonly comm: string;
  /** One letter; Z and X are dead. */
  readonly state: string;
  /** 0 when the parent is outside the reader's PID namespace. */
  readonly parentPid: number;
  readonly session: number;
  /** User plus system time. */
  readonly cpuTicks: number;
  /** Since the machine's start. */
  readonly startTicks: number;
}

/** What is used of /proc/PID/status. */
export interface ProcStatus {
  readonly parentPid?: number;
  /** Real user id. */
  readonly uid?: number;
  /** From the reader's PID namespace inwards; the last one is 1 for the init of a container. */
  readonly namespacePids: readonly number[];
  readonly residentBytes?: number;
}

/** Clock ticks per second in /proc: USER_HZ is 100 on every Linux that Ollama runs on, whatever the kernel's own HZ. */
export const TICKS_PER_SECOND = 100;

// Positions after the name in parentheses, the state being 0.
const STAT_FIELD = { parentPid: 1, session: 3, userTicks: 11, systemTicks: 12, startTicks: 19 } as const;

/** The arguments of a NUL-separated command line. */
export function splitArguments(cmdline: string): readonly string[] {
  if (cmdline === "") return [];
  return (cmdline.endsWith("\0") ? cmdline.slice(0, -1) : cmdline).split("\0");
}

/** A stat line; the name may itself contain spaces, parentheses and newlines. Undefined when it is not one. */
export function parseStat(text: string): ProcStat | undefined {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open < 0 || close < open) return undefined;
  const fields = text
    .slice(close + 1)
    .trim()
    .split(/\s+/);
  const number = (position: number): number => natural(fields[position]) ?? NaN;
  const stat = {
    comm: text.slice(open + 1, close),
    state: fields[0] ?? "",
    parentPid: number(STAT_FIELD.parentPid),
    session: number(STAT_FIELD.session),
    cpuTicks: number(STAT_FIELD.userTicks) + number(STAT_FIELD.systemTicks),
    startTicks: number(STAT_FIELD.startTicks),
  };
  return Object.values(stat).some(Number.isNaN) ? undefined : stat;
}

/** A status file; a line that is missing or garbled only loses its own value. */
export function parseStatus(text: string): ProcStatus {
  const line = (key: string): readonly string[] =>
    new RegExp(`^${key}:[ \\t]*(.*)$`, "m").exec(text)?.[1]?.trim().split(/\s+/) ?? [];
  const parentPid = natural(line("PPid")[0]);
  const uid = natural(line("Uid")[0]);
  const residentKib = natural(line("VmRSS")[0]);
  return {
    ...(parentPid !== undefined && { parentPid }),
    ...(uid !== undefined && { uid }),
    namespacePids: line("NSpid")
      .map(natural)
      .filter((pid) => pid !== undefined),
    ...(residentKib !== undefined && { residentBytes: residentKib * 1024 }),
  };
}

const CONTAINER_ID = /(?<=[/:](?:(?:docker|cri-containerd|crio|libpod|nerdctl)-)?)[0-9a-f]{64}(?=\.scope|[/\s]|$)/g;

/**
 * First 12 hex digits of the innermost container in a cgroup file of Docker, containerd, CRI-O, Podman or Kubernetes,
 * with the cgroupfs or the systemd driver, v1 or v2. Empty outside containers.
 */
export function parseContainerId(cgroup: string): string {
  for (const line of cgroup.split("\n")) {
    const id = line.match(CONTAINER_ID)?.at(-1);
    if (id !== undefined) return id.slice(0, 12);
  }
  return "";
}

const LISTEN = "0A";

/** Listening sockets of a net/tcp or net/tcp6 table: inode -> port. */
export function parseListeners(table: string): ReadonlyMap<string, number> {
  const listeners = new Map<string, number>();
  for (const line of table.split("\n")) {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    const port = /^(?:[0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(local ?? "")?.[1];
    if (state === LISTEN && port !== undefined && natural(inode)) listeners.set(inode ?? "", parseInt(port, 16));
  }
  return listeners;
}

/** Inode of a socket behind a link of /proc/PID/fd. */
export function parseSocketLink(target: string): string | undefined {
  return /^socket:\[(\d+)\]$/.exec(target)?.[1];
}

/** Unix seconds at which the machine started, from /proc/stat. */
export function parseBootTime(text: string): number | undefined {
  return natural(/^btime (\d+)$/m.exec(text)?.[1]);
}

/** Names by user id of a passwd file; the first entry of an id wins. */
export function parsePasswd(text: string): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split("\n")) {
    const [name, , id] = line.split(":");
    const uid = natural(id);
    if (name && uid !== undefined && !names.has(uid)) names.set(uid, name);
  }
  return names;
}

function natural(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,20}$/.test(text) ? Number(text) : undefined;
}
