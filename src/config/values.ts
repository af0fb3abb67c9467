/** From the text of one option to its value. A parser throws an Error that says what was expected. */
import type { ListenAddress } from "../outputs/http/listen.ts";
import type { Header } from "../sources/ollama/client.ts";

export type Parse<T> = (text: string) => T;

const DURATION_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, "": 1000 };

/** `500ms`, `5s`, `1m`, `1h`; a bare number is seconds. In milliseconds. */
export function duration({ above }: { readonly above?: number } = {}): Parse<number> {
  return (text) => {
    const [, number, unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text.trim()) ?? [];
    const ms = Number(number) * (DURATION_MS[unit] ?? NaN);
    if (number === undefined || !Number.isFinite(ms)) throw new Error("expected a duration such as 500ms, 5s or 1m");
    if (above !== undefined && ms <= above) throw new Error("expected a duration above 0");
    return ms;
  };
}

export function integer(least: number): Parse<number> {
  return (text) => {
    if (!/^\d+$/.test(text.trim()) || Number(text) < least)
      throw new Error(`expected a whole number of at least ${least}`);
    return Number(text);
  };
}

export const boolean: Parse<boolean> = (text) => {
  const value = { true: true, "1": true, yes: true, on: true, false: false, "0": false, no: false, off: false }[
    text.trim().toLowerCase()
  ];
  if (value === undefined) throw new Error("expected true or false");
  return value;
};

export function oneOf<const T extends string>(...values: readonly T[]): Parse<T> {
  return (text) => {
    const value = values.find((candidate) => candidate === text.trim());
    if (value === undefined) throw new Error(`expected ${values.slice(0, -1).join(", ")} or ${values.at(-1) ?? ""}`);
    return value;
  };
}

export const text: Parse<string> = (value) => {
  if (value.trim() === "") throw new Error("expected a value");
  return value.trim();
};

/** A path of ours that a telemetry path would hide. */
const FIXED_PATHS = /^\/(?:$|-\/|api\/|metrics\/otel$)/;

export const urlPath: Parse<string> = (value) => {
  if (!/^\/[\w./~-]*$/.test(value)) throw new Error("expected a path such as /metrics");
  if (FIXED_PATHS.test(value))
    throw new Error("expected a path that the exporter does not use itself, such as /metrics");
  return value;
};

/** `host:port`, `:port`, `[::1]:port`, `unix:/path`. */
export const listenAddress: Parse<ListenAddress> = (value) => {
  if (value.startsWith("unix:/")) return { socketPath: value.slice("unix:".length) };
  const [, ipv6, host, port] = /^(?:\[([0-9a-fA-F:.%]+)\]|([\w.-]*)):(\d{1,5})$/.exec(value.trim()) ?? [];
  if (port === undefined || Number(port) > 65_535) {
    throw new Error("expected host:port, :port, [::1]:port or unix:/path");
  }
  const named = ipv6 ?? host ?? "";
  return { port: Number(port), ...(named !== "" && { host: named }) };
};

/** `Name: value`, or `Name: @/path` for a value in a file. */
export const header: Parse<Header> = (value) => {
  const [, name, rest] = /^\s*([!#$%&'*+.^_`|~\w-]+):\s*(.*?)\s*$/.exec(value) ?? [];
  if (name === undefined || rest === undefined || rest === "")
    throw new Error("expected 'Name: value' or 'Name: @/path'");
  if (/[^\t\x20-\x7e\x80-\xff]/.test(rest)) throw new Error("expected a value without control characters");
  return rest.startsWith("@") ? { name, file: rest.slice(1) } : { name, value: rest };
};
