/** The options: a row each. Parsing, environment names, file keys, --help and the README's table all come from here. */
import type { ProcessSelection } from "../attribution/owners.ts";
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from "../logger.ts";
import type { ListenAddress } from "../outputs/http/listen.ts";
import type { Header } from "../sources/ollama/client.ts";
import type { ServerTarget } from "../sources/ollama/host.ts";
import { boolean, duration, header, integer, listenAddress, oneOf, type Parse, text, urlPath } from "./values.ts";

/** One option. */
export interface OptionRow {
  /** Without the leading dashes. */
  readonly flag: string;
  /** Text of the default as in the documentation; the value is what it parses to. Empty = none. */
  readonly default: string;
  readonly meaning: string;
  readonly parse: Parse<unknown>;
  /** May be given several times; a list in the environment and the file. */
  readonly repeatable?: true;
  /** Given without a value on the command line. */
  readonly boolean?: true;
  /** No key of the YAML file. */
  readonly notInFile?: true;
}

export const OPTIONS: readonly OptionRow[] = [
  { flag: "config.file", default: "", meaning: "YAML file with any of these options", parse: text, notInFile: true },
  {
    flag: "web.listen-address",
    default: ":9434",
    meaning: "`host:port`, `:port`, `[::1]:port` or `unix:/path`; port 0 = any free port (the chosen one is logged)",
    parse: listenAddress,
    repeatable: true,
  },
  {
    flag: "web.systemd-socket",
    default: "false",
    meaning: "listen on the sockets that systemd passes instead of --web.listen-address",
    parse: boolean,
    boolean: true,
  },
  { flag: "web.telemetry-path", default: "/metrics", meaning: "path of the metrics", parse: urlPath },
  {
    flag: "web.config.file",
    default: "",
    meaning: "TLS, basic auth, headers and rate limit in the Prometheus exporter-toolkit format; re-read on change",
    parse: text,
  },
  { flag: "web.max-requests", default: "40", meaning: "concurrent scrapes; more get 503", parse: integer(1) },
  {
    flag: "web.exporter-metrics",
    default: "true",
    meaning: "process_* and nodejs_* families",
    parse: boolean,
    boolean: true,
  },
  {
    flag: "ollama.host",
    default: "",
    meaning:
      "`[NAME=]URL` by Ollama's own OLLAMA_HOST rules; `none` switches Ollama off; default OLLAMA_HOST or http://127.0.0.1:11434",
    parse: text,
    repeatable: true,
  },
  {
    flag: "ollama.header",
    default: "",
    meaning: "`Name: value` sent to Ollama; `Name: @/path` reads a file",
    parse: header,
    repeatable: true,
  },
  { flag: "ollama.timeout", default: "3s", meaning: "whole answer, per request", parse: duration({ above: 0 }) },
  { flag: "ollama.tags-interval", default: "60s", meaning: "how often /api/tags is read again", parse: duration() },
  {
    flag: "gpu.backend",
    default: "auto",
    meaning: "auto (nvml; off while its library does not load), nvml (fails visibly then), demo, none",
    parse: oneOf("auto", "nvml", "demo", "none"),
  },
  { flag: "gpu.nvml-library", default: "libnvidia-ml.so.1", meaning: "file name or path", parse: text },
  { flag: "gpu.timeout", default: "5s", meaning: "whole reading of the driver", parse: duration({ above: 0 }) },
  { flag: "gpu.include", default: "", meaning: "list of indices or UUIDs; default all", parse: text, repeatable: true },
  {
    flag: "processes",
    default: "ollama",
    meaning: "gpu_process_* series: ollama, all, none",
    parse: oneOf("ollama", "all", "none"),
  },
  {
    flag: "cache.duration",
    default: "5s",
    meaning: "a snapshot younger than this is served again; 0 = read on every scrape",
    parse: duration(),
  },
  {
    flag: "refresh.interval",
    default: "0",
    meaning: "read in the background at this interval and serve the newest; 0 = off",
    parse: duration(),
  },
  { flag: "retry.attempts", default: "3", meaning: "attempts within the deadline of a reading", parse: integer(1) },
  { flag: "retry.delay", default: "1s", meaning: "between two attempts", parse: duration() },
  {
    flag: "path.procfs",
    default: "/proc",
    meaning: "another root of the process table (in a container: /host/proc)",
    parse: text,
  },
  {
    flag: "ollama.runner-metrics",
    default: "auto",
    meaning:
      "auto (slots and tokens of local runners of Ollama 0.30 and later, over their own port; a /metrics of the server's own) or off",
    parse: oneOf("auto", "off"),
  },
  {
    flag: "energy.interval",
    default: "1s",
    meaning: "between two samples of energy and process utilisation, from which energy per model comes; 0 = off",
    parse: duration(),
  },
  {
    flag: "otlp.endpoint",
    default: "",
    meaning:
      "URL to push to over OTLP; `/v1/metrics` is added when it does not end so; also OTEL_EXPORTER_OTLP_ENDPOINT",
    parse: text,
  },
  {
    flag: "otlp.interval",
    default: "60s",
    meaning: "between two pushes; also OTEL_METRIC_EXPORT_INTERVAL (milliseconds)",
    parse: duration({ above: 0 }),
  },
  {
    flag: "otlp.protocol",
    default: "http/protobuf",
    meaning: "http/protobuf, http/json or grpc; also OTEL_EXPORTER_OTLP_PROTOCOL",
    parse: oneOf("http/protobuf", "http/json", "grpc"),
  },
  {
    flag: "otlp.naming",
    default: "native",
    meaning:
      "native (Prometheus translates it to the names of /metrics) or semconv (OpenTelemetry's hardware conventions)",
    parse: oneOf("native", "semconv"),
  },
  { flag: "log.level", default: "info", meaning: "debug, info, warn, error; to stderr", parse: oneOf(...LOG_LEVELS) },
  { flag: "log.format", default: "logfmt", meaning: "logfmt or json", parse: oneOf(...LOG_FORMATS) },
  {
    flag: "demo",
    default: "false",
    meaning: "synthetic GPUs and Ollama models through the real pipeline",
    parse: boolean,
    boolean: true,
  },
];

/** --web.listen-address -> OLLAMA_GPU_EXPORTER_WEB_LISTEN_ADDRESS */
export const environmentName = (flag: string): string =>
  `OLLAMA_GPU_EXPORTER_${flag.toUpperCase().replace(/[.-]/g, "_")}`;

/** What is said over OpenTelemetry, and where it is pushed. */
export interface OtlpConfig {
  readonly naming: "native" | "semconv";
  /** OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME. */
  readonly resourceAttributes: Readonly<Record<string, string>>;
  /** Absent = nothing is pushed. */
  readonly push?: OtlpPushConfig;
}

export interface OtlpPushConfig {
  readonly url: string;
  readonly protocol: "http/protobuf" | "http/json" | "grpc";
  readonly intervalMs: number;
  /** One push with its retries; never above the interval. */
  readonly timeoutMs: number;
  /** Secrets: never logged. */
  readonly headers: Readonly<Record<string, string>>;
  readonly compression: "gzip" | "none";
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
}

/** The complete configuration. */
export interface Config {
  readonly web: {
    readonly listenAddresses: readonly ListenAddress[];
    readonly telemetryPath: string;
    readonly configFile?: string;
    readonly maxRequests: number;
    readonly exporterMetrics: boolean;
  };
  readonly ollama: {
    readonly servers: readonly ServerTarget[];
    readonly headers: readonly Header[];
    readonly timeoutMs: number;
    readonly tagsIntervalMs: number;
    readonly runnerMetrics: boolean;
  };
  readonly gpu: {
    readonly backend: "auto" | "nvml" | "demo" | "none";
    readonly nvmlLibrary: string;
    readonly timeoutMs: number;
    readonly include?: readonly string[];
    /** Of the driver's process: this process's own without what is secret. */
    readonly workerEnvironment: Readonly<Record<string, string>>;
  };
  readonly processes: ProcessSelection;
  readonly cacheDurationMs: number;
  readonly refreshIntervalMs: number;
  readonly retry: { readonly attempts: number; readonly delayMs: number };
  readonly procfs: string;
  /** 0 = off. */
  readonly energyIntervalMs: number;
  readonly otlp: OtlpConfig;
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  readonly demo: boolean;
}
