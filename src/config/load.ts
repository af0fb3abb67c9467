/** Defaults < file < environment < flags: one complete configuration, or every problem at once. */
import { readFileSync } from "node:fs";
import { ConfigError, messageOf, StartupError } from "../errors.ts";
import { checkWebConfig } from "../outputs/http/web-config/web-config.ts";
import type { Header } from "../sources/ollama/client.ts";
import { workerEnvironment } from "../sources/nvml/worker-environment.ts";
import { localAddresses, parseServer, type ServerTarget } from "../sources/ollama/host.ts";
import { type Arguments, parseArguments } from "./arguments.ts";
import { readFileValues } from "./file.ts";
import { type Config, environmentName, type OptionRow, OPTIONS, type OtlpConfig } from "./options.ts";
import { fromStandardVariables, type Given, readOtlp } from "./otlp.ts";
import { activatedSockets } from "./systemd.ts";

/** What the process was started with. */
export interface StartInput {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whose sockets LISTEN_PID must name. Default: this process. */
  readonly processId?: number;
}

export interface Loaded extends Pick<Arguments, "command" | "status"> {
  readonly config: Config;
}

/** This process's own input. */
export const processInput = (): StartInput => ({ argv: process.argv.slice(2), env: process.env });

/** Throws ConfigError with all problems, or StartupError when a configuration file cannot be read at all. */
export function loadConfig({ argv, env, processId = process.pid }: StartInput): Loaded {
  const { command, status, values, problems: found } = parseArguments(argv);
  const problems = [...found];
  const given = new Map<string, Given>();
  const path = values.get("config.file")?.at(-1) ?? env[environmentName("config.file")];
  const unreadable: string[] = [];
  for (const [flag, entry] of fromFile(path, problems, unreadable)) given.set(flag, entry);
  for (const [flag, entry] of fromStandardVariables(env)) given.set(flag, entry);
  for (const [flag, entry] of fromEnvironment(env)) given.set(flag, entry);
  for (const [flag, texts] of values) given.set(flag, { texts, where: "" });
  const read = new Map(OPTIONS.map((row) => [row.flag, valueOf(row, given.get(row.flag), problems)]));
  const servers = serversOf(given.get("ollama.host"), env.OLLAMA_HOST, problems);
  const otlp = readOtlp({ read, given, env, problems });
  const config = assemble(read, { servers, otlp, workerEnvironment: workerEnvironment(env) });
  if (command !== "help" && command !== "version") checkFiles(config, problems, unreadable);
  if (command !== "check-config" && unreadable.length > 0) throw new StartupError(unreadable[0]);
  problems.push(...unreadable);
  if (problems.length > 0) throw new ConfigError(problems);
  if (command !== "serve" || read.get("web.systemd-socket") !== true) return { command, status, config };
  const web = { ...config.web, listenAddresses: activatedSockets(env, processId) };
  return { command, status, config: Object.freeze({ ...config, web }) };
}

/** The defaults for the class, whatever options the environment holds; the host as given, else this process's OLLAMA_HOST. Throws ConfigError on a bad host. */
export function defaultConfig(ollamaHost: string | undefined): Config {
  const host = ollamaHost ?? process.env.OLLAMA_HOST;
  const env = {
    ...workerEnvironment(process.env),
    ...(host !== undefined && { [environmentName("ollama.host")]: host }),
  };
  return loadConfig({ argv: [], env }).config;
}

function fromFile(
  path: string | undefined,
  problems: string[],
  unreadable: string[],
): readonly (readonly [string, Given])[] {
  if (path === undefined || path === "") return [];
  let source: string;
  try {
    source = readFileSync(path, "utf8");
  } catch (error) {
    unreadable.push(`--config.file: cannot read ${path}: ${messageOf(error)}`);
    return [];
  }
  const { values, problems: found } = readFileValues(source, path);
  problems.push(...found);
  return values.map(({ flag, values: texts, where }) => [flag, { texts, where }] as const);
}

function fromEnvironment(env: StartInput["env"]): readonly (readonly [string, Given])[] {
  return OPTIONS.flatMap(({ flag, repeatable }) => {
    const where = environmentName(flag);
    const value = env[where];
    if (value === undefined || value === "") return [];
    const texts = repeatable
      ? value
          .split(",")
          .map((part) => part.trim())
          .filter((part) => part !== "")
      : [value];
    return [[flag, { texts, where }] as const];
  });
}

/** The parsed value; a list for a repeatable option; undefined where there is none. */
function valueOf(row: OptionRow, given: Given | undefined, problems: string[]): unknown {
  const texts = given?.texts ?? (row.default === "" ? [] : [row.default]);
  const split = row.flag === "gpu.include" ? texts.flatMap((text) => text.split(",")) : texts;
  const values = split.map((text): unknown => {
    try {
      return row.parse(text);
    } catch (error) {
      const secret = row.flag === "ollama.header" ? "" : `, got "${text}"`;
      problems.push(`${nameOf(row.flag, given)}: ${messageOf(error)}${secret}`);
      return undefined;
    }
  });
  return row.repeatable ? values : values.at(-1);
}

const nameOf = (flag: string, given: Given | undefined): string =>
  given === undefined || given.where === "" ? `--${flag}` : `${given.where}: ${flag}`;

function serversOf(
  given: Given | undefined,
  fallback: string | undefined,
  problems: string[],
): readonly ServerTarget[] {
  const hosts = given ?? { texts: [fallback ?? ""], where: fallback === undefined ? "" : "OLLAMA_HOST" };
  if (hosts.texts.some((text) => text.trim() === "none")) {
    if (hosts.texts.length > 1)
      problems.push(`${nameOf("ollama.host", given)}: none cannot stand beside other servers`);
    return [];
  }
  const addresses = localAddresses();
  const servers = hosts.texts.flatMap((text): readonly ServerTarget[] => {
    try {
      return [parseServer(text, addresses)];
    } catch (error) {
      problems.push(`${nameOf("ollama.host", hosts)}: ${messageOf(error)}`);
      return [];
    }
  });
  const labels = servers.map(({ identity }) => identity.server);
  const twice = labels.find((label, index) => labels.indexOf(label) !== index);
  if (twice !== undefined)
    problems.push(`${nameOf("ollama.host", hosts)}: two servers are called ${twice}; give them names: NAME=URL`);
  return servers;
}

/** Files that options name. One that cannot be read at all ends a start; what is wrong inside is a problem. */
function checkFiles({ ollama, web }: Config, problems: string[], unreadable: string[]): void {
  if (web.configFile !== undefined) {
    try {
      problems.push(...checkWebConfig(web.configFile));
    } catch (error) {
      unreadable.push(messageOf(error));
    }
  }
  for (const header of ollama.headers) {
    if (!("file" in header)) continue;
    try {
      readFileSync(header.file);
    } catch (error) {
      problems.push(`--ollama.header: cannot read the file of ${header.name}: ${messageOf(error)}`);
    }
  }
}

/** What more than one option or the whole environment decides. */
interface ReadApart {
  readonly servers: readonly ServerTarget[];
  readonly otlp: OtlpConfig;
  readonly workerEnvironment: Readonly<Record<string, string>>;
}

/** The rows' parsers have checked every value; where one failed, the configuration is thrown away with the problems. */
function assemble(read: ReadonlyMap<string, unknown>, { servers, otlp, workerEnvironment }: ReadApart): Config {
  // A row's parser decides the type of its value, which the table cannot tell the compiler: never fits every property.
  const get = (flag: string): never => read.get(flag) as never;
  const include: readonly string[] = get("gpu.include");
  const webConfig = read.get("web.config.file") as string | undefined;
  return Object.freeze({
    web: {
      listenAddresses: get("web.listen-address"),
      telemetryPath: get("web.telemetry-path"),
      ...(webConfig !== undefined && webConfig !== "" && { configFile: webConfig }),
      maxRequests: get("web.max-requests"),
      exporterMetrics: get("web.exporter-metrics"),
    },
    ollama: {
      servers,
      headers: (get("ollama.header") as readonly (Header | undefined)[]).filter((header) => header !== undefined),
      timeoutMs: get("ollama.timeout"),
      tagsIntervalMs: get("ollama.tags-interval"),
      runnerMetrics: read.get("ollama.runner-metrics") === "auto",
    },
    gpu: {
      backend: get("gpu.backend"),
      nvmlLibrary: get("gpu.nvml-library"),
      timeoutMs: get("gpu.timeout"),
      workerEnvironment,
      ...(include.length > 0 && { include }),
    },
    processes: get("processes"),
    cacheDurationMs: get("cache.duration"),
    refreshIntervalMs: get("refresh.interval"),
    retry: { attempts: get("retry.attempts"), delayMs: get("retry.delay") },
    procfs: get("path.procfs"),
    energyIntervalMs: get("energy.interval"),
    otlp,
    log: { level: get("log.level"), format: get("log.format") },
    demo: get("demo"),
  });
}
