/** OpenTelemetry's own variables beside our options: what is pushed where, and what each one may say. */
import { readFileSync } from "node:fs";
import { messageOf } from "../errors.ts";
import type { OtlpConfig, OtlpPushConfig } from "./options.ts";

/** The texts given for an option, and where. */
export interface Given {
  readonly texts: readonly string[];
  /** Empty for a flag, else the variable's name or `file.yml:12`. */
  readonly where: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const METRICS_ENDPOINT = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
const ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT";
const INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL";
const SIGNAL_PATH = "v1/metrics";
/** The exporter specification's own. */
const DEFAULT_TIMEOUT_MS = 10_000;

/** Standard variables that say the same as an option; the more specific name wins. */
const STANDARD: readonly (readonly [flag: string, names: readonly string[]])[] = [
  ["otlp.endpoint", [METRICS_ENDPOINT, ENDPOINT]],
  ["otlp.interval", [INTERVAL]],
  ["otlp.protocol", ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]],
];

/** Options as the standard variables give them; an empty variable is none. */
export function fromStandardVariables(env: Environment): readonly (readonly [string, Given])[] {
  return STANDARD.flatMap(([flag, names]) => {
    const set = variable(env, names);
    if (!set) return [];
    const value = set.name === INTERVAL && /^\d+$/.test(set.value) ? `${set.value}ms` : set.value;
    return [[flag, { texts: [value], where: set.name }] as const];
  });
}

export interface OtlpInput {
  /** Parsed options by flag. */
  readonly read: ReadonlyMap<string, unknown>;
  readonly given: ReadonlyMap<string, Given>;
  readonly env: Environment;
  /** Gets what is wrong; never a header's value. */
  readonly problems: string[];
}

/** All of it. Without an endpoint only what every output needs is looked at. */
export function readOtlp(input: OtlpInput): OtlpConfig {
  const { read, given, env, problems } = input;
  const attributes = keyValues(env, ["OTEL_RESOURCE_ATTRIBUTES"], problems);
  const serviceName = variable(env, ["OTEL_SERVICE_NAME"])?.value;
  const endpoint = given.get("otlp.endpoint");
  const isPushed = endpoint !== undefined && endpoint.texts.at(-1)?.trim() !== "" && !isSwitchedOff(env);
  return {
    naming: read.get("otlp.naming") === "semconv" ? "semconv" : "native",
    resourceAttributes: { ...attributes, ...(serviceName !== undefined && { "service.name": serviceName }) },
    ...(isPushed && { push: readPush(endpoint, input) }),
  };
}

function isSwitchedOff(env: Environment): boolean {
  if (env.OTEL_SDK_DISABLED?.trim().toLowerCase() === "true") return true;
  const exporters = variable(env, ["OTEL_METRICS_EXPORTER"])?.value.split(",") ?? ["otlp"];
  return !exporters.some((name) => name.trim() === "otlp");
}

function readPush(endpoint: Given, { read, env, problems }: OtlpInput): OtlpPushConfig {
  const protocol = (read.get("otlp.protocol") ?? "http/protobuf") as OtlpPushConfig["protocol"];
  const intervalMs = (read.get("otlp.interval") ?? 0) as number;
  checkTemporality(env, problems);
  return {
    url: urlOf(endpoint, protocol, problems),
    protocol,
    intervalMs,
    timeoutMs: timeoutOf(env, intervalMs, problems),
    headers: keyValues(env, ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"], problems),
    compression: compressionOf(env, problems),
    tls: {
      ...file(env, "CERTIFICATE", "ca", problems),
      ...file(env, "CLIENT_CERTIFICATE", "cert", problems),
      ...file(env, "CLIENT_KEY", "key", problems),
    },
  };
}

/** The specification: METRICS_ENDPOINT is used as it is, ENDPOINT is a base. Our own flag may be either. */
function urlOf({ texts, where }: Given, protocol: OtlpPushConfig["protocol"], problems: string[]): string {
  const url = URL.parse(texts.at(-1)?.trim() ?? "");
  const name = where === "" ? "--otlp.endpoint" : where;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    problems.push(`${name}: expected a URL like http://127.0.0.1:4318 or https://host/path`);
    return "";
  }
  if (protocol === "grpc" || where === METRICS_ENDPOINT) return url.href;
  const isWhole = where !== ENDPOINT && url.pathname.endsWith(`/${SIGNAL_PATH}`);
  if (!isWhole) url.pathname = `${url.pathname.replace(/\/$/, "")}/${SIGNAL_PATH}`;
  return url.href;
}

/** The shorter of both limits; one that is set must fit into the interval, a default is cut to it. */
function timeoutOf(env: Environment, intervalMs: number, problems: string[]): number {
  const limits = [["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"], ["OTEL_METRIC_EXPORT_TIMEOUT"]];
  const given = limits.flatMap((names) => {
    const set = variable(env, names);
    if (!set) return [];
    const timeoutMs = Number(set.value);
    if (!/^\d+$/.test(set.value) || timeoutMs === 0)
      problems.push(`${set.name}: expected milliseconds above 0, got "${set.value}"`);
    else if (intervalMs > 0 && timeoutMs > intervalMs)
      problems.push(
        `${set.name}: a timeout of ${timeoutMs} ms does not fit into the interval of ${intervalMs} ms; lower it or raise --otlp.interval`,
      );
    return [timeoutMs];
  });
  return Math.min(intervalMs, ...(given.length > 0 ? given : [DEFAULT_TIMEOUT_MS]));
}

function compressionOf(env: Environment, problems: string[]): OtlpPushConfig["compression"] {
  const set = variable(env, ["OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"]);
  if (!set || set.value === "gzip" || set.value === "none") return set?.value === "none" ? "none" : "gzip";
  problems.push(`${set.name}: expected gzip or none, got "${set.value}"`);
  return "gzip";
}

/** Our sums are the driver's and the processes' own totals: cumulative is what is true of them. */
function checkTemporality(env: Environment, problems: string[]): void {
  const set = variable(env, ["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"]);
  if (!set || set.value.toLowerCase() === "cumulative") return;
  problems.push(
    `${set.name}: expected cumulative, got "${set.value}"; for delta let a collector convert (cumulativetodelta processor)`,
  );
}

function file(env: Environment, name: string, key: "ca" | "cert" | "key", problems: string[]): OtlpPushConfig["tls"] {
  const set = variable(env, [`OTEL_EXPORTER_OTLP_METRICS_${name}`, `OTEL_EXPORTER_OTLP_${name}`]);
  if (!set) return {};
  try {
    return { [key]: readFileSync(set.value) };
  } catch (error) {
    problems.push(`${set.name}: cannot read ${set.value}: ${messageOf(error)}`);
    return {};
  }
}

/** `key=value,key=value` with percent-encoding (W3C Baggage without properties); a later variable adds to an earlier one. */
function keyValues(env: Environment, names: readonly string[], problems: string[]): Readonly<Record<string, string>> {
  const entries = names.flatMap((name) =>
    (env[name] ?? "")
      .split(",")
      .filter((pair) => pair.trim() !== "")
      .flatMap((pair, index): readonly (readonly [string, string])[] => {
        const equals = pair.indexOf("=");
        const key = pair.slice(0, Math.max(0, equals)).trim();
        const value = decoded(pair.slice(equals + 1).trim());
        if (key !== "" && value !== undefined) return [[key, value]];
        problems.push(`${name}: entry ${index + 1}: expected key=value, percent-encoded`);
        return [];
      }),
  );
  return Object.fromEntries(entries);
}

function decoded(value: string): string | undefined {
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}

/** The first of them that is set. */
function variable(env: Environment, names: readonly string[]): { name: string; value: string } | undefined {
  const name = names.find((candidate) => (env[candidate] ?? "").trim() !== "");
  return name === undefined ? undefined : { name, value: (env[name] ?? "").trim() };
}
