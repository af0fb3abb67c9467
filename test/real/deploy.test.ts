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

interface Resolved {
  readonly services: Record<
    string,
    {
      readonly ports?: readonly { readonly host_ip?: string; readonly published: string }[];
      readonly network_mode?: string;
      readonly networks?: object;
      readonly command?: readonly string[] | null;
      readonly deploy?: { readonly resources: { readonly reservations: { readonly devices: readonly object[] } } };
    }
  >;
}

describe("docker compose itself", () => {
  const resolved = (files: readonly string[], ...profiles: readonly string[]): Resolved => {
    const args = [
      ...files.flatMap((file) => ["-f", `deploy/compose/${file}`]),
      ...profiles.map((name) => `--profile=${name}`),
    ];
    const { status, stdout, output } = run(tool("docker-compose"), [...args, "config", "--format=json"]);
    if (status !== 0) throw new Error(output);
    return JSON.parse(stdout) as Resolved;
  };
  const AROUND = ["alertmanager", "grafana", "prometheus"];

  it.each([
    ["demo", ["compose.yaml"], [...AROUND, "demo"]],
    ["gpu", ["compose.yaml"], [...AROUND, "exporter", "ollama"]],
    ["gpu", ["compose.yaml", "share-network.yaml"], [...AROUND, "exporter", "ollama"]],
  ])("starts with profile %s of %j: %j, on 127.0.0.1 alone and no port twice", (profile, files, expected) => {
    const { services } = resolved(files, profile);
    expect(Object.keys(services).sort()).toEqual(expected.sort());
    const ports = Object.values(services).flatMap(({ ports: own = [] }) => own);
    expect(ports.filter(({ host_ip }) => host_ip !== "127.0.0.1")).toEqual([]);
    expect(new Set(ports.map(({ published }) => published)).size).toBe(ports.length);
    expect(ports.map(({ published }) => published)).toEqual(expect.arrayContaining(["3000", "9090", "9093", "9434"]));
  });

  it("gives Ollama and the exporter the GPUs, and the exporter Ollama's network only with share-network.yaml", () => {
    const { ollama, exporter } = resolved(["compose.yaml"], "gpu").services;
    for (const service of [ollama, exporter])
      expect(service?.deploy?.resources.reservations.devices).toEqual([
        { capabilities: ["gpu"], driver: "nvidia", count: -1 },
      ]);
    expect(exporter?.network_mode).toBeUndefined();
    const shared = resolved(["compose.yaml", "share-network.yaml"], "gpu").services;
    expect(shared.exporter).toMatchObject({ network_mode: "service:ollama" });
    expect(shared.exporter?.networks).toBeUndefined();
    expect(shared.exporter?.ports).toBeUndefined();
  });
});

describe("Grafana's provisioning", () => {
  it("names the data source, the dashboards' folder and the first board as the compose file mounts them", () => {
    const { datasources } = parse(text("deploy/grafana/provisioning/datasources/prometheus.yml")) as {
      datasources: readonly { uid: string; url: string; isDefault: boolean }[];
    };
    expect(datasources).toEqual([
      expect.objectContaining({ uid: "prometheus", url: "http://prometheus:9090", isDefault: true }),
    ]);
    const { providers } = parse(text("deploy/grafana/provisioning/dashboards/ollama-gpu.yml")) as {
      providers: readonly [{ options: { path: string } }];
    };
    const { grafana } = (
      parse(text("deploy/compose/compose.yaml"), { merge: true }) as { services: Record<string, Service> }
    ).services;
    const { path } = providers[0].options;
    expect(grafana?.volumes).toContain(`../../grafana/dashboards:${path}:ro`);
    const home = grafana?.environment?.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH ?? "";
    expect(existsSync(join(ROOT, home.replace(path, "grafana/dashboards")))).toBe(true);
  });
});

describe("the systemd unit", () => {
  const UNIT = "ollama-gpu-exporter.service";
  const path = `deploy/systemd/${UNIT}`;
  const analyze = (...args: readonly string[]): Run => run(tool("systemd-analyze"), args);

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

  it("starts what npm pack and npm install put there, as deploy/README.md does it", () => {
    const root = mkdtempSync(join(tmpdir(), "install-"));
    const npm = (...args: readonly string[]): string => {
      const { status, stdout, output } = run("npm", args);
      if (status !== 0) throw new Error(output);
      return stdout;
    };
    const [{ filename }] = JSON.parse(npm("pack", "--json", "--ignore-scripts", `--pack-destination=${root}`)) as [
      { filename: string },
    ];
    const program = /^ExecStart=(\S+)/m.exec(text(path))?.[1] ?? "";
    npm("install", "--global", `--prefix=${join(root, dirname(dirname(program)))}`, join(root, filename));
    for (const line of [
      `npm install --global --prefix ${dirname(dirname(program))} ./${filename}`,
      `${program} status`,
    ])
      expect(text("deploy/README.md")).toContain(line);
    // The shebang's node is whatever is first on PATH; the tests' own has the version that the package wants.
    const { status, output } = run("env", [
      `PATH=${dirname(process.execPath)}:${process.env.PATH ?? ""}`,
      join(root, program),
      "status",
      "--demo",
    ]);
    expect([status, output]).toEqual([0, expect.stringMatching(/^STATUS AS OF: [^]*GPU 0: NVIDIA H100/)]);
    rmSync(root, { recursive: true });
  });

  it("is exposed by at most 2.0 in systemd-analyze security", () => {
    const { status, output } = analyze("security", "--offline=true", "--threshold=20", "--no-pager", path);
    expect(Number(/exposure level for \S+: ([\d.]+)/.exec(output)?.[1])).toBeLessThanOrEqual(2);
    expect(status).toBe(0);
  });
});

describe("the Prometheus configuration", () => {
  const check = (path: string): Run => run(tool("promtool"), ["check", "config", path]);

  it("passes promtool with the rules beside it", () => {
    const { status, output } = check(join(ROOT, "deploy/prometheus/prometheus.yml"));
    expect(output).toContain("is valid prometheus config file syntax");
    expect(output.match(/rules found/g)).toHaveLength(4);
    expect(status).toBe(0);
  });

  it("passes promtool with a file of hosts, and with Kubernetes", () => {
    const folder = mkdtempSync(join(tmpdir(), "prometheus-"));
    cpSync(join(ROOT, "deploy/prometheus"), folder, { recursive: true });
    cpSync(join(folder, "targets/gpu.yml.example"), join(folder, "targets/gpu.yml"));
    writeFileSync(join(folder, "cluster.yml"), "scrape_config_files: [kubernetes.yml]\n");
    for (const name of ["prometheus.yml", "cluster.yml"])
      expect(check(join(folder, name))).toMatchObject({
        status: 0,
        output: expect.stringContaining("is valid") as unknown,
      });
    writeFileSync(join(folder, "targets/gpu.yml"), "- targetz: []\n");
    writeFileSync(join(folder, "kubernetes.yml"), text("deploy/prometheus/kubernetes.yml").replace("pod }", "pot }"));
    expect(check(join(folder, "prometheus.yml"))).toMatchObject({
      status: 1,
      output: expect.stringContaining("targetz") as unknown,
    });
    expect(check(join(folder, "cluster.yml"))).toMatchObject({
      status: 1,
      output: expect.stringContaining("SD role") as unknown,
    });
    rmSync(folder, { recursive: true });
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
