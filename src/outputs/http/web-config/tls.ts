/** From the web configuration to Node's TLS: certificates read, client policy applied. */
import { X509Certificate } from "node:crypto";
import { isIPv6 } from "node:net";
import { createSecureContext, type SecureContextOptions, type TLSSocket } from "node:tls";
import { messageOf } from "../../../errors.ts";
import type { Pem, TlsFormat } from "./format.ts";
import { cipherList, CIPHERS, CURVES, TLS_VERSIONS } from "./names.ts";

/** Everything a TLS server needs for new connections. */
export interface TlsSettings {
  readonly context: SecureContextOptions;
  readonly requestCert: boolean;
  readonly rejectUnauthorized: boolean;
  /** Why this client may not connect; undefined when it may. Asked after the handshake. */
  readonly refuses: (socket: TLSSocket) => string | undefined;
}

/** Reads the text of a file; throws when it cannot. */
export type ReadFile = (path: string) => string;

/** Reads the files. Throws with one line that says which cannot be used. */
export function loadTls(format: TlsFormat, read: ReadFile): TlsSettings {
  const { clientAuth, minVersion, maxVersion, cipherSuites, curves } = format;
  const isOld = minVersion === "TLS10" || minVersion === "TLS11";
  const ciphers = cipherList(cipherSuites.length > 0 ? cipherSuites : Object.keys(CIPHERS));
  const cert = pem(format.cert, "certificate", read);
  const key = pem(format.key, "key", read);
  const ca = format.clientCa && pem(format.clientCa, "client CA", read);
  const context: SecureContextOptions = {
    cert,
    key,
    ...(ca !== undefined && { ca }),
    minVersion: TLS_VERSIONS[minVersion],
    maxVersion: TLS_VERSIONS[maxVersion],
    // OpenSSL's default level refuses what the two oldest versions need.
    ciphers: isOld ? `${ciphers}:@SECLEVEL=0` : ciphers,
    ...(curves.length > 0 && { ecdhCurve: curves.map((name) => CURVES[name] ?? name).join(":") }),
  };
  attempt("certificate and key cannot be used together", () => {
    new X509Certificate(cert); // an empty text would be no certificate, for which Node does not ask
    createSecureContext({ cert, key });
  });
  if (ca !== undefined) attempt("the client CA holds no usable certificate", () => new X509Certificate(ca));
  attempt("this Node.js cannot serve these versions, ciphers or curves", () => createSecureContext(context));
  return {
    context,
    requestCert: clientAuth !== "none",
    rejectUnauthorized: clientAuth === "requireAndVerify",
    refuses: (socket) => refusal(socket, format),
  };
}

function attempt(failure: string, run: () => unknown): void {
  try {
    run();
  } catch (error) {
    throw new Error(`${failure}: ${messageOf(error)}`, { cause: error });
  }
}

function refusal(socket: TLSSocket, { clientAuth, clientAllowedSans }: TlsFormat): string | undefined {
  if (clientAuth === "none") return undefined;
  const certificate = socket.getPeerX509Certificate();
  if (!certificate) {
    // With names to match, the toolkit refuses who has none, whatever the policy.
    const isNeeded = clientAuth === "require" || clientAuth === "requireAndVerify" || clientAllowedSans !== undefined;
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
  return [...entries].map(([, kind, raw = ""]) => {
    const name = raw.startsWith('"') ? String(JSON.parse(raw)) : raw;
    return kind === "IP Address" && isIPv6(name) ? new URL(`http://[${name}]`).hostname.slice(1, -1) : name; // Go's ::1
  });
}

function pem(source: Pem, what: string, read: ReadFile): string {
  if ("text" in source) return source.text;
  try {
    return read(source.file);
  } catch (error) {
    throw new Error(`cannot read the ${what} ${source.file}: ${messageOf(error)}`, { cause: error });
  }
}
