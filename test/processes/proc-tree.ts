import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A process of a made-up table; only `argv` and `parentPid` matter to most tests. */
export interface FakeProcess {
  readonly pid: number;
  readonly argv: readonly string[];
  readonly parentPid?: number;
  readonly comm?: string;
  readonly state?: string;
  readonly session?: number;
  readonly uid?: number;
  readonly namespacePids?: readonly number[];
  readonly cgroup?: string;
  /** Listening TCP ports, by inode. */
  readonly listeners?: Readonly<Record<string, number>>;
  readonly cpuTicks?: number;
  readonly startTicks?: number;
  readonly residentKib?: number;
}

/** A process table in a temporary folder. */
export class ProcTree {
  readonly root = mkdtempSync(join(tmpdir(), "proc-tree-"));

  constructor(processes: readonly FakeProcess[] = [], bootTimeSeconds = 1_700_000_000) {
    this.write("stat", `cpu  1 2 3 4\nintr 5 6\nbtime ${bootTimeSeconds}\nprocesses 7\n`);
    processes.forEach((process) => {
      this.add(process);
    });
  }

  add(process: FakeProcess): void {
    const { pid, argv, listeners } = process;
    const comm = process.comm ?? (argv[0] ?? "").split("/").at(-1)?.slice(0, 15) ?? "";
    this.write(`${pid}/cmdline`, argv.map((argument) => `${argument}\0`).join(""));
    this.write(`${pid}/comm`, `${comm}\n`);
    this.write(`${pid}/stat`, statLine(process, comm));
    this.write(`${pid}/status`, statusText(process));
    this.write(`${pid}/cgroup`, process.cgroup ?? "0::/\n");
    if (listeners) this.#listen(pid, listeners);
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), text);
  }

  link(path: string, target: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    symlinkSync(target, join(this.root, path));
  }

  remove(path: string): void {
    rmSync(join(this.root, path), { recursive: true });
  }

  close(): void {
    rmSync(this.root, { recursive: true });
  }

  #listen(pid: number, listeners: Readonly<Record<string, number>>): void {
    const rows = Object.entries(listeners).map(([inode, port]) => socketRow(inode, port, "0A"));
    this.write(`${pid}/net/tcp`, ["  sl  local_address rem_address   st", ...rows, ""].join("\n"));
    this.write(`${pid}/net/tcp6`, "  sl  local_address\n");
    Object.keys(listeners).forEach((inode, position) => {
      this.link(`${pid}/fd/${position + 3}`, `socket:[${inode}]`);
    });
  }
}

/** A row of net/tcp on 127.0.0.1. */
export function socketRow(inode: string, port: number, state: string): string {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return `   0: 0100007F:${hex} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000000000000000 100 0 0 10 0`;
}

/** The command line of a recording under test/captures/proc. */
export function recordedArguments(path: string): readonly string[] {
  return recorded(`${path}.cmdline`).slice(0, -1).split("\0");
}

/** A recording under test/captures/proc. */
export function recorded(path: string): string {
  return readFileSync(join(import.meta.dirname, "../captures/proc", path), "utf8");
}

function statLine(process: FakeProcess, comm: string): string {
  const { pid, parentPid = 1, state = "S", session = pid, cpuTicks = 0, startTicks = 0 } = process;
  const upToFaults = `${state} ${parentPid} ${session} ${session} 0 -1 4194560 0 0 0 0`;
  return `${pid} (${comm}) ${upToFaults} ${cpuTicks} 0 0 0 20 0 6 0 ${startTicks} 1760202752 12709\n`;
}

function statusText(process: FakeProcess): string {
  const { pid, parentPid = 1, uid = 0, namespacePids = [pid], residentKib = 4 } = process;
  const uids = [uid, uid, uid, uid].join("\t");
  return `Name:\tx\nPid:\t${pid}\nPPid:\t${parentPid}\nUid:\t${uids}\nNSpid:\t${namespacePids.join("\t")}\nVmRSS:\t ${residentKib} kB\n`;
}
