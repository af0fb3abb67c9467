/** A program without rights: as nobody, with no capability and no way to get one. */
import { execFileSync } from "node:child_process";
import { accessSync, chmodSync, constants, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { installedDependencies } from "../../docs/dependency-list.ts";

const ROOT = join(import.meta.dirname, "../..");
export const NOBODY = 65_534;

/** What setpriv(1) is given in front of a program. Only root can become somebody else; anybody else is without rights already. */
export function withoutRights(): readonly string[] {
  const asNobody = [
    `--reuid=${NOBODY}`,
    `--regid=${NOBODY}`,
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
  ];
  return ["setpriv", ...(process.getuid?.() === 0 ? asNobody : []), "--no-new-privs", "--"];
}

/** The built exporter and its dependencies, with Node, where everybody can read them. */
export class ReadableCopy {
  readonly folder = mkdtempSync(join(tmpdir(), "everybody-"));
  readonly node = join(this.folder, "node");
  readonly cli = join(this.folder, "dist/cli.js");

  constructor() {
    chmodSync(this.folder, 0o755);
    const names = installedDependencies().map(({ name }) => `node_modules/${name}`);
    for (const path of ["dist", "package.json", ...names]) this.#copy(path);
    cpSync(process.execPath, this.node);
    execFileSync("chmod", ["-R", "a+rX", this.folder]);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Compiled parts for other machines are not installed. */
  #copy(path: string): void {
    const from = join(ROOT, path);
    try {
      accessSync(from, constants.R_OK);
    } catch {
      return;
    }
    const to = join(this.folder, path);
    mkdirSync(dirname(to), { recursive: true });
    cpSync(from, to, { recursive: true });
  }
}
