import { describe, expect, it } from "@jest/globals";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ALLOWED_LICENSES, installedDependencies, reasons } from "../docs/dependency-list.ts";

const ROOT = join(import.meta.dirname, "..");

interface Manifest {
  readonly files: readonly string[];
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Manifest;

describe("what an installed exporter brings along", () => {
  const all = installedDependencies();

  it("is all there is in the lockfile", () => {
    const direct = all.filter(({ neededBy }) => neededBy.length === 0).map(({ name }) => name);
    expect(direct).toEqual(Object.keys(manifest.dependencies).toSorted());
    expect(all.length).toBeGreaterThan(direct.length);
  });

  it("has a licence that asks for nothing but its own text to be kept", () => {
    expect(
      all.filter(({ license }) => !ALLOWED_LICENSES.has(license)).map(({ name, license }) => [name, license]),
    ).toEqual([]);
  });

  it("is held to a digest, and is not deprecated", () => {
    expect(all.filter(({ integrity }) => !integrity.startsWith("sha512-")).map(({ name }) => name)).toEqual([]);
    expect(all.filter(({ deprecated }) => deprecated !== "").map(({ name }) => name)).toEqual([]);
  });

  it("is argued for where the manifest names it", () => {
    const why = reasons();
    const named = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies)];
    expect(named.filter((name) => (why.get(name) ?? "") === "")).toEqual([]);
  });

  it("is named with one exact version each", () => {
    const { dependencies, peerDependencies, devDependencies } = manifest;
    const versions = Object.entries({ ...dependencies, ...peerDependencies, ...devDependencies });
    expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  it("runs nothing when it is installed but what koffi does where there is no compiled part for a machine", () => {
    expect(all.filter(({ hasInstallScript }) => hasInstallScript).map(({ name }) => name)).toEqual(["koffi"]);
    expect(
      Object.keys(manifest.scripts).filter((name) => /^(?:pre|post)?install$|^(?:pre|post)?prepare$/.test(name)),
    ).toEqual([]);
  });
});
