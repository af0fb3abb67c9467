/** The errors a caller can meet, one class per kind. Expected conditions of a reading are values, not errors: see sources/source.ts. */
import { visible } from "./lib/visible.ts";

/** A flag, variable, file key or constructor option is wrong. The message names it, what was expected and where. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** Every problem found on a line of its own, the first one being the message. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    const lines = problems.map(visible);
    super(lines[0] ?? "invalid configuration");
    this.problems = lines;
  }
}

/** The process cannot start although its configuration is valid: a port is taken, a file is unreadable. */
export class StartupError extends Error {
  override readonly name = "StartupError";
}

/** A synchronous reader was called before the first snapshot. */
export class NoSnapshotError extends Error {
  override readonly name = "NoSnapshotError";

  constructor() {
    super("No snapshot has been taken yet: await an asynchronous reader once, or startBackgroundRefresh(), first");
  }
}

/** The one-line text of anything thrown, with the innermost cause: `fetch failed: connect ECONNREFUSED 127.0.0.1:11434`. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return visible(String(error));
  const cause = error.cause === undefined ? "" : messageOf(error.cause);
  const text = cause === "" || error.message.includes(cause) ? error.message : `${error.message}: ${cause}`;
  return visible(text.replace(/\s+/g, " ").trim()) || error.name;
}
