/** Ollama's answers -> our types. The only place that trusts nothing: a wrong field is lost, never the reading. */
import type { InstalledModel, LoadedModel } from "../../snapshot.ts";

/** A decoded list, and what was wrong in it: texts such as `models[0].size is no size`. */
export interface Decoded<T> {
  readonly value: T;
  readonly problems: readonly string[];
}

/** The answer is not what this endpoint answers; the message says what is missing. */
export class OutlineError extends Error {
  override readonly name = "OutlineError";
}

/** Ollama writes "for ever" as now + 292 years. */
const NEVER_MS = 100 * 365.25 * 86_400_000;
/** Dates before this are Go's zero time: not set. */
const FIRST_YEAR_MS = Date.UTC(1970, 0, 1);

/** `{"version":"0.33.2"}` or the text itself. */
export function decodeVersion(answer: unknown): Decoded<string | undefined> {
  if (typeof answer === "string" && answer !== "") return { value: answer.toWellFormed(), problems: [] };
  const { version } = objectOf(answer, "/api/version");
  const fine = typeof version === "string" && version !== "";
  return { value: fine ? version.toWellFormed() : undefined, problems: fine ? [] : ["version is no text"] };
}

/** /api/ps; `nowMs` decides what is far enough ahead to be never. */
export function decodeLoaded(answer: unknown, nowMs: number): Decoded<readonly LoadedModel[]> {
  return decodeModels(answer, "/api/ps", (fields, name) => {
    const expires = fields.time("expires_at");
    return {
      name,
      ...fields.details(),
      ...optional("digest", fields.digest()),
      ...optional("sizeBytes", fields.number("size")),
      ...optional("sizeVramBytes", fields.number("size_vram")),
      ...optional("contextTokens", fields.number("context_length")),
      ...optional("expiresAtMs", expires !== undefined && expires - nowMs > NEVER_MS ? Infinity : expires),
    };
  });
}

/** /api/tags */
export function decodeInstalled(answer: unknown): Decoded<readonly InstalledModel[]> {
  return decodeModels(answer, "/api/tags", (fields, name) => ({
    name,
    ...fields.details(),
    ...optional("digest", fields.digest()),
    ...optional("fileBytes", fields.number("size")),
    ...optional("modifiedAtMs", fields.time("modified_at")),
  }));
}

/** HEX of the first FROM line of /api/show's modelfile that names a blob; undefined for models without one (MLX). */
export function decodeBlobDigest(answer: unknown): string | undefined {
  const { modelfile } = objectOf(answer, "/api/show");
  if (typeof modelfile !== "string") return undefined;
  for (const line of modelfile.split("\n")) {
    const digest = /^FROM\s/.test(line) ? /sha256[-:]([0-9a-f]{64})$/.exec(line.trimEnd())?.[1] : undefined;
    if (digest !== undefined) return digest;
  }
  return undefined;
}

function decodeModels<T extends { readonly name: string }>(
  answer: unknown,
  path: string,
  decode: (fields: Fields, name: string) => T,
): Decoded<readonly T[]> {
  const { models } = objectOf(answer, path);
  if (models !== null && !Array.isArray(models)) throw new OutlineError(`${path} has no list of models`);
  const problems: string[] = [];
  const byName = new Map<string, T>();
  (models ?? []).forEach((entry: unknown, index: number) => {
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) {
      problems.push(`models[${index}] is no object`);
      return;
    }
    const fields = new Fields(entry, `models[${index}]`, problems);
    const name = fields.name();
    if (name === undefined) problems.push(`models[${index}] has no name`);
    else if (!byName.has(name)) byName.set(name, decode(fields, name));
  });
  return { value: [...byName.values()], problems };
}

/** One entry of models[]; every getter loses only its own field. */
class Fields {
  readonly #entry: ReadonlyMap<string, unknown>;
  readonly #where: string;
  readonly #problems: string[];

  constructor(entry: object, where: string, problems: string[]) {
    this.#entry = new Map<string, unknown>(Object.entries(entry));
    this.#where = where;
    this.#problems = problems;
  }

  name(): string | undefined {
    const name = [this.#entry.get("name"), this.#entry.get("model")].find(
      (value) => typeof value === "string" && value !== "",
    );
    return typeof name === "string" ? name.toWellFormed() : undefined;
  }

  number(key: string): number | undefined {
    return this.#take(key, "number", (value) =>
      typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined,
    );
  }

  digest(): string | undefined {
    return this.#take("digest", "digest", (value) =>
      typeof value === "string" ? /^(?:sha256:)?([0-9a-f]{64})$/i.exec(value)?.[1]?.toLowerCase() : undefined,
    );
  }

  /** RFC 3339 -> unix ms; a time that is not set is absent, and no problem. */
  time(key: string): number | undefined {
    const ms = this.#take(key, "time", (value) => {
      const parsed =
        value instanceof Date ? value.getTime() : typeof value === "string" ? Date.parse(cutFraction(value)) : NaN;
      return Number.isNaN(parsed) ? undefined : parsed;
    });
    return ms === undefined || ms < FIRST_YEAR_MS ? undefined : ms;
  }

  details(): Pick<LoadedModel, "family" | "parameterSize" | "quantization" | "format"> {
    const details = this.#take("details", "object", (value) =>
      typeof value === "object" && value !== null ? value : undefined,
    );
    if (!details) return {};
    const own = new Fields(details, `${this.#where}.details`, this.#problems);
    return {
      ...optional("family", own.#text("family")),
      ...optional("parameterSize", own.#text("parameter_size")),
      ...optional("quantization", own.#text("quantization_level")),
      ...optional("format", own.#text("format")),
    };
  }

  #text(key: string): string | undefined {
    return this.#take(key, "text", (value) => (typeof value === "string" ? value.toWellFormed() : undefined));
  }

  /** Absent is fine; present and unreadable is a problem. */
  #take<T>(key: string, kind: string, read: (value: unknown) => T | undefined): T | undefined {
    const value = this.#entry.get(key);
    if (value === undefined || value === null) return undefined;
    const taken = read(value);
    if (taken === undefined) this.#problems.push(`${this.#where}.${key} is no ${kind}`);
    return taken;
  }
}

/** Go prints up to nine digits; Date.parse reads three for certain. */
const cutFraction = (time: string): string => time.replace(/(\.\d{3})\d+/, "$1");

function objectOf(answer: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
    throw new OutlineError(`${path} answered no JSON object`);
  }
  return answer as Readonly<Record<string, unknown>>;
}

function optional<K extends string, V>(key: K, value: V | undefined): Readonly<Partial<Record<K, V>>> {
  return (value === undefined ? {} : { [key]: value }) as Readonly<Partial<Record<K, V>>>;
}
