/** From the web configuration to Node's TLS: certificates read, client policy applied. */
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContextOptions, type TLSSocket } from "node:tls";
import { messageOf } from "../../../errors.ts";
import type { Pem, TlsFormat } from "./format.ts";
import { cipherList, CURVES, TLS_VERSIONS } from "./names.ts";

/** Everything a TLS server needs for new connections. */
export interface TlsSettings {
  readonly context: SecureContextOptions;
  readonly requestCert: boolean;
  readonly rejectUnauthorized: boolean;
  /** Why this client may not connect; undefined when it may. Asked after the handshake. */
  readonly refuses: (socket: TLSSocket) => string | undefined;
}

/** Reads the files. Throws with one line that says which cannot be used. */
export function loadTls(format: TlsFormat): TlsSettings {
  const { clientAuth, minVersion, maxVersion, cipherSuites, curves } = format;
  const isOld = minVersion === "TLS10" || minVersion === "TLS11";
  const ciphers = cipherSuites.length > 0 ? cipherList(cipherSuites) : isOld ? "DEFAULT" : undefined;
  const context: SecureContextOptions = {
    cert: pem(format.cert, "certificate"),
    key: pem(format.key, "key"),
    ...(format.clientCa && { ca: pem(format.clientCa, "client CA") }),
    minVersion: TLS_VERSIONS[minVersion],
    maxVersion: TLS_VERSIONS[maxVersion],
    // OpenSSL's default level refuses what the two oldest versions need.
    ...(ciphers !== undefined && { ciphers: isOld ? `${ciphers}:@SECLEVEL=0` : ciphers }),
    ...(curves.length > 0 && { ecdhCurve: curves.map((name) => CURVES[name] ?? name).join(":") }),
  };
  try {
    createSecureContext(context);
  } catch (error) {
    throw new Error(`certificate and key cannot be used together: ${messageOf(error)}`, { cause: error });
  }
  return {
    context,
    requestCert: clientAuth !== "none",
    rejectUnauthorized: clientAuth === "requireAndVerify",
    refuses: (socket) => refusal(socket, format),
  };
}

function refusal(socket: TLSSocket, { clientAuth, clientAllowedSans }: TlsFormat): string | undefined {
  if (clientAuth === "none") return undefined;
  const certificate = socket.getPeerX509Certificate();
  if (!certificate) {
    const isNeeded = clientAuth === "require" || clientAuth === "requireAndVerify";
    return isNeeded ? "no client certificate" : undefined;
  }
  if (clientAuth === "verifyIfGiven" && !socket.authorized) return "the client certificate is not of the client CA";
  if (!clientAllowedSans) return undefined;
  const names = alternativeNames(certificate.subjectAltName ?? "");
  return names.some((name) => clientAllowedSans.includes(name))
    ? undefined
    : "no allowed name in the client certificate";
}

/** `DNS:a, IP Address:127.0.0.1, email:x@y, URI:https://z`; Node quotes names that could be mistaken. */
export function alternativeNames(text: string): readonly string[] {
  const entries = text.matchAll(/(?:^|, )(DNS|IP Address|email|URI):("(?:[^"\\]|\\.)*"|[^,]*)/g);
  return [...entries].map(([, , raw = ""]) => (raw.startsWith('"') ? String(JSON.parse(raw)) : raw));
}

function pem(source: Pem, what: string): string {
  if ("text" in source) return source.text;
  try {
    return readFileSync(source.file, "utf8");
  } catch (error) {
    throw new Error(`cannot read the ${what} ${source.file}: ${messageOf(error)}`, { cause: error });
  }
}

/** Files that a configuration names. */
export function filesOf({ cert, key, clientCa }: TlsFormat): readonly string[] {
  return [cert, key, clientCa].flatMap((source) => (source && "file" in source ? [source.file] : []));
}
