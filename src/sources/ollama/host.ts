/** OLLAMA_HOST as Ollama itself reads it (envconfig/config.go), and the label that a server gets from it. */
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import type { ServerIdentity } from "../../snapshot.ts";

/** A server as configured: how to reach it and what it is called. */
export interface ServerTarget {
  readonly identity: ServerIdentity;
  /** Scheme, host, port and path prefix, without a slash at the end; a unix socket has `http://localhost`. */
  readonly baseUrl: string;
  readonly socketPath?: string;
}

/** The parts of an OLLAMA_HOST. */
export interface OllamaHost {
  readonly scheme: string;
  /** Without brackets; empty = all interfaces. */
  readonly host: string;
  readonly port: number;
  /** With a leading slash, or empty. */
  readonly path: string;
}

const DEFAULT_PORT = 11434;
const SCHEME_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443 };
const PATH = /^[\w.~!$&()*+,;=:%/-]*$/;
/** What stands before the first `=` names the server, unless it is part of a URL. */
const NAMED = /^([^=:/"']+)=(.*)$/s;

/** Reads an OLLAMA_HOST. A port that is none falls back to the default, as in Ollama. */
export function parseOllamaHost(text: string): OllamaHost {
  const trimmed = trimmedOf(text.trim(), `"'`, "both").trim();
  const split = trimmed.indexOf("://");
  const cloud = split === -1 && trimmed === "ollama.com";
  const scheme = cloud ? "https" : split === -1 ? "http" : trimmed.slice(0, split);
  const fallback = cloud ? 443 : split === -1 ? DEFAULT_PORT : (SCHEME_PORTS[scheme] ?? DEFAULT_PORT);
  const rest = split === -1 ? trimmed : trimmed.slice(split + 3);
  const slash = rest.indexOf("/");
  const path = slash === -1 ? "" : trimmedOf(rest.slice(slash), "/", "end");
  return { scheme, path, ...parseAuthority(slash === -1 ? rest : rest.slice(0, slash), fallback) };
}

/** Reads `[NAME=]URL`. Throws an Error whose message says what is wrong and what to write instead. */
export function parseServer(value: string, hostAddresses: ReadonlySet<string>): ServerTarget {
  const [, name, named] = NAMED.exec(value) ?? [];
  const url = named ?? value;
  const isUnix = url.trim().startsWith("unix:");
  // Before anything that repeats what was given: it may hold a password.
  if (!isUnix && url.includes("@"))
    throw new Error("credentials in a URL are not supported; use --ollama.header 'Authorization: Basic ...'");
  if (name?.trim() === "") throw new Error(`"${shown(value)}" has an empty name; expected NAME=URL`);
  const target = isUnix ? unixTarget(url.trim()) : tcpTarget(url, hostAddresses);
  return name === undefined ? target : { ...target, identity: { ...target.identity, server: name.trim() } };
}

/** The addresses of this host's interfaces. */
export function localAddresses(): ReadonlySet<string> {
  try {
    return new Set(Object.values(networkInterfaces()).flatMap((list = []) => list.map(({ address }) => address)));
  } catch {
    return new Set(); // a sandbox without netlink sockets; loopback is known without it
  }
}

function parseAuthority(authority: string, fallback: number): { host: string; port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):([^:]*)$/.exec(authority);
  if (!match) return { host: authority.replace(/^\[|\]$/g, "") || "127.0.0.1", port: fallback };
  const [, bracketed, plain = "", digits = ""] = match;
  const port = /^\d{1,5}$/.test(digits) && Number(digits) <= 65_535 ? Number(digits) : fallback;
  return { host: bracketed ?? plain, port };
}

function unixTarget(url: string): ServerTarget {
  const socketPath = url.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
  if (!socketPath.startsWith("/")) throw new Error(`"${url}" names no socket; expected unix:/path/to/socket`);
  return { identity: { server: `unix:${socketPath}`, local: true }, baseUrl: "http://localhost", socketPath };
}

function tcpTarget(url: string, hostAddresses: ReadonlySet<string>): ServerTarget {
  const { scheme, host: bound, port, path } = parseOllamaHost(url);
  if (!(scheme in SCHEME_PORTS)) throw new Error(`scheme "${scheme}" is not supported; expected http, https or unix`);
  const host = connectable(bound);
  if (/[\s?#\\]/.test(host) || host.includes("%")) throw new Error(`"${shown(url)}" is no host and port`);
  if (!PATH.test(path)) throw new Error(`"${shown(url)}" has more behind its port than a path`);
  const authority = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  const baseUrl = `${scheme}://${authority}${path}`;
  if (!URL.canParse(baseUrl))
    throw new Error(`"${shown(url)}" is no host and port; expected for instance http://127.0.0.1:11434`);
  return { identity: { server: authority, host, port, local: isLocal(host, hostAddresses) }, baseUrl };
}

/** Without these characters around it. Not by a pattern: that takes the square of their number where they do not end it. */
function trimmedOf(text: string, characters: string, where: "both" | "end"): string {
  let start = 0;
  let end = text.length;
  while (where === "both" && start < end && characters.includes(text.charAt(start))) start += 1;
  while (end > start && characters.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/** An address as it may be repeated: a query can hold a key. */
function shown(url: string): string {
  return url.replace(/[?#].*$/s, "");
}

/** A server that listens on all interfaces is reached on the loopback one (envconfig: ConnectableHost). */
function connectable(host: string): string {
  if (host === "" || host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}

function isLocal(host: string, hostAddresses: ReadonlySet<string>): boolean {
  const name = host.toLowerCase();
  if (name === "localhost" || name.endsWith(".localhost") || name === "::1") return true;
  return (isIP(host) === 4 && host.startsWith("127.")) || hostAddresses.has(host);
}
