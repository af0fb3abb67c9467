/** Web configuration files as they are found in the wild, good and bad. A promtool beside reads the same ones in test/real. */
import { hashSync } from "bcryptjs";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeCertificate } from "./certificates.ts";

export interface WebConfigFile {
  readonly name: string;
  readonly source: string;
  /** Absent = it can be used; else what is said about it. */
  readonly problem?: string;
  /** The toolkit says otherwise, on purpose or not: docs/web-config.md lists why. */
  readonly toolkitDiffers?: true;
}

const ca = makeCertificate("ca", { isCa: true });
const server = makeCertificate("server", { issuer: ca, ip: ["127.0.0.1"], dns: ["localhost"] });
const other = makeCertificate("other");
const encrypted = server.privateKey
  .export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" })
  .toString();
const HASH = hashSync("secret", 4);
const as = (version: string): string => HASH.replace("$2b$", `$${version}$`);
const inline = (pem: string): string => pem.trimEnd().replaceAll("\n", "\n    ");

/** Writes the certificates that the files name into a folder. */
export function writeCertificates(folder: string): void {
  mkdirSync(join(folder, "certs"), { recursive: true });
  const files = {
    "server.crt": server.cert,
    "server.key": server.key,
    "certs/tls.crt": `Certificate:\n    Data: as openssl x509 -text prints\n${server.cert}${ca.cert}`,
    "certs/tls.key": server.key.replaceAll("\n", "\r\n"),
    "ca.crt": ca.cert,
    "both.pem": server.key + server.cert,
    "other.key": other.key,
    "encrypted.key": encrypted,
    "empty.pem": "",
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
}

const TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

const good: Readonly<Record<string, string>> = {
  "a guide's first TLS": TLS,
  "a chain with openssl's text, in a folder, Windows line ends in the key":
    "tls_server_config:\n  cert_file: certs/tls.crt\n  key_file: ./certs/tls.key\n",
  "one PEM file for both": "tls_server_config:\n  cert_file: both.pem\n  key_file: both.pem\n",
  "htpasswd -nBC": `basic_auth_users:\n  prometheus: ${as("2y")}\n`,
  "python's bcrypt, in quotes": `basic_auth_users:\n  "admin": "${as("2b")}"\n`,
  "java's bcrypt, in single quotes": `basic_auth_users:\n  'scraper': '${as("2a")}'\n`,
  "an Ansible role's": `---\n#\n# Ansible managed\n#\n\n${TLS}\nhttp_server_config:\n  http2: true\n\nbasic_auth_users:\n  randomuser: ${as("2y")}\n`,
  "the operator's": `tls_server_config:\n  cert_file: certs/tls.crt\n  key_file: certs/tls.key\n  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n  prefer_server_cipher_suites: false\nhttp_server_config:\n  http2: false\n  headers:\n    Strict-Transport-Security: max-age=31536000; includeSubDomains\n`,
  "hardened mutual TLS": `${TLS}  client_ca_file: ca.crt\n  client_auth_type: "RequireAndVerifyClientCert"\n  min_version: TLS12\n  max_version: TLS13\n  cipher_suites:\n    - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n    - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\n    - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n    - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\n    - TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256\n    - TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256\n    - TLS_AES_128_GCM_SHA256\n  curve_preferences:\n    - CurveP521\n    - CurveP384\n    - CurveP256\n    - X25519\n`,
  "the old CBC ciphers": `${TLS}  min_version: TLS10\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]\n`,
  "only TLS 1.3": `${TLS}  min_version: TLS13\n`,
  "names of clients": `${TLS}  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans:\n    - prometheus.example.com\n    - 10.0.0.1\n    - "2001:db8::1"\n    - ops@example.com\n    - spiffe://cluster.local/ns/monitoring/sa/prometheus\n`,
  "the older name of a policy": `${TLS}  client_auth_type: RequireClientCert\n`,
  "an empty policy": `${TLS}  client_auth_type: ""\n`,
  "everything inline": `tls_server_config:\n  cert: |\n    ${inline(server.cert)}\n  key: |-\n    ${inline(server.key)}\n  client_ca: |\n    ${inline(ca.cert)}\n  client_auth_type: VerifyClientCertIfGiven\n`,
  "empty texts beside files": `${TLS}  cert: ""\n  key: ""\n  client_ca_file: ""\n`,
  JSON: `{"basic_auth_users": {"a": "${as("2y")}", "b": "${as("2b")}"}, "rate_limit": {"interval": "1s", "burst": 20}}`,
  "Windows line ends": `${TLS}basic_auth_users:\n  a: ${HASH}\n`.replaceAll("\n", "\r\n"),
  "a byte order mark": `\ufeffbasic_auth_users:\n  a: ${HASH}\n`,
  "the end of a document": `---\nbasic_auth_users:\n  a: ${HASH}\n...\n`,
  "one hash for two users": `basic_auth_users:\n  a: &shared ${HASH}\n  b: *shared\n`,
  "YAML 1.1's words": `${TLS}  prefer_server_cipher_suites: yes\nhttp_server_config:\n  http2: off\n`,
  "users that look like numbers": `basic_auth_users:\n  12345: ${HASH}\n  true: ${HASH}\n  1.0: ${HASH}\n`,
  "a user with a mail address": `basic_auth_users:\n  "ops@example.com": ${HASH}\n  ü: ${HASH}\n`,
  "all headers": `http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=63072000\n    X-Content-Type-Options: nosniff\n    X-Frame-Options: sameorigin\n    X-XSS-Protection: 1; mode=block\n    Content-Security-Policy: >\n      default-src 'self';\n      frame-ancestors 'none'\n`,
  "a blank header": "http_server_config:\n  headers:\n    Content-Security-Policy:\n",
  "a burst of scrapes": "rate_limit:\n  interval: 1m30s\n  burst: 5\n",
  "no limit": "rate_limit:\n  interval: 0\n  burst: 0\n",
  "half a second": 'rate_limit:\n  interval: ".5s"\n  burst: 1\n',
  "sections left empty": "tls_server_config:\nbasic_auth_users:\nhttp_server_config:\n  headers:\nrate_limit: {}\n",
  "only comments": "# tls_server_config:\n#   cert_file: server.crt\n",
  nothing: "",
  braces: "{}\n",
};

const bad: Readonly<Record<string, readonly [source: string, problem: string]>> = {
  "a password": ["basic_auth_users:\n  alice: hunter2\n", ':2: basic_auth_users: the password of "alice" is no bcrypt'],
  "htpasswd's MD5": ["basic_auth_users:\n  alice: $apr1$aaaaaaaa$aaaaaaaaaaaaaaaaaaaaa/\n", "is no bcrypt hash"],
  "htpasswd's SHA-1": ['basic_auth_users:\n  alice: "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="\n', "is no bcrypt hash"],
  "a whole line of htpasswd": [`basic_auth_users:\n  alice: "alice:${HASH}"\n`, "is no bcrypt hash"],
  "a hash that a shell has expanded": [`basic_auth_users:\n  alice: y0${HASH.slice(7)}\n`, "is no bcrypt hash"],
  "a hash cut short": [`basic_auth_users:\n  alice: ${HASH.slice(0, 50)}\n`, "is no bcrypt hash"],
  "a cost of 3": [`basic_auth_users:\n  alice: ${HASH.replace("$04$", "$03$")}\n`, "is no bcrypt hash"],
  "no hash": ["basic_auth_users:\n  alice:\n", "is no bcrypt hash"],
  "a list of users": [`basic_auth_users:\n  - alice: ${HASH}\n`, ":1: basic_auth_users: expected keys and values"],
  "a scraper's side of it": ["basic_auth:\n  username: alice\n  password: secret\n", 'unknown key "basic_auth"'],
  "a scraper's tls_config": ["tls_config:\n  ca_file: ca.crt\n", ':1: unknown key "tls_config"'],
  "a misspelt key": ["tls_server_config:\n  certfile: server.crt\n", ':2: unknown key "certfile" in tls_server_config'],
  "users indented too far": [`${TLS}  basic_auth_users:\n    alice: ${HASH}\n`, ':4: unknown key "basic_auth_users"'],
  tabs: [`basic_auth_users:\n\talice: ${HASH}\n`, ":2: "],
  "a user twice": [`basic_auth_users:\n  alice: ${HASH}\n  alice: ${HASH}\n`, ":3: "],
  "a colon too many": ["tls_server_config: cert_file: a\n", ":1: "],
  "only a word": ["junk\n", "expected keys and values"],
  "a list": ["- tls_server_config\n", "expected keys and values"],
  "a key without a certificate": ["tls_server_config:\n  key_file: server.key\n", "missing one of cert or cert_file"],
  "a certificate without a key": ["tls_server_config:\n  cert_file: server.crt\n", "missing one of key or key_file"],
  "a policy without either": [
    "tls_server_config:\n  client_auth_type: NoClientCert\n  key_file: server.key\n",
    "missing one of cert",
  ],
  "a certificate that is not there": [TLS.replace("server.crt", "gone.crt"), "cannot read the certificate"],
  "a key that is not there": [TLS.replace("server.key", "gone.key"), "cannot read the key"],
  "another's key": [TLS.replace("server.key", "other.key"), "certificate and key cannot be used together"],
  "a key with a passphrase": [
    TLS.replace("server.key", "encrypted.key"),
    "certificate and key cannot be used together",
  ],
  "an empty certificate": [TLS.replace("server.crt", "empty.pem"), "certificate and key cannot be used together"],
  "a client CA without a policy": [`${TLS}  client_ca_file: ca.crt\n`, "a client CA needs a client_auth_type"],
  "a client CA that is not there": [
    `${TLS}  client_ca_file: gone.crt\n  client_auth_type: RequireAndVerifyClientCert\n`,
    "cannot read the client CA",
  ],
  "a made-up policy": [
    `${TLS}  client_auth_type: Required\n`,
    ':4: tls_server_config.client_auth_type: unknown "Required"',
  ],
  "a cipher that Go counts as insecure": [
    `${TLS}  cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]\n`,
    "cipher_suites: unknown",
  ],
  "a cipher's OpenSSL name": [`${TLS}  cipher_suites: [ECDHE-RSA-AES128-GCM-SHA256]\n`, "cipher_suites: unknown"],
  "ciphers in one text": [
    `${TLS}  cipher_suites: "TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384"\n`,
    "expected a list",
  ],
  "a curve's OpenSSL name": [`${TLS}  curve_preferences: [prime256v1]\n`, "curve_preferences: unknown"],
  "a version as OpenSSL writes it": [`${TLS}  min_version: TLSv1.2\n`, 'min_version: unknown "TLSv1.2"'],
  "a version as a number": [`${TLS}  min_version: 1.2\n`, 'min_version: unknown "1.2"'],
  "an empty version": [`${TLS}  min_version: ""\n`, 'min_version: unknown ""'],
  "a header of the server": ["http_server_config:\n  headers:\n    Server: x\n", ':3: HTTP header "Server" can not'],
  "a header in small letters": [
    "http_server_config:\n  headers:\n    x-frame-options: deny\n",
    "can not be configured",
  ],
  "a header's value in capitals": [
    "http_server_config:\n  headers:\n    X-Frame-Options: DENY\n",
    "expected deny or same",
  ],
  "a blank X-Frame-Options": ["http_server_config:\n  headers:\n    X-Frame-Options:\n", "expected deny or sameorigin"],
  "a limit without a unit": ['rate_limit:\n  interval: "10"\n', "expected a duration"],
  "a burst as a text": ['rate_limit:\n  interval: 1s\n  burst: "5"\n', "expected a whole number"],
  "http2 in quotes": ['http_server_config:\n  http2: "true"\n', "expected true or false"],
};

/** Good for the toolkit only; each is a row of docs/web-config.md. */
const refusedHereOnly: Readonly<Record<string, readonly [source: string, problem: string]>> = {
  "a client CA without a certificate": [
    `${TLS}  client_ca_file: empty.pem\n  client_auth_type: RequireAndVerifyClientCert\n`,
    "the client CA holds no usable certificate",
  ],
  "a lowest version above the highest": [
    `${TLS}  min_version: TLS13\n  max_version: TLS12\n`,
    "min_version is above max_version",
  ],
  "a control character in a header": [
    'http_server_config:\n  headers:\n    X-XSS-Protection: "1\\r\\nSet-Cookie: a"\n',
    "no control characters",
  ],
  "a negative interval": ["rate_limit:\n  interval: -1s\n  burst: 1\n", "expected a duration"],
  "bcrypt of a broken version": [`basic_auth_users:\n  alice: ${as("2x")}\n`, "is no bcrypt hash"],
  "two documents": ["---\n{}\n---\n{}\n", "multiple documents"],
};

export const WEB_CONFIG_FILES: readonly WebConfigFile[] = [
  ...Object.entries(good).map(([name, source]) => ({ name, source })),
  { name: "Go's hybrid curve", source: `${TLS}  curve_preferences: [X25519MLKEM768, X25519]\n`, toolkitDiffers: true },
  ...Object.entries(bad).map(([name, [source, problem]]) => ({ name, source, problem })),
  ...Object.entries(refusedHereOnly).map(([name, [source, problem]]) => ({
    name,
    source,
    problem,
    toolkitDiffers: true as const,
  })),
];
