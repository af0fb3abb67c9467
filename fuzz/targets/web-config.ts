/** --web.config.file, as its text. */
import { readWebFormat } from "../../src/outputs/http/web-config/format.ts";
import { texts } from "../captures.ts";
import { must, mustBeText, mustCount, type Target } from "../target.ts";

const HASH = "$2b$10$jTRWgbhk/SXcngaDehRhfuCh2rhCfNwtauHA5YuPv22NI0vmiFJri";

export const target: Target = {
  seeds: () =>
    texts(
      "",
      `basic_auth_users:\n  prometheus: ${HASH}\n  'a b': "${HASH}"\n`,
      "tls_server_config:\n  cert_file: server.crt\n  key_file: /etc/server.key\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: [a, b]\n  min_version: TLS12\n  max_version: TLS13\n  cipher_suites:\n  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n  curve_preferences: [X25519]\n  prefer_server_cipher_suites: true\n",
      "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n",
      "rate_limit:\n  interval: 1m30s\n  burst: 5\n",
      "tls_server_config: &a\n  cert: |\n    -----BEGIN CERTIFICATE-----\n  key: *a\n",
      '{"rate_limit": {"interval": 1000000000, "burst": 1}}',
    ),
  words: [HASH, "&a ", "*a", "<<: *a", "!!binary ", "? ", "- ", "|\n  ", "---\n", "%YAML 1.1\n", "[", "{", "\t"],
  maxBytes: 2048,
  slowMs: 500, // of whoever starts the exporter, and read once
  check: (input) => {
    const { format, problems } = readWebFormat(input.toString(), "web.yml");
    must((format === undefined) === problems.length > 0, "neither a format nor a problem");
    for (const problem of problems) must(/^web\.yml(?::\d+)?: ./.test(problem), `no place: ${problem}`);
    for (const problem of problems) must(!/[\n\r]/.test(problem), "a problem of two lines");
    if (!format) return;
    for (const [name, value] of Object.entries(format.headers)) {
      must(/^[\w-]+$/.test(name), "no header's name");
      must(/^[\t\x20-\x7e\x80-\xff]*$/.test(value), "a header that Node refuses");
    }
    for (const [user, hash] of Object.entries(format.users)) {
      mustBeText(user, "a user");
      must(hash.length === 60 && hash.startsWith("$2"), "no bcrypt hash");
    }
    mustCount(format.rateLimit?.intervalMs, "the interval");
    mustCount(format.rateLimit?.burst, "the burst");
    if (!format.tls) return;
    must(["none", "request", "require", "verifyIfGiven", "requireAndVerify"].includes(format.tls.clientAuth), "policy");
    must(/^TLS1[0-3]$/.test(format.tls.minVersion) && /^TLS1[0-3]$/.test(format.tls.maxVersion), "version");
  },
};
