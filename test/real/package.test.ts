/** What is published: the package's contents, that they run on their own, and the bills of materials beside it. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installedDependencies } from "../../docs/dependency-list.ts";
import { FakeDriver, h100 } from "../support/nvml/fake-nvml.ts";
import { tool } from "../support/real-tools.ts";
import { manifest, ROOT, run } from "../support/tool-run.ts";

const NAME = `ollama-gpu-exporter-${manifest.version}`;

describe("the files of a release", () => {
  const folder = mkdtempSync(join(tmpdir(), "release-"));
  let packed: readonly string[] = [];
  beforeAll(() => {
    const { status, output } = run("bash", ["scripts/artifacts.sh", folder]);
    if (status !== 0) throw new Error(output);
    packed = run("tar", ["-tzf", join(folder, `${NAME}.tgz`)])
      .stdout.trim()
      .split("\n")
      .map((path) => path.replace(/^package\//, ""));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });
  const artefact = (ending: string): string => readFileSync(join(folder, `${NAME}.${ending}`), "utf8");

  it("are the package, two bills of materials and their digests", () => {
    const files = [`${NAME}.cyclonedx.json`, `${NAME}.spdx.json`, `${NAME}.tgz`];
    expect(readdirSync(folder).toSorted()).toEqual([`${NAME}.cyclonedx.json`, `${NAME}.sha256`, ...files.slice(1)]);
    const digests = files.map((file) => [
      createHash("sha256")
        .update(readFileSync(join(folder, file)))
        .digest("hex"),
      file,
    ]);
    expect(
      artefact("sha256")
        .trim()
        .split("\n")
        .map((line) => line.split(/\s+/))
        .toSorted(),
    ).toEqual(digests.toSorted());
  });

  it("hold what runs and nothing else: a module and its types for each source", () => {
    const sources = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" }).filter((file) =>
      file.endsWith(".ts"),
    );
    const built = sources.flatMap((file) => [".js", ".d.ts"].map((ending) => `dist/${file.replace(/\.ts$/, ending)}`));
    const others = ["LICENSE", "README.md", "docs/metrics.md", "package.json"];
    expect(packed.toSorted()).toEqual([...built, ...others].toSorted());
  });

  it("name no source map, and no path of the machine that built it", () => {
    const dist = join(ROOT, "dist");
    const files = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((file) => /\.(?:js|ts)$/.test(file));
    const tells = (code: string): boolean => code.includes("sourceMappingURL") || code.includes(ROOT);
    expect(files.filter((file) => tells(readFileSync(join(dist, file), "utf8")))).toEqual([]);
  });

  it("say of every dependency which version, licence and digest it is, and nothing of development", () => {
    const { components } = JSON.parse(artefact("cyclonedx.json")) as {
      readonly components: readonly {
        readonly name: string;
        readonly version: string;
        readonly licenses: readonly { readonly license: { readonly id: string } }[];
        readonly hashes: readonly { readonly alg: string; readonly content: string }[];
      }[];
    };
    const said = components.map(({ name, version, licenses, hashes }) => [
      ...[name, version, licenses[0]?.license.id],
      `sha512-${Buffer.from(hashes[0]?.content ?? "", "hex").toString("base64")}`,
    ]);
    const known = installedDependencies().map(({ name, version, license, integrity }) => [
      name,
      version,
      license,
      integrity,
    ]);
    expect(said.toSorted()).toEqual(known.toSorted());
    const { packages } = JSON.parse(artefact("spdx.json")) as {
      readonly packages: readonly { readonly name: string }[];
    };
    expect(packages.map(({ name }) => name).toSorted()).toEqual(
      ["ollama-gpu-exporter", ...known.map(([name]) => name)].toSorted(),
    );
  });

  it("run where they are installed, without a script having run, and read a GPU", () => {
    const home = mkdtempSync(join(tmpdir(), "installed-"));
    writeFileSync(join(home, "package.json"), '{"private":true}\n');
    const npm = (args: readonly string[]) => execFileSync("npm", args, { cwd: home, stdio: "pipe" });
    npm(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", join(folder, `${NAME}.tgz`)]);
    using driver = new FakeDriver({ gpus: [h100({ processes: [] })] });
    const exporter = (args: readonly string[]): string =>
      execFileSync(process.execPath, [join(home, "node_modules/ollama-gpu-exporter/dist/cli.js"), ...args], {
        env: { PATH: process.env.PATH ?? "", ...driver.env },
        encoding: "utf8",
      });
    expect(exporter(["--version"])).toBe(`ollama-gpu-exporter ${manifest.version}\n`);
    expect(exporter(["status", "--ollama.host=none", `--gpu.nvml-library=${driver.library}`])).toContain(
      "GPU 0: NVIDIA H100",
    );
    expect(readdirSync(join(home, "node_modules/@opentelemetry"))).not.toContain("exporter-metrics-otlp-grpc");
    rmSync(home, { recursive: true });
  });
});

describe("the scripts", () => {
  it("have nothing that shellcheck would warn of", () => {
    const scripts = readdirSync(join(ROOT, "scripts")).filter((file) => file.endsWith(".sh"));
    const paths = scripts.map((file) => `scripts/${file}`);
    expect(run(tool("shellcheck"), paths)).toMatchObject({ status: 0, output: "" });
  });
});
