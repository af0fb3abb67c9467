/** What one client may take of the server. */
export interface HttpLimits {
  /** From the connection, or from the first byte of a later request, to the end of its headers; beyond it 408. */
  readonly headersMs: number;
  /** The whole request with its body; beyond it 408. */
  readonly requestMs: number;
  /** How often the two times above are looked at. */
  readonly checkMs: number;
  /** A TLS handshake; beyond it the connection is cut. */
  readonly handshakeMs: number;
  /** A connection without a request, between two of them. */
  readonly keepAliveMs: number;
  /** A connection on which not a byte moves, in either direction. */
  readonly idleMs: number;
  /** A client that reads an answer; slower ones are cut. */
  readonly responseMs: number;
  /** After an answer that ends the connection: how long what still comes is read away, so that the answer arrives. */
  readonly lingerMs: number;
  /** Requests under way after close(), before their connections are cut. */
  readonly drainMs: number;
  /** Request line and headers; beyond it 431. */
  readonly headerBytes: number;
  /** Headers of a request; beyond it 431. */
  readonly headerCount: number;
  /** The request target; beyond it 414. */
  readonly targetBytes: number;
  /** A body, which nothing here needs: read away up to this size; beyond it 413. */
  readonly bodyBytes: number;
  /** Requests of one connection that wait for their answers (pipelining); with more it is cut. */
  readonly pipelined: number;
  /** Connections of one listen address at a time; more are closed unanswered. */
  readonly connections: number;
}

/** The limits in force. Tests of times use shorter ones. */
export const HTTP_LIMITS: HttpLimits = Object.freeze({
  headersMs: 10_000,
  requestMs: 30_000,
  checkMs: 1_000,
  handshakeMs: 10_000,
  keepAliveMs: 65_000,
  idleMs: 120_000,
  responseMs: 60_000,
  lingerMs: 500,
  drainMs: 1_500,
  headerBytes: 16_384,
  headerCount: 100,
  targetBytes: 8_000,
  bodyBytes: 65_536,
  pipelined: 100,
  connections: 2_000,
});
