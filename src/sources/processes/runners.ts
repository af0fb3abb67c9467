import { basename, dirname } from "node:path";
import type { Runner } from "../../snapshot.ts";

/** What a command line says about a process of Ollama. */
export type OllamaRole =
  /** `ollama serve`. */
  | { readonly role: "server" }
  /** Looks for GPUs for a moment, without a model. */
  | { readonly role: "discovery" }
  /** Holds a model, or is loading one. */
  | { readonly role: "runner"; readonly model: RunnerModel };

/** What a runner's command line says about its model. */
export type RunnerModel = Pick<Runner, "kind" | "blobDigest" | "modelName" | "port" | "hasEndpoints">;

interface Command {
  readonly program: string;
  readonly path: string;
  readonly executable: () => string | undefined;
  readonly subcommand: string;
  readonly arguments: readonly string[];
}

interface Generation {
  readonly matches: (command: Command) => boolean;
  readonly role: "server" | "discovery" | "model";
}

/** Every command line of Ollama contains this. */
export const OLLAMA_MARK = "llama";

// A renamed or wrapped `ollama`, but no other program whose name merely begins so (ollama-webui, ollama-gpu-exporter).
const OLLAMA_BINARY = /^\.?ollama(?:-wrapped|\.exe|-(?:linux|darwin|windows)-\w+|-v?\d[\w.]*)?$/;
const isNamedOllama = (program: string): boolean => /^\.?ollama/.test(program);

/** Ollama's commands since 0.1.30, by first match; `model` needs `--model`, without it the process is a discovery. */
const GENERATIONS: readonly Generation[] = [
  // 0.1.30 .. 0.5.6
  { matches: ({ program }) => program === "ollama_llama_server", role: "model" },
  // 0.5.7 .. 0.24, and MLX and image runners since
  { matches: ({ program, subcommand }) => isNamedOllama(program) && subcommand === "runner", role: "model" },
  // since 0.30
  { matches: isOllamasLlamaServer, role: "model" },
  { matches: ({ program, subcommand }) => isNamedOllama(program) && subcommand === "gpu-discover", role: "discovery" },
  {
    matches: ({ program, subcommand }) => OLLAMA_BINARY.test(program) && ["serve", "start"].includes(subcommand),
    role: "server",
  },
];

const NAME_ENGINES = ["--mlx-engine", "--image-engine", "--imagegen-engine"];

/**
 * Reads a command line of any Ollama generation; undefined when the process is not Ollama's.
 * A `llama-server` is Ollama's only when it lies in a folder named `ollama` or carries the two flags that Ollama always
 * sets; `executable` (the target of /proc/PID/exe) is asked for only where the arguments leave it open.
 */
export function classify(
  argv: readonly string[],
  executable: () => string | undefined = () => undefined,
): OllamaRole | undefined {
  const path = argv[0] ?? "";
  const command = {
    program: basename(path),
    path,
    executable,
    subcommand: argv[1] ?? "",
    arguments: argv.slice(1),
  };
  const generation = GENERATIONS.find(({ matches }) => matches(command));
  if (generation === undefined) return undefined;
  if (generation.role !== "model") return { role: generation.role };
  const found = modelRole(command.arguments);
  return found.role === "runner" && generation.matches === isOllamasLlamaServer && isOnLoopback(command.arguments)
    ? { role: "runner", model: { ...found.model, hasEndpoints: true } }
    : found;
}

/** Whether a runner's parent may be its server, however the server was started (renamed, through a wrapper). */
export function mayBeServer(argv: readonly string[]): boolean {
  return isNamedOllama(basename(argv[0] ?? "")) || argv.includes("serve");
}

/** 64 hex digits of a blob's path: `…/blobs/sha256-HEX`. */
export function blobDigestOf(path: string): string | undefined {
  return /sha256[-:]([0-9a-f]{64})$/.exec(basename(path))?.[1];
}

function isOllamasLlamaServer({ program, path, executable, arguments: flags }: Command): boolean {
  if (program !== "llama-server") return false;
  if (flags.includes("--no-webui") && flags.includes("--offline")) return true;
  return liesInOllama(path) || liesInOllama(executable() ?? "");
}

function liesInOllama(path: string): boolean {
  return basename(dirname(path)) === "ollama";
}

function modelRole(flags: readonly string[]): OllamaRole {
  const value = valueOf(flags, "--model");
  if (value === undefined) return { role: "discovery" };
  const text = valueOf(flags, "--port") ?? "";
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  const listening = port > 0 && port <= 65_535 ? { port } : {};
  return { role: "runner", model: { ...modelOf(value, flags), ...listening } };
}

/** 127.0.0.1 is llama-server's default and what Ollama says; with another address that port of 127.0.0.1 may be anybody's. */
function isOnLoopback(flags: readonly string[]): boolean {
  return (valueOf(flags, "--host") ?? "127.0.0.1") === "127.0.0.1";
}

function modelOf(value: string, flags: readonly string[]): RunnerModel {
  const blobDigest = blobDigestOf(value);
  if (blobDigest !== undefined) return { kind: "blob", blobDigest };
  const takesName = NAME_ENGINES.some((engine) => flags.includes(engine));
  return takesName && value !== "" ? { kind: "name", modelName: value } : { kind: "unknown" };
}

function valueOf(flags: readonly string[], name: string): string | undefined {
  for (const [position, flag] of flags.entries()) {
    if (flag === name) return flags[position + 1];
    if (flag.startsWith(`${name}=`)) return flag.slice(name.length + 1);
  }
  return undefined;
}
