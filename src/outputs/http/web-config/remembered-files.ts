/** Files that are read again when they change. */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { messageOf } from "../../../errors.ts";

/** Two writes within this time may bear the same time stamp, on a file system that counts in seconds. */
const COARSEST_STAMP_MS = 2_000;

/** Reads files and remembers what it has read, so that it can tell whether any of them has changed since. */
export class RememberedFiles {
  readonly #now: () => number;
  /** Digest of what was read, or why it could not be, by path. */
  readonly #contents = new Map<string, string>();
  #stamp = "";
  #isSettled = false;

  /** @param now - Unix milliseconds, as the file system's */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A file's text. Throws as readFileSync does. */
  read(path: string): string {
    try {
      const text = readFileSync(path, "utf8");
      this.#contents.set(path, digestOf(text));
      return text;
    } catch (error) {
      this.#contents.set(path, messageOf(error)); // gone, or not ours to see: that is a state too
      throw error;
    }
  }

  /** Cheap, by their stamps, once they have been left alone for a moment; by their contents before. */
  haveChanged(): boolean {
    const stats = [...this.#contents.keys()].map(statOf);
    const stamp = stats.map(({ stamp }) => stamp).join("\n");
    if (stamp === this.#stamp && this.#isSettled) return false;
    this.#stamp = stamp;
    this.#isSettled = stats.every(({ changedMs }) => changedMs < this.#now() - COARSEST_STAMP_MS);
    return [...this.#contents].some(([path, known]) => contentOf(path) !== known);
  }
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("base64");

function contentOf(path: string): string {
  try {
    return digestOf(readFileSync(path, "utf8"));
  } catch (error) {
    return messageOf(error);
  }
}

/** Inode and size tell a file that was renamed into place, ctime one whose old time was set again. */
function statOf(path: string): { readonly stamp: string; readonly changedMs: number } {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    const newest = mtimeNs > ctimeNs ? mtimeNs : ctimeNs;
    return { stamp: `${ino} ${size} ${mtimeNs} ${ctimeNs}`, changedMs: Number(newest / 1_000_000n) };
  } catch (error) {
    return { stamp: messageOf(error), changedMs: 0 };
  }
}
