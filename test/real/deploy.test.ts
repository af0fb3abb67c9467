/** What is deployed without Kubernetes, through the tools that read it; no container runtime is at hand. */
import { describe, expect, it } from "@jest/globals";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parse, parseDocument } from "yaml";
import { environmentName, OPTIONS } from "../../src/config/options.ts";
import { tool } from "../support/real-tools.ts";
import { manifest, ROOT, type Run, run, text } from "../support/tool-run.ts";

const FLAGS: readonly string[] = OPTIONS.map(({ flag }) => flag);

describe("the Dockerfile", () => {
  const dockerfile = text("Dockerfile");

  it("passes hadolint", () => {
    expect(run(tool("hadolint"), [join(ROOT, "Dockerfile")])).toEqual({ status: 0, stdout: "", output: "" });
  });

  it("copies only what exists and .dockerignore lets through", () => {
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, names = ""]) =>
      names.split(" "),
    );
    const ignore = text(".dockerignore").split("\n");
    expect(copied.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    expect(copied.filter((path) => !ignore.includes(`!${path}`))).toEqual([]);
    expect(ignore).toContain("*");
  });

  it("runs on the Node of the tests, as nobody, without a shell", () => {
    expect(dockerfile).toContain(`ARG NODE_TAG=${manifest.devDependencies.node}-bookworm-slim\n`);
    expect(dockerfile).toContain(`ARG VERSION=${manifest.version}\n`);
    expect(dockerfile).toMatch(/^USER 65532:65532$/m);
    expect(dockerfile).toMatch(/^ENTRYPOINT \["node", /m);
    expect(dockerfile).toMatch(/^ {2}CMD \["node", "-e", /m);
  });
});

interface Service {
  readonly image: string;
  readonly profiles?: readonly string[];
  readonly ports: readonly string[];
  readonly volumes?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Record<string, string>;
  readonly build?: unknown;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly [key: string]: unknown;
}

describe("the compose file", () => {
  const { services, volumes } = parse(text("deploy/compose/compose.yaml"), { merge: true }) as {
    services: Record<string, Service>;
    volumes: object;
  };
  const each = Object.entries(services);

  it("starts Ollama and the exporter with gpu, synthetic hardware with demo, and the rest with either", () => {
    expect(Object.fromEntries(each.map(([name, { profiles }]) => [name, profiles?.join()]))).toEqual({
      ollama: "gpu",
      exporter: "gpu",
      demo: "demo",
      prometheus: undefined,
      alertmanager: undefined,
      grafana: undefined,
    });
    expect(services.exporter).toMatchObject({ pid: "host", read_only: true, cap_drop: ["ALL"] });
    expect(services.demo?.command).toEqual(["--demo"]);
  });

  it("gives the exporter arguments that it takes", () => {
    for (const args of [services.exporter?.command, services.demo?.command]) {
      const { output, status } = run(process.execPath, ["dist/cli.js", "check-config", ...(args ?? ["none"])]);
      expect([output, status]).toEqual(["configuration is valid\n", 0]);
    }
  });

  it("publishes every port on 127.0.0.1 only", () => {
    for (const file of ["compose.yaml", "share-network.yaml"]) {
      const { services: all } = parseDocument(text(`deploy/compose/${file}`), {
        merge: true,
        logLevel: "error",
      }).toJS() as {
        services: Record<string, Partial<Service>>;
      };
      for (const { ports = [] } of Object.values(all))
        for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    }
  });

  it("pins every image to a release, with a healthcheck, and holds no secret", () => {
    for (const [name, { image, build, healthcheck, environment = {} }] of each) {
      expect([name, image]).toEqual([name, expect.stringMatching(/:v?\d+\.\d+\.\d+$/)]);
      // The exporter's is in its image.
      expect([name, healthcheck?.test[0] ?? (build ? "CMD" : "none")]).toEqual([name, "CMD"]);
      for (const key of Object.keys(environment)) expect(key).not.toMatch(/PASSWORD|SECRET|TOKEN(?!S)|API_KEY/);
    }
    expect(services.exporter?.image).toBe(`ollama-gpu-exporter:${manifest.version}`);
  });

  it("mounts only files that exist and volumes that are declared", () => {
    for (const volume of each.flatMap(([, { volumes: mounted = [] }]) => mounted)) {
      const [source = ""] = volume.split(":");
      const exists = source.startsWith(".") ? existsSync(join(ROOT, "deploy/compose", source)) : source in volumes;
      expect([volume, exists]).toEqual([volume, true]);
    }
  });
});

describe("the systemd unit", () => {
  const UNIT = "ollama-gpu-exporter.service";
  const path = `deploy/systemd/${UNIT}`;
  const analyze = (...args: readonly string[]): Run => {
    try {
      return run("systemd-analyze", args);
    } catch (error) {
      throw new Error("systemd-analyze is missing: apt-get install systemd", { cause: error });
    }
  };

  it("passes systemd-analyze verify where the program is installed", () => {
    const root = mkdtempSync(join(tmpdir(), "systemd-"));
    const program = join(root, /^ExecStart=(\S+)/m.exec(text(path))?.[1] ?? "");
    mkdirSync(dirname(program), { recursive: true });
    writeFileSync(program, "#!/bin/sh\n");
    chmodSync(program, 0o755);
    cpSync("/lib/systemd/system", join(root, "lib/systemd/system"), { recursive: true, verbatimSymlinks: true });
    cpSync(join(ROOT, path), join(root, "etc/systemd/system", UNIT));
    const verified = analyze("verify", `--root=${root}`, UNIT);
    rmSync(root, { recursive: true });
    expect(verified).toEqual({ status: 0, stdout: "", output: "" });
  });

  it("is exposed by at most 2.0 in systemd-analyze security", () => {
    const { status, output } = analyze("security", "--offline=true", "--threshold=20", "--no-pager", path);
    expect(Number(/exposure level for \S+: ([\d.]+)/.exec(output)?.[1])).toBeLessThanOrEqual(2);
    expect(status).toBe(0);
  });
});

describe("the Prometheus configuration", () => {
  it("passes promtool with the rules beside it", () => {
    const { status, output } = run(tool("promtool"), [
      "check",
      "config",
      join(ROOT, "deploy/prometheus/prometheus.yml"),
    ]);
    expect(output).toContain("is valid prometheus config file syntax");
    expect(status).toBe(0);
  });

  it("scrapes under one job name everywhere, which the rules watch", () => {
    const jobs = ["prometheus.yml", "kubernetes.yml"].map((name) => {
      const {
        scrape_configs: [first],
      } = parse(text(`deploy/prometheus/${name}`)) as { scrape_configs: [{ job_name: string }] };
      return first.job_name;
    });
    expect(jobs).toEqual(["ollama-gpu", "ollama-gpu"]);
  });
});

describe("every file of the deployment", () => {
  const files = [
    "Dockerfile",
    "docs/deploy.md",
    "docs/scaling.md",
    ...readdirSync(join(ROOT, "deploy"), { recursive: true, encoding: "utf8" }).map((name) => `deploy/${name}`),
  ].filter(
    (name) => /Dockerfile|\.(ya?ml|md|service|env|conf|tpl|txt|example)$/.test(name) && !name.includes("/rules/"),
  );

  it("names only options that exist", () => {
    const sections = new Set(FLAGS.filter((flag) => flag.includes(".")).map((flag) => flag.split(".")[0] ?? ""));
    const known = new Set([...FLAGS, ...FLAGS.map(environmentName)]);
    const named = files.flatMap((file) => {
      const flags = [...text(file).matchAll(/--(?:no-)?(([a-z]+)\.[a-z.-]*[a-z])/g)];
      const ours = flags.flatMap(([, flag = "", section = ""]) => (sections.has(section) ? [flag] : []));
      return [...ours, ...(text(file).match(/OLLAMA_GPU_EXPORTER_[A-Z_]*[A-Z]/g) ?? [])].map((name) => ({
        file,
        name,
      }));
    });
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter(({ name }) => !known.has(name))).toEqual([]);
  });
});
