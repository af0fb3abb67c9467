/** Scalars as Go's YAML and the toolkit's types take them: YAML 1.1 spellings, any scalar as a text, Go's durations. */
import { type Document, isAlias, isScalar } from "yaml";

/** What an alias stands for; anything else is itself. */
export const resolved = (node: unknown, document: Document): unknown => (isAlias(node) ? node.resolve(document) : node);

export const isEmpty = (node: unknown): boolean => node === null || (isScalar(node) && node.value === null);

/** Any scalar, as it is written; empty for null. Undefined for what is no scalar. */
export function textOf(node: unknown): string | undefined {
  if (isEmpty(node)) return "";
  if (!isScalar(node)) return undefined;
  const { value, source } = node as { value: unknown; source?: string };
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? (source ?? String(value)) : undefined;
}

/** YAML 1.1 has more words for them; in quotes they are texts. */
export function booleanOf(node: unknown): boolean | undefined {
  if (!isScalar(node) || node.type !== "PLAIN") return undefined;
  const word = /^(?:(y|yes|true|on)|n|no|false|off)$/i.exec(textOf(node) ?? "");
  return word ? word[1] !== undefined : undefined;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1e3,
  m: 6e4,
  h: 36e5,
};

/** time.ParseDuration without negative ones: `1m30s`, `.5s`, `0`; a number that is no text is nanoseconds. */
export function durationMs(node: unknown): number | undefined {
  const value: unknown = isScalar(node) ? node.value : undefined;
  if (typeof value === "number") return value >= 0 && Number.isFinite(value) ? value * 1e-6 : undefined;
  if (typeof value !== "string") return undefined;
  if (/^\+?0$/.test(value)) return 0;
  if (!/^\+?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(value)) return undefined;
  const parts = value.matchAll(/([\d.]+)(ns|us|µs|μs|ms|s|m|h)/g);
  const ms = [...parts].reduce((sum, [, number, unit = ""]) => sum + Number(number) * (UNIT_MS[unit] ?? 0), 0);
  return Number.isFinite(ms) ? ms : undefined;
}
