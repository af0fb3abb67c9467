/** What an installed exporter brings along, from package-lock.json: for docs/dependencies.md and for the test of licences. */
import { readFileSync } from "node:fs";

export interface Dependency {
  readonly name: string;
  readonly version: string;
  /** SPDX; empty when the package names none. */
  readonly license: string;
  readonly integrity: string;
  /** Why npm says that it should not be used; empty = it may. */
  readonly deprecated: string;
  /** Runs something of its own when it is installed. */
  readonly hasInstallScript: boolean;
  /** One of several for different machines. */
  readonly optional: boolean;
  /** Names of the packages that need it; empty for one that the manifest names. */
  readonly neededBy: readonly string[];
}

/** Licences that ask for nothing but their own text to be kept. */
export const ALLOWED_LICENSES: ReadonlySet<string> = new Set([
  "Apache-2.0",
  "MIT",
  "ISC",
  "BSD-3-Clause",
  "BSD-2-Clause",
  "0BSD",
]);

interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly deprecated?: string;
  readonly hasInstallScript?: boolean;
  readonly optional?: boolean;
  readonly dev?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const read = (file: string): unknown => JSON.parse(readFileSync(new URL(`../${file}`, import.meta.url), "utf8"));

/** Everything that `npm install --omit=dev` may install, by name. */
export function installedDependencies(): readonly Dependency[] {
  const { packages } = read("package-lock.json") as { readonly packages: Readonly<Record<string, LockedPackage>> };
  const { "": root, ...others } = packages;
  const shipped = Object.entries(others).filter(([, { dev }]) => dev !== true);
  return shipped
    .map(([path, locked]): Dependency => {
      const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
      const needs = ([, { dependencies, optionalDependencies }]: readonly [string, LockedPackage]) =>
        Object.hasOwn({ ...dependencies, ...optionalDependencies }, name);
      const isDirect = Object.hasOwn(root?.dependencies ?? {}, name);
      return {
        name,
        version: locked.version ?? "",
        license: locked.license ?? "",
        integrity: locked.integrity ?? "",
        deprecated: locked.deprecated ?? "",
        hasInstallScript: locked.hasInstallScript ?? false,
        optional: locked.optional ?? false,
        neededBy: isDirect ? [] : shipped.filter(needs).map(([other]) => other.replace(/^.*node_modules\//, "")),
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The rows of docs/decisions/0001-dependencies.md: what a package is for, by name. */
export function reasons(): ReadonlyMap<string, string> {
  const page = readFileSync(new URL("decisions/0001-dependencies.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| (\S+?)(?: \(optional\))? \| ([^|]+) \|/gm)];
  return new Map(
    rows.flatMap(([, names = "", why = ""]) => expanded(names).map((name) => [name, why.trim()] as const)),
  );
}

/** `@opentelemetry/{api,core}` stands for both. */
function expanded(names: string): readonly string[] {
  const [, before = "", list, after = ""] = /^(.*)\{(.*)\}(.*)$/.exec(names) ?? [];
  return list === undefined ? [names] : list.split(",").map((part) => `${before}${part}${after}`);
}

/** docs/dependencies.md */
export function dependenciesPage(): string {
  const why = reasons();
  const all = installedDependencies();
  const platforms = all.filter(({ optional }) => optional);
  const rows = all
    .filter(({ optional }) => !optional)
    .map(({ name, version, license, neededBy }) => {
      const reason = neededBy.length === 0 ? (why.get(name) ?? "") : `for ${neededBy.join(", ")}`;
      return `| ${name} | ${version} | ${license} | ${reason} |`;
    });
  const [one] = platforms;
  return `# Dependencies

Generated from \`package-lock.json\` and [decision 1](decisions/0001-dependencies.md) by \`npm run docs\`: everything that an
installed exporter brings along. A test holds every licence against a list, and every package against a digest.

| package | version | licence | why |
|---|---|---|---|
${rows.join("\n")}
${one ? `| ${one.name.replace(/-[^-]+-[^-]+$/, "-*")} (one of ${platforms.length}, by machine) | ${one.version} | ${one.license} | for ${one.neededBy.join(", ")}: its compiled part |\n` : ""}
No package needs a script at installation: \`npm install --ignore-scripts\` gives a working exporter.
`;
}
