/**
 * `node scripts/without-development.ts FOLDER`: manifest and lockfile of the checkout without what only development needs.
 * `npm sbom --omit dev` also leaves out what both need (npm 11.19: every package that a development dependency shares).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface Locked {
  readonly dev?: boolean;
  readonly devDependencies?: unknown;
}

const folder = process.argv[2] ?? "";
const read = (file: string): unknown => JSON.parse(readFileSync(join(import.meta.dirname, "..", file), "utf8"));
const write = (file: string, content: unknown): void => {
  writeFileSync(join(folder, file), `${JSON.stringify(content, undefined, 2)}\n`);
};
const withoutDevelopment = (manifest: Locked): Locked => ({ ...manifest, devDependencies: {} });

const lock = read("package-lock.json") as { readonly packages: Readonly<Record<string, Locked>> };
const shipped = Object.entries(lock.packages).filter(([, { dev }]) => dev !== true);
write("package.json", withoutDevelopment(read("package.json") as Locked));
write("package-lock.json", {
  ...lock,
  packages: Object.fromEntries(
    shipped.map(([path, locked]) => [path, path === "" ? withoutDevelopment(locked) : locked]),
  ),
});
