/** Names of Go's crypto/tls, as web configuration files use them, and what OpenSSL calls the same. */

/**
 * crypto/tls.CipherSuites(), all of it since Go 1.22; the insecure ones are not configurable there either. In the order in
 * which Go prefers them: it takes no order from a configuration.
 */
export const CIPHERS: Readonly<Record<string, string>> = {
  TLS_AES_128_GCM_SHA256: "TLS_AES_128_GCM_SHA256",
  TLS_AES_256_GCM_SHA384: "TLS_AES_256_GCM_SHA384",
  TLS_CHACHA20_POLY1305_SHA256: "TLS_CHACHA20_POLY1305_SHA256",
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ECDHE-ECDSA-AES128-GCM-SHA256",
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "ECDHE-RSA-AES128-GCM-SHA256",
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: "ECDHE-ECDSA-AES256-GCM-SHA384",
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: "ECDHE-RSA-AES256-GCM-SHA384",
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-RSA-CHACHA20-POLY1305",
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: "ECDHE-ECDSA-AES128-SHA",
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: "ECDHE-RSA-AES128-SHA",
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: "ECDHE-ECDSA-AES256-SHA",
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: "ECDHE-RSA-AES256-SHA",
};

/** The toolkit's four, and Go's hybrid one. */
export const CURVES: Readonly<Record<string, string>> = {
  CurveP256: "P-256",
  CurveP384: "P-384",
  CurveP521: "P-521",
  X25519: "X25519",
  X25519MLKEM768: "X25519MLKEM768",
};

export const TLS_VERSIONS = { TLS10: "TLSv1", TLS11: "TLSv1.1", TLS12: "TLSv1.2", TLS13: "TLSv1.3" } as const;

/** Go's policies; the second name of one is older. */
export const CLIENT_AUTH_TYPES = {
  NoClientCert: "none",
  RequestClientCert: "request",
  RequireAnyClientCert: "require",
  RequireClientCert: "require",
  VerifyClientCertIfGiven: "verifyIfGiven",
  RequireAndVerifyClientCert: "requireAndVerify",
} as const;
export type ClientAuth = (typeof CLIENT_AUTH_TYPES)[keyof typeof CLIENT_AUTH_TYPES];

/** OpenSSL's list for Go's names, in Go's order. TLS 1.3 has its own suites, which such a list does not limit, as in Go. */
export function cipherList(names: readonly string[]): string {
  return Object.entries(CIPHERS)
    .filter(([name]) => names.includes(name) || !name.includes("_WITH_"))
    .map(([, openSslName]) => openSslName)
    .join(":");
}
