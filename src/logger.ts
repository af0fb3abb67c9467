/** Log lines on one stream, as logfmt or JSON: one event is always one line, whatever a value contains. */
import { visible } from "./lib/visible.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ["logfmt", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** What the rest of the code logs to. An application that imports the class may pass its own. */
export type Logger = Readonly<Record<LogLevel, (message: string, fields?: LogFields) => void>>;

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly write: (line: string) => void;
  readonly now: () => number;
}

export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** A logger that writes the levels from `level` on. */
export function createLogger(options: LoggerOptions): Logger {
  const lowest = LOG_LEVELS.indexOf(options.level);
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}) => {
      if (LOG_LEVELS.indexOf(level) < lowest) return;
      const record = { ts: new Date(options.now()).toISOString(), level, msg: message, ...fields };
      options.write(`${visible(options.format === "json" ? JSON.stringify(record) : logfmt(record))}\n`);
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function logfmt(record: LogFields): string {
  return Object.entries(record)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${quote(String(value))}`)
    .join(" ");
}

function quote(value: string): string {
  return /^[\w.:/@+[\]-]+$/.test(value) ? value : JSON.stringify(value);
}

function ignore(): void {
  // a logger that says nothing
}
