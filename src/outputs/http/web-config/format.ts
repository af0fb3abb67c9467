/** The Prometheus exporter-toolkit's web configuration: strict, with every problem and its line. */
import { dirname, isAbsolute, join } from "node:path";
import { isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, type YAMLMap } from "yaml";
import { visible } from "../../../lib/visible.ts";
import { booleanOf, durationMs, isEmpty, resolved, textOf } from "./go-yaml.ts";
import { syntaxProblem } from "../../../lib/yaml-problems.ts";
import { CIPHERS, CLIENT_AUTH_TYPES, type ClientAuth, CURVES, TLS_VERSIONS } from "./names.ts";

/** A PEM text, or the file that holds it. */
export type Pem = { readonly text: string } | { readonly file: string };

export interface TlsFormat {
  readonly cert: Pem;
  readonly key: Pem;
  readonly clientCa?: Pem;
  readonly clientAuth: ClientAuth;
  readonly clientAllowedSans?: readonly string[];
  readonly minVersion: keyof typeof TLS_VERSIONS;
  readonly maxVersion: keyof typeof TLS_VERSIONS;
  readonly cipherSuites: readonly string[];
  readonly curves: readonly string[];
}

/** What a file says, complete with its defaults. */
export interface WebFormat {
  /** Absent = plain HTTP. */
  readonly tls?: TlsFormat;
  readonly headers: Readonly<Record<string, string>>;
  /** bcrypt hash by user; empty = no authentication. */
  readonly users: Readonly<Record<string, string>>;
  readonly rateLimit?: { readonly intervalMs: number; readonly burst: number };
}

/** Header names as the toolkit spells them, with the values it allows. */
const HEADERS: Readonly<Record<string, readonly string[]>> = {
  "Strict-Transport-Security": [],
  "X-Content-Type-Options": ["nosniff"],
  "X-Frame-Options": ["deny", "sameorigin"],
  "X-XSS-Protection": [],
  "Content-Security-Policy": [],
};
const BCRYPT = /^\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}$/;

type Kind = "text" | "boolean" | "integer" | "duration" | "texts" | "map";
const SECTIONS: Readonly<Record<string, Readonly<Record<string, Kind>> | "map">> = {
  tls_server_config: {
    cert: "text",
    key: "text",
    client_ca: "text",
    cert_file: "text",
    key_file: "text",
    client_ca_file: "text",
    client_auth_type: "text",
    client_allowed_sans: "texts",
    min_version: "text",
    max_version: "text",
    cipher_suites: "texts",
    prefer_server_cipher_suites: "boolean",
    curve_preferences: "texts",
  },
  http_server_config: { http2: "boolean", headers: "map" },
  rate_limit: { interval: "duration", burst: "integer" },
  basic_auth_users: "map",
};

/** Reads a file's text; `path` names it in problems and is where relative paths start. */
export function readWebFormat(source: string, path: string): { format?: WebFormat; problems: readonly string[] } {
  const reader = new Reader(source, path);
  const values = reader.sections();
  const format = reader.problems.length === 0 ? reader.assemble(values) : undefined;
  return format && reader.problems.length === 0 ? { format, problems: [] } : { problems: reader.problems };
}

type Values = ReadonlyMap<string, unknown>;

class Reader {
  readonly problems: string[] = [];
  readonly #path: string;
  readonly #lines = new LineCounter();
  readonly #document;
  readonly #where = new Map<string, string>();

  constructor(source: string, path: string) {
    this.#path = path;
    this.#document = parseDocument(source, { lineCounter: this.#lines, prettyErrors: false, uniqueKeys: true });
    for (const { pos, message } of this.#document.errors)
      this.problems.push(visible(`${this.#at(pos[0])}: ${syntaxProblem(message)}`));
  }

  /** Values by `section.key`. */
  sections(): Values {
    const values = new Map<string, unknown>();
    const { contents } = this.#document;
    if (this.problems.length > 0) return values; // what YAML could not read says nothing more
    if (isEmpty(contents)) return values;
    if (!isMap(contents)) this.#say("", "expected keys and values");
    else for (const pair of contents.items) this.#section(pair, values);
    return values;
  }

  assemble(values: Values): WebFormat | undefined {
    const tls = this.#tls(values);
    const rate = values.get("rate_limit.interval") as number | undefined;
    return {
      ...(tls && { tls }),
      headers: (values.get("http_server_config.headers") ?? {}) as Record<string, string>,
      users: (values.get("basic_auth_users") ?? {}) as Record<string, string>,
      ...(rate !== undefined &&
        rate > 0 && {
          rateLimit: { intervalMs: rate, burst: (values.get("rate_limit.burst") ?? 0) as number },
        }),
    };
  }

  #section({ key, value: given }: Pair, values: Map<string, unknown>): void {
    const value = resolved(given, this.#document);
    const name = textOf(key) ?? "?";
    this.#where.set(name, this.#of(key));
    const keys = Object.hasOwn(SECTIONS, name) ? SECTIONS[name] : undefined;
    if (keys === undefined) this.#say(name, `unknown key "${name}"`);
    else if (isEmpty(value)) return;
    else if (!isMap(value)) this.#say(name, `${name}: expected keys and values`);
    else if (keys === "map") values.set(name, this.#map(name, value));
    else for (const pair of value.items) this.#key(name, keys, pair, values);
  }

  #key(
    section: string,
    keys: Readonly<Record<string, Kind>>,
    { key, value: given }: Pair,
    values: Map<string, unknown>,
  ): void {
    const value = resolved(given, this.#document);
    const name = textOf(key) ?? "?";
    const path = `${section}.${name}`;
    this.#where.set(path, this.#of(key));
    const kind = Object.hasOwn(keys, name) ? keys[name] : undefined;
    if (kind === undefined) this.#say(path, `unknown key "${name}" in ${section}`);
    else if (!isEmpty(value)) {
      const read = this.#value(kind, path, value);
      if (read === undefined) this.#say(path, `${path}: expected ${EXPECTED[kind]}`);
      else values.set(path, read);
    }
  }

  #value(kind: Kind, path: string, node: unknown): unknown {
    if (kind === "texts") return isSeq(node) ? this.#texts(node.items) : undefined;
    if (kind === "map") return isMap(node) ? this.#map(path, node) : undefined;
    if (kind === "text") return textOf(node);
    if (kind === "boolean") return booleanOf(node);
    if (kind === "duration") return durationMs(node);
    const value: unknown = isScalar(node) ? node.value : undefined;
    return Number.isInteger(value) && (value as number) >= 0 ? value : undefined;
  }

  #texts(items: readonly unknown[]): readonly string[] | undefined {
    const texts = items.map((item) => textOf(resolved(item, this.#document)));
    return texts.includes(undefined) ? undefined : texts.filter((text) => text !== undefined);
  }

  /** Headers or users: names to texts, each checked. */
  #map(path: string, node: YAMLMap): Readonly<Record<string, string>> {
    const entries = node.items.flatMap(({ key, value }): readonly (readonly [string, string])[] => {
      const [name, text] = [textOf(key), textOf(resolved(value, this.#document))];
      const where = `${path}.${name ?? "?"}`;
      this.#where.set(where, this.#of(key));
      if (name === undefined || text === undefined) this.#say(where, `${path}: expected texts`);
      else if (path === "basic_auth_users" ? this.#isUser(where, name, text) : this.#isHeader(where, name, text))
        return [[name, path === "basic_auth_users" ? text : onOneLine(text)]];
      return [];
    });
    return Object.fromEntries(entries);
  }

  #isUser(where: string, name: string, hash: string): boolean {
    if (BCRYPT.test(hash)) return true;
    this.#say(
      where,
      `basic_auth_users: the password of ${JSON.stringify(name)} is no bcrypt hash; make one with: htpasswd -nBC 10 ""`,
    );
    return false;
  }

  #isHeader(where: string, name: string, value: string): boolean {
    const allowed = Object.hasOwn(HEADERS, name) ? HEADERS[name] : undefined;
    if (!allowed)
      this.#say(where, `HTTP header "${name}" can not be configured; only ${Object.keys(HEADERS).join(", ")}`);
    else if (allowed.length > 0 && !allowed.includes(value))
      this.#say(where, `invalid value for ${name}: expected ${allowed.join(" or ")}`);
    else if (/[^\t\n\x20-\x7e\x80-\u{10ffff}]/u.test(value))
      this.#say(where, `invalid value for ${name}: no control characters`);
    else return true;
    return false;
  }

  #tls(values: Values): TlsFormat | undefined {
    const get = (key: string) => values.get(`tls_server_config.${key}`) as string | undefined;
    const enabling = ["cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type"];
    const listed = (key: string) => (values.get(`tls_server_config.${key}`) ?? []) as readonly string[];
    this.#known("min_version", get("min_version"), TLS_VERSIONS);
    this.#known("max_version", get("max_version"), TLS_VERSIONS);
    for (const name of listed("cipher_suites")) this.#known("cipher_suites", name, CIPHERS);
    for (const name of listed("curve_preferences")) this.#known("curve_preferences", name, CURVES);
    const policy = get("client_auth_type") === "" ? undefined : get("client_auth_type");
    this.#known("client_auth_type", policy, CLIENT_AUTH_TYPES);
    if (!enabling.some((key) => (get(key) ?? "") !== "")) return undefined;
    const [cert, key, clientCa] = ["cert", "key", "client_ca"].map((name) => this.#pem(get(name), get(`${name}_file`)));
    if (!cert) this.#say("tls_server_config", "tls_server_config: missing one of cert or cert_file");
    if (!key) this.#say("tls_server_config", "tls_server_config: missing one of key or key_file");
    const named = (policy ?? "NoClientCert") as keyof typeof CLIENT_AUTH_TYPES;
    const clientAuth = CLIENT_AUTH_TYPES[named];
    if (clientCa && clientAuth === "none")
      this.#say("tls_server_config", "tls_server_config: a client CA needs a client_auth_type");
    const minVersion = (get("min_version") ?? "TLS12") as TlsFormat["minVersion"];
    const maxVersion = (get("max_version") ?? "TLS13") as TlsFormat["maxVersion"];
    const order = Object.keys(TLS_VERSIONS);
    if (order.indexOf(minVersion) > order.indexOf(maxVersion))
      this.#say("tls_server_config.min_version", "tls_server_config: min_version is above max_version");
    if (!cert || !key) return undefined;
    const sans = values.get("tls_server_config.client_allowed_sans") as readonly string[] | undefined;
    return {
      cert,
      key,
      ...(clientCa && { clientCa }),
      clientAuth,
      ...(sans && { clientAllowedSans: sans }),
      minVersion,
      maxVersion,
      cipherSuites: listed("cipher_suites"),
      curves: listed("curve_preferences"),
    };
  }

  /** A file wins over a text, as in the toolkit. */
  #pem(text = "", file = ""): Pem | undefined {
    if (file !== "") return { file: isAbsolute(file) ? file : join(dirname(this.#path), file) };
    return text === "" ? undefined : { text };
  }

  #known(key: string, value: string | undefined, names: Readonly<Record<string, unknown>>): void {
    if (value === undefined || Object.hasOwn(names, value)) return;
    this.#say(
      `tls_server_config.${key}`,
      `tls_server_config.${key}: unknown ${JSON.stringify(value)}; one of ${Object.keys(names).join(", ")}`,
    );
  }

  #say(where: string, problem: string): void {
    this.problems.push(visible(`${this.#where.get(where) ?? this.#path}: ${problem}`));
  }

  #of(node: unknown): string {
    return this.#at((node as Node | null)?.range?.[0] ?? 0);
  }

  #at(offset: number): string {
    return `${this.#path}:${this.#lines.linePos(offset).line}`;
  }
}

/** As Go sends it: a folded text's line ends become blanks, other characters their UTF-8 bytes. */
const onOneLine = (value: string): string => Buffer.from(value.replace(/\n/g, " ").trim()).toString("latin1");

const EXPECTED: Readonly<Record<Kind, string>> = {
  text: "a text",
  boolean: "true or false",
  integer: "a whole number of 0 or more",
  duration: "a duration like 1s or 500ms",
  texts: "a list of texts",
  map: "keys and values",
};
