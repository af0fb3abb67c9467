import { readFileSync, statSync } from "node:fs";
import { parsePasswd } from "./procfs-formats.ts";

/** User names of this system, read again when the file has changed. */
export class Accounts {
  readonly #path: string;
  #names: ReadonlyMap<number, string> = new Map();
  #modifiedAtMs: number | undefined;

  constructor(path = "/etc/passwd") {
    this.#path = path;
  }

  /** The name, else the number as text. */
  nameOf(uid: number): string {
    try {
      const modifiedAtMs = statSync(this.#path).mtimeMs;
      if (modifiedAtMs !== this.#modifiedAtMs) this.#names = parsePasswd(readFileSync(this.#path, "utf8"));
      this.#modifiedAtMs = modifiedAtMs;
    } catch {
      // a container image may have no such file
    }
    return this.#names.get(uid) ?? String(uid);
  }
}
