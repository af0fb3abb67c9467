/** The command line: a command, the options of the table, and those of `status`. */
import { BYTE_UNITS, type ByteUnit, isByteUnit } from "../units.ts";
import { nearest } from "./nearest.ts";
import { OPTIONS } from "./options.ts";
import { duration } from "./values.ts";

export const COMMANDS = ["serve", "status", "check-config"] as const;
export type Command = (typeof COMMANDS)[number] | "help" | "version";

/** Options of `status`, on the command line only. */
export interface StatusOptions {
  readonly json: boolean;
  readonly watchMs?: number;
  readonly unit: ByteUnit;
  readonly includeGpu: boolean;
}

export interface Arguments {
  readonly command: Command;
  readonly status: StatusOptions;
  /** Texts by flag, in the order given. */
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly problems: readonly string[];
}

const STATUS_FLAGS = ["json", "watch", "unit", "no-gpu"];
const DEFAULT_WATCH = "2s";
/** These win over everything else on the line. */
const INSTEAD: Readonly<Record<string, Command>> = { "--help": "help", "-h": "help", "--version": "version" };

/** Reads the arguments behind the program's name. Collects every problem. */
export function parseArguments(argv: readonly string[]): Arguments {
  const problems: string[] = [];
  const values = new Map<string, string[]>();
  const own = new Map<string, string>();
  const commands: Command[] = [];
  const queue = [...argv];
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    const asked = INSTEAD[word];
    if (asked) return { command: asked, status: statusOptions(new Map(), []), values: new Map(), problems: [] };
    if (!word.startsWith("--")) takeCommand(word, commands, problems);
    else {
      const [flag, attached] = splitFlag(word.slice(2));
      if (STATUS_FLAGS.includes(flag)) own.set(flag, attached ?? (flag === "unit" ? (queue.shift() ?? "") : ""));
      else takeOption({ flag, attached, queue, values, problems });
    }
  }
  const [command = "serve"] = commands;
  if (own.size > 0 && command !== "status") {
    const [first = ""] = own.keys();
    problems.push(`--${first}: belongs to the command status`);
  }
  return { command, status: statusOptions(own, problems), values, problems };
}

function takeCommand(word: string, commands: Command[], problems: string[]): void {
  const known = COMMANDS.find((name) => name === word);
  if (known && commands.length === 0) commands.push(known);
  else problems.push(`unexpected argument "${word}"; expected one command of ${COMMANDS.join(", ")}`);
}

interface OptionTaker {
  readonly flag: string;
  readonly attached: string | undefined;
  readonly queue: string[];
  readonly values: Map<string, string[]>;
  readonly problems: string[];
}

function takeOption({ flag, attached, queue, values, problems }: OptionTaker): void {
  const negated = flag.startsWith("no-") ? OPTIONS.find((row) => row.boolean && `no-${row.flag}` === flag) : undefined;
  const option = negated ?? OPTIONS.find((row) => row.flag === flag);
  if (!option) {
    const known = [...OPTIONS.map((row) => row.flag), ...STATUS_FLAGS];
    problems.push(`unknown flag --${flag}${nearest(flag, known, (name) => `--${name}`)}`);
    if (attached === undefined && isValue(queue[0])) queue.shift(); // its value, which may be a secret
    return;
  }
  if (negated && attached !== undefined) problems.push(`--${flag}: expected no value, got "${attached}"`);
  const next = () => (isValue(queue[0]) ? queue.shift() : undefined);
  const value = negated ? "false" : (attached ?? (option.boolean ? "true" : next()));
  if (value === undefined) problems.push(`--${flag}: expected a value`);
  else values.set(option.flag, [...(values.get(option.flag) ?? []), value]);
}

const isValue = (word: string | undefined): boolean => word !== undefined && !word.startsWith("--");

function statusOptions(own: ReadonlyMap<string, string>, problems: string[]): StatusOptions {
  const unit = own.get("unit") ?? "MB";
  if (!isByteUnit(unit)) problems.push(`--unit: expected one of ${BYTE_UNITS.join(", ")}, got "${unit}"`);
  const watch = own.get("watch");
  return {
    json: own.has("json"),
    unit: isByteUnit(unit) ? unit : "MB",
    includeGpu: !own.has("no-gpu"),
    ...(watch !== undefined && { watchMs: watchMs(watch, problems) }),
  };
}

function watchMs(value: string, problems: string[]): number {
  try {
    return duration({ above: 0 })(value === "" ? DEFAULT_WATCH : value);
  } catch (error) {
    problems.push(`--watch: ${error instanceof Error ? error.message : ""}, got "${value}"`);
    return 0;
  }
}

function splitFlag(word: string): readonly [string, string | undefined] {
  const equals = word.indexOf("=");
  return equals === -1 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)];
}
