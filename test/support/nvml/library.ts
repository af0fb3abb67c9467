// Builds the fake libnvidia-ml.so.1 from fake-nvml.c, and the variants of it that a broken installation has.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const LIBRARY = "libnvidia-ml.so.1";
const FLAGS = [
  ...["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"],
  `-Wl,-soname,${LIBRARY}`,
];

let cacheFolder: string | undefined;

function cc(args: readonly string[]): string {
  try {
    return execFileSync("cc", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      throw new Error(
        "The tests need a C compiler: no 'cc' found; install one (Debian: apt-get install gcc libc6-dev)",
        { cause: error },
      );
    }
    throw error;
  }
}

/** The folder named `name` in the cache, made by `fill` when it is not there. Workers may race: the first rename wins. */
function cached(name: string, fill: (folder: string) => void): string {
  if (cacheFolder === undefined) {
    const hash = createHash("sha256");
    for (const source of ["fake-nvml.c", "nvml-abi.h"]) hash.update(readFileSync(join(HERE, source)));
    hash.update(FLAGS.join(" ")).update(cc(["--version"]));
    const key = hash.digest("hex").slice(0, 16);
    cacheFolder = join(tmpdir(), `fake-nvml-${userInfo().uid}-${key}`);
    mkdirSync(cacheFolder, { recursive: true, mode: 0o700 });
  }
  const folder = join(cacheFolder, name);
  const file = join(folder, LIBRARY);
  if (existsSync(file)) return file;
  const draft = mkdtempSync(join(cacheFolder, "draft-"));
  try {
    fill(draft);
    renameSync(draft, folder);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(file)) throw error;
  }
  return file;
}

/** The path of the fake driver library, compiled when it has changed. */
export function buildFakeNvml(): string {
  return cached("complete", (folder) => {
    cc([...FLAGS, "-o", join(folder, LIBRARY), join(HERE, "fake-nvml.c"), "-lpthread"]);
  });
}

function variant(name: string, change: (elf: Buffer) => Buffer): string {
  const source = buildFakeNvml();
  return cached(name, (folder) => {
    writeFileSync(join(folder, LIBRARY), change(readFileSync(source)), { mode: 0o755 });
  });
}

/** Where the names of the dynamic symbols lie in the file: [start, end). */
function dynamicStrings(elf: Buffer): [number, number] {
  const SHT_DYNSYM = 11;
  const headers = Number(elf.readBigUInt64LE(0x28));
  const headerSize = elf.readUInt16LE(0x3a);
  const header = (index: number): Buffer =>
    elf.subarray(headers + index * headerSize, headers + (index + 1) * headerSize);
  for (let index = 0; index < elf.readUInt16LE(0x3c); index++) {
    if (header(index).readUInt32LE(4) !== SHT_DYNSYM) continue;
    const strings = header(header(index).readUInt32LE(0x28));
    const start = Number(strings.readBigUInt64LE(0x18));
    return [start, start + Number(strings.readBigUInt64LE(0x20))];
  }
  throw new Error("the fake NVML library has no dynamic symbols");
}

/** A copy of the library that lacks these functions, as an older driver does. */
export function withoutSymbols(names: readonly string[]): string {
  const wanted = [...new Set(names)].sort();
  const key = createHash("sha256").update(wanted.join("\n")).digest("hex").slice(0, 16);
  return variant(`without-${key}`, (elf) => {
    const [start, end] = dynamicStrings(elf);
    for (const name of wanted) {
      const at = elf.indexOf(`\0${name}\0`, start, "latin1");
      if (at < 0 || at >= end) throw new Error(`the fake NVML library does not export ${name}`);
      // The loader compares whole names, so another first letter is as good as no symbol.
      elf.write("X", at + 1, "latin1");
    }
    return elf;
  });
}

/** A copy of the library built for another processor, by its header. */
export function wrongArchitecture(): string {
  const X86_64 = 62;
  const AARCH64 = 183;
  return variant("wrong-architecture", (elf) => {
    elf.writeUInt16LE(elf.readUInt16LE(18) === X86_64 ? AARCH64 : X86_64, 18);
    return elf;
  });
}

/** A file of the library's name that is no library. */
export function notALibrary(): string {
  return variant("not-a-library", () => Buffer.from("This is a text file.\n".repeat(100)));
}
