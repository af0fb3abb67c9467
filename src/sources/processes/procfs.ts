import { closeSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import {
  parseBootTime,
  parseStat,
  parseStatus,
  splitArguments,
  type ProcStat,
  type ProcStatus,
} from "./procfs-formats.ts";

const FILE_LIMIT_BYTES = 65_536;
const LARGE_FILE_LIMIT_BYTES = 1_048_576;
/** What these say is about the exporter, not about the process that was looked at. */
const EXHAUSTED = new Set(["EMFILE", "ENFILE", "ENOMEM"]);

/**
 * Reads files of a process table. Every reader but `pids` answers undefined for whatever cannot be read or understood:
 * processes vanish at any moment, and other users' files are closed. Reads are synchronous: procfs lives in memory, and
 * a round trip through the thread pool costs ten times the read.
 */
export class Procfs {
  readonly root: string;
  readonly #buffer = Buffer.allocUnsafe(FILE_LIMIT_BYTES);
  #exhaustion: Error | undefined;

  constructor(root: string) {
    this.root = root;
  }

  /** The error of a read since the last call that failed for want of descriptors or memory: what was read is not whole. */
  takeExhaustion(): Error | undefined {
    const exhaustion = this.#exhaustion;
    this.#exhaustion = undefined;
    return exhaustion;
  }

  /**
   * Every process, ascending.
   * @throws the system's error when the folder cannot be listed.
   */
  pids(): number[] {
    return readdirSync(this.root)
      .filter((name) => /^[1-9]\d{0,9}$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  }

  /** Arguments of a process; empty for zombies and kernel threads. */
  arguments(pid: number): readonly string[] | undefined {
    const bytes = this.#readOnce(`${pid}/cmdline`);
    return bytes && splitArguments(bytes.toString());
  }

  /** The same, decoded only where the command line contains `text`: almost no process of a machine is of interest. */
  argumentsContaining(pid: number, text: string): readonly string[] | undefined {
    const bytes = this.#readOnce(`${pid}/cmdline`);
    return bytes?.includes(text) ? splitArguments(bytes.toString()) : undefined;
  }

  stat(pid: number | "self"): ProcStat | undefined {
    return parseStat(this.text(`${pid}/stat`) ?? "");
  }

  status(pid: number): ProcStatus | undefined {
    const text = this.text(`${pid}/status`);
    return text === undefined ? undefined : parseStatus(text);
  }

  /** Unix seconds of the machine's start. */
  bootTimeSeconds(): number | undefined {
    return parseBootTime(this.largeText("stat") ?? "");
  }

  /** The first 64 KiB of a file. */
  text(path: string): string | undefined {
    return this.#readOnce(path)?.toString();
  }

  /** The first MiB of a file. */
  largeText(path: string): string | undefined {
    return this.#readAll(path, Buffer.allocUnsafe(LARGE_FILE_LIMIT_BYTES))?.toString();
  }

  link(path: string): string | undefined {
    try {
      return readlinkSync(`${this.root}/${path}`);
    } catch {
      return undefined;
    }
  }

  names(path: string): readonly string[] | undefined {
    try {
      return readdirSync(`${this.root}/${path}`);
    } catch (error) {
      this.#note(error);
      return undefined;
    }
  }

  #note(error: unknown): void {
    if (error instanceof Error && "code" in error && EXHAUSTED.has(String(error.code))) this.#exhaustion = error;
  }

  /** The kernel gives a process's own small files in one piece, so the read that would only say "no more" is spared. */
  #readOnce(path: string): Buffer | undefined {
    return this.#withFile(path, (file) =>
      this.#buffer.subarray(0, readSync(file, this.#buffer, 0, FILE_LIMIT_BYTES, null)),
    );
  }

  /** Tables of sockets come in pieces. */
  #readAll(path: string, buffer: Buffer): Buffer | undefined {
    return this.#withFile(path, (file) => {
      let length = 0;
      while (length < buffer.length) {
        const count = readSync(file, buffer, length, buffer.length - length, null);
        if (count === 0) break;
        length += count;
      }
      return buffer.subarray(0, length);
    });
  }

  #withFile(path: string, read: (file: number) => Buffer): Buffer | undefined {
    let file: number | undefined;
    try {
      file = openSync(`${this.root}/${path}`, "r");
      return read(file);
    } catch (error) {
      this.#note(error);
      return undefined;
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }
}
