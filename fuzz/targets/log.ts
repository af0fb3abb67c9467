/** Whatever is logged, in both formats: one event is one line and reads back. */
import { createLogger, type LogFormat } from "../../src/logger.ts";
import { texts } from "../captures.ts";
import { must, type Target } from "../target.ts";

const NOT_IN_A_LINE = /[\p{Cc}\p{Cf}\u2028\u2029]/u;

export const target: Target = {
  seeds: () =>
    texts("collector failed", 'a "b" c=d\nts=2026 level=error msg=forged', "\x1b[2J\u2028\u0085\\", "\ud7ff=", "a=b"),
  check: (input) => {
    const text = input.toString();
    for (const format of ["logfmt", "json"] as const) {
      const line = lineOf(text, format);
      must(line.endsWith("\n") && !NOT_IN_A_LINE.test(line.slice(0, -1)), `${format}: more than a line of text`);
      const read: unknown = format === "json" ? JSON.parse(line) : logfmtOf(line.trimEnd());
      const { ts, level, msg, field, n } = read as Readonly<Record<string, unknown>>;
      must(ts === "1970-01-01T00:00:00.000Z" && level === "warn", `${format}: another time or level`);
      must(msg === text && field === text && Number(n) === 7, `${format}: other words`);
      must(Object.keys(read as object).length === 5, `${format}: other fields`);
    }
  },
};

function lineOf(text: string, format: LogFormat): string {
  let written = "";
  const logger = createLogger({ level: "info", format, now: () => 0, write: (line) => (written += line) });
  logger.warn(text, { field: text, n: 7, absent: undefined });
  return written;
}

/** As go-logfmt reads it: bare values up to a space, quoted ones as JSON strings. */
function logfmtOf(line: string): Readonly<Record<string, string>> {
  const pair = /([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s="]*))(?: |$)/suy;
  const fields: Record<string, string> = {};
  while (pair.lastIndex < line.length) {
    const [, key, quoted, bare = ""] = pair.exec(line) ?? [];
    must(key !== undefined && !Object.hasOwn(fields, key), "no pair of key and value");
    fields[key] = quoted === undefined ? bare : (JSON.parse(`"${quoted}"`) as string);
  }
  return fields;
}
