/** The Helm chart and the kustomize base, rendered and checked; no cluster is at hand. */
import { describe, expect, it } from "@jest/globals";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { readFileValues } from "../../src/config/file.ts";
import { OPTIONS } from "../../src/config/options.ts";
import { tool } from "../support/real-tools.ts";
import { manifest, ROOT, type Run, run, text } from "../support/tool-run.ts";

const CHART = "deploy/helm/ollama-gpu-exporter";
/** Kubernetes' own resources, and the Prometheus Operator's. */
const SCHEMAS = ["k8s-schemas", "operator-schemas"].map((name) =>
  join(dirname(tool("kubeconform")), `../share/${name}/{{.ResourceKind}}{{.KindSuffix}}.json`),
);
const kubeconform = (yaml: string): Run =>
  run(tool("kubeconform"), ["-strict", "-summary", ...SCHEMAS.map((schema) => `-schema-location=${schema}`)], yaml);

const template = (values: object, chart = CHART): Run =>
  run(tool("helm"), ["template", "ollama-gpu-exporter", chart, "--values=-"], JSON.stringify(values));

interface Container {
  readonly args: readonly string[];
  readonly securityContext: unknown;
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Record<string, string>;
  readonly spec?: {
    readonly groups?: readonly { rules: readonly { alert?: string; expr: string }[] }[];
    readonly template?: { spec: { hostPID?: boolean; securityContext: unknown; containers: readonly [Container] } };
  };
}

function manifests(values: object, chart = CHART): readonly Manifest[] {
  const { status, stdout, output } = template(values, chart);
  if (status !== 0) throw new Error(output);
  return resources(stdout);
}

const resources = (yaml: string): readonly Manifest[] =>
  parseAllDocuments(yaml).flatMap((document) => (document.contents ? [document.toJS() as Manifest] : []));

function podOf(values: object) {
  const pod = manifests(values).find(({ kind }) => kind === "DaemonSet")?.spec?.template?.spec;
  if (!pod) throw new Error("no DaemonSet");
  return pod;
}

const FULL = {
  fullnameOverride: "gpu",
  hostPID: true,
  hostNetwork: true,
  runtimeClassName: "nvidia",
  priorityClassName: "system-node-critical",
  serviceAccountName: "gpu",
  port: 9999,
  imagePullSecrets: [{ name: "registry" }],
  nodeSelector: { "nvidia.com/gpu.present": "true" },
  affinity: { nodeAffinity: {} },
  podLabels: { team: "a" },
  podAnnotations: { "prometheus.io/scrape": "true" },
  config: { "ollama.host": ["a=http://10.0.0.1:11434", "b=http://10.0.0.2:11434"], "web.exporter-metrics": false },
  extraArgs: ["--log.format=json"],
  extraEnv: [{ name: "OTEL_EXPORTER_OTLP_HEADERS", valueFrom: { secretKeyRef: { name: "otlp", key: "headers" } } }],
  extraVolumes: [{ name: "proc", hostPath: { path: "/proc" } }],
  extraVolumeMounts: [{ name: "proc", mountPath: "/host/proc", readOnly: true }],
  service: { annotations: { a: "b" } },
  serviceMonitor: { enabled: true, labels: { release: "prometheus" }, endpoint: { scheme: "https" } },
  prometheusRule: { enabled: true, labels: { release: "prometheus" } },
  dashboards: { enabled: true },
};

describe("the Helm chart", () => {
  it("passes helm lint in strict mode", () => {
    const { status, output } = run(tool("helm"), ["lint", "--strict", CHART]);
    expect(output).toContain("0 chart(s) failed");
    expect(status).toBe(0);
  });

  it.each<[string, object, readonly string[]]>([
    ["its defaults", {}, ["DaemonSet", "Service"]],
    ["everything on", FULL, ["ConfigMap", "DaemonSet", "PrometheusRule", "Service", "ServiceMonitor"]],
    [
      "a PodMonitor without a Service",
      { podMonitor: { enabled: true }, service: { enabled: false } },
      ["DaemonSet", "PodMonitor"],
    ],
    [
      "a configuration and nothing around it",
      { config: { demo: true }, service: { enabled: false }, tolerations: [], resources: {} },
      ["ConfigMap", "DaemonSet"],
    ],
  ])("makes valid manifests with %s", (_, values, kinds) => {
    const { status, stdout, output } = template(values);
    expect([status, output.includes("coalesce")]).toEqual([0, false]);
    const checked = kubeconform(stdout);
    expect(checked.output).toMatch(/Invalid: 0, Errors: 0, Skipped: 0/);
    expect(checked.status).toBe(0);
    expect(run(tool("yamllint"), ["--strict", "-"], stdout)).toMatchObject({ status: 0, output: "" });
    expect([...new Set(manifests(values).map(({ kind }) => kind))].sort()).toEqual(kinds);
  });

  it.each([
    ["ServiceMonitor", "scrapeTimeout: 10s", "scrapeTimeuot: 10s", "scrapeTimeuot"],
    ["ServiceMonitor", "interval: 15s", "interval: soon", "interval"],
    ["PrometheusRule", "for: 3m", "for: [3m]", "for"],
    ["DaemonSet", "hostPID: true", "hostPID: maybe", "hostPID"],
  ])("would not pass with a %s in which %s reads %s", (kind, right, wrong, reason) => {
    const { stdout } = template(FULL);
    expect(stdout).toContain(right);
    const { status, output } = kubeconform(stdout.replace(right, wrong));
    expect([status, output]).toEqual([1, expect.stringMatching(new RegExp(`${kind} .*invalid[^]*${reason}`))]);
  });

  it.each<[object, string]>([
    [{ hostPid: true }, "hostPid"],
    [{ hostPID: "yes" }, "hostPID"],
    [{ port: 0 }, "port"],
    [{ config: { procesess: "all" } }, "procesess"],
    [{ config: { "web.listen-address": ":1" } }, "web.listen-address"],
    [{ extraArgs: ["demo"] }, "extraArgs"],
    [{ image: { pullPolicy: "Sometimes" } }, "pullPolicy"],
    [{ serviceMonitor: { enabled: true, interval: "15" } }, "interval"],
    [{ serviceMonitor: { enabled: true }, podMonitor: { enabled: true } }, "twice"],
    [{ serviceMonitor: { enabled: true }, service: { enabled: false } }, "needs service.enabled"],
  ])("refuses %j", (values, reason) => {
    const { status, output } = template(values);
    expect(status).not.toBe(0);
    expect(output).toContain(reason);
  });

  it("works without rules and dashboards to copy", () => {
    const folder = mkdtempSync(join(tmpdir(), "chart-"));
    cpSync(join(ROOT, CHART), folder, { recursive: true });
    rmSync(join(folder, "files"), { recursive: true, force: true });
    const kinds = manifests({ prometheusRule: { enabled: true }, dashboards: { enabled: true } }, folder);
    expect(kinds.map(({ kind }) => kind)).toEqual(["Service", "DaemonSet"]);
    rmSync(folder, { recursive: true });
  });

  it("meets the restricted pod security standard by default, and changes nothing but hostPID for the process table", () => {
    const { hostPID, securityContext, containers } = podOf({});
    expect(hostPID).toBeUndefined();
    expect(securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
    expect(containers[0].securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(podOf({ hostPID: true })).toEqual({ ...podOf({}), hostPID: true });
  });

  it("writes a configuration that the exporter reads as it was meant", () => {
    const { config } = FULL;
    const file = manifests({ config }).find(({ kind }) => kind === "ConfigMap")?.data?.["exporter.yml"] ?? "";
    const { values, problems } = readFileValues(file, "exporter.yml");
    expect(problems).toEqual([]);
    expect(Object.fromEntries(values.map(({ flag, values: texts }) => [flag, texts]))).toEqual({
      "ollama.host": config["ollama.host"],
      "web.exporter-metrics": ["false"],
    });
  });

  it("knows in values.schema.json every option but those that the chart sets or a pod cannot have", () => {
    const others = ["config.file", "web.listen-address", "web.systemd-socket"];
    const schema = JSON.parse(text(`${CHART}/values.schema.json`)) as {
      properties: { config: { propertyNames: { enum: string[] } } };
    };
    const known = schema.properties.config.propertyNames.enum;
    expect([...known].sort()).toEqual(
      OPTIONS.map(({ flag }) => flag)
        .filter((flag) => !others.includes(flag))
        .sort(),
    );
  });

  it("carries every rule but those left out, and every dashboard to the byte", () => {
    const files = readdirSync(join(ROOT, "deploy/prometheus/rules"));
    const expected = files.flatMap((name) => {
      const { groups } = parse(text(`deploy/prometheus/rules/${name}`)) as NonNullable<Manifest["spec"]>;
      return (groups ?? []).flatMap(({ rules }) => rules);
    });
    const made = manifests({
      prometheusRule: { enabled: true, disabledAlerts: ["OllamaDown"] },
      dashboards: FULL.dashboards,
    });
    const rules = made.find(({ kind }) => kind === "PrometheusRule")?.spec?.groups?.flatMap((group) => group.rules);
    expect(rules).toEqual(expected.filter(({ alert }) => alert !== "OllamaDown"));
    const boards = Object.assign({}, ...made.map(({ data }) => data)) as Record<string, string>;
    for (const name of readdirSync(join(ROOT, "grafana/dashboards")))
      expect([name, boards[name] === text(`grafana/dashboards/${name}`)]).toEqual([name, true]);
  });

  it("gives the exporter arguments that it takes", () => {
    const { args } = podOf({ extraArgs: ["--ollama.host=http://$(NODE_IP):11434"] }).containers[0];
    const { output, status } = run(process.execPath, ["dist/cli.js", "check-config", ...args]);
    expect([output, status]).toEqual(["configuration is valid\n", 0]);
  });

  it("takes the values that deploy/README.md shows", () => {
    const [, values = ""] = /^```yaml\n(image: .+?)^```/ms.exec(text("deploy/README.md")) ?? [];
    const kinds = manifests(parse(values) as object).map(({ kind }) => kind);
    expect(kinds).toEqual(expect.arrayContaining(["DaemonSet", "ServiceMonitor", "PrometheusRule"]));
  });

  it("has the version of the package", () => {
    const chart = parse(text(`${CHART}/Chart.yaml`)) as Record<string, string>;
    expect([chart.version, chart.appVersion]).toEqual([manifest.version, manifest.version]);
  });
});

describe("the kustomize base", () => {
  it("is what the chart renders with its defaults; else run the command in its first line", () => {
    const [, ...lines] = text("deploy/kustomize/base/exporter.yaml").split("\n");
    expect(lines.join("\n")).toBe(template({}).stdout);
  });

  it.each([
    ["base", undefined],
    ["host-pid", true],
  ])("is built by kustomize from %s into valid manifests, with hostPID %s", (name, hostPID) => {
    const { status, stdout } = run(tool("kustomize"), ["build", `deploy/kustomize/${name}`]);
    expect(status).toBe(0);
    expect(kubeconform(stdout)).toMatchObject({ status: 0, output: expect.stringContaining("Valid: 2") as unknown });
    const pod = resources(stdout).find(({ kind }) => kind === "DaemonSet")?.spec?.template?.spec;
    expect(pod).toEqual(hostPID ? { ...podOf({}), hostPID } : podOf({}));
  });
});
