/**
 * --web.config.file while the exporter runs: looked at for every connection and request, applied when it changed. A new file
 * that is broken or gone leaves the old settings in force, and says so once.
 */
import type { IncomingMessage } from "node:http";
import { ConfigError, messageOf, StartupError } from "../../../errors.ts";
import type { Clock } from "../../../lib/clock.ts";
import type { Logger } from "../../../logger.ts";
import { type Answer, text } from "../answer.ts";
import { BasicAuth } from "./basic-auth.ts";
import type { Compare } from "./bcrypt-thread.ts";
import { readWebFormat, type WebFormat } from "./format.ts";
import { RateLimit } from "./rate-limit.ts";
import { RememberedFiles } from "./remembered-files.ts";
import { loadTls, type ReadFile, type TlsSettings } from "./tls.ts";

export interface WebConfigOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: bcrypt in a thread of its own. */
  readonly compare?: Compare;
}

interface Loaded {
  readonly format: WebFormat;
  readonly tls: TlsSettings | undefined;
  readonly limit: RateLimit | undefined;
}

/** Problems of a file, all of them; empty when it can be used. Throws StartupError when it cannot be read. */
export function checkWebConfig(path: string): readonly string[] {
  const files = new RememberedFiles(() => 0);
  let source: string;
  try {
    source = files.read(path);
  } catch (error) {
    throw new StartupError(`Cannot read --web.config.file ${path}: ${messageOf(error)}`, { cause: error });
  }
  const { format, problems } = readWebFormat(source, path);
  if (!format) return problems;
  try {
    tlsOf(format, path, (file) => files.read(file));
    return [];
  } catch (error) {
    return [messageOf(error)];
  }
}

export class WebConfig {
  readonly #options: WebConfigOptions;
  readonly #auth: BasicAuth;
  #loaded: Loaded;
  /** What was last read, whether it could be used or not. */
  #files: RememberedFiles;
  #isBroken = false;

  /** Throws ConfigError or StartupError when the file cannot be used. */
  constructor(options: WebConfigOptions) {
    this.#options = options;
    this.#auth = new BasicAuth(options.compare);
    const problems = checkWebConfig(options.path);
    if (problems.length > 0) throw new ConfigError(problems);
    this.#files = this.#newFiles();
    this.#loaded = this.#load();
  }

  /** TLS for new connections; undefined = plain HTTP. */
  get tls(): TlsSettings | undefined {
    return this.#loaded.tls;
  }

  /** Headers of every answer. */
  get headers(): Readonly<Record<string, string>> {
    return this.#loaded.format.headers;
  }

  /** Takes over a changed file. Cheap when nothing changed. */
  refresh(): void {
    if (!this.#files.haveChanged()) return;
    const { path, logger } = this.#options;
    const before = this.#loaded;
    this.#files = this.#newFiles();
    try {
      const next = this.#load(before);
      if ((next.tls === undefined) !== (before.tls === undefined))
        throw new Error(`${path}: TLS cannot be switched on or off while the exporter runs; restart it`);
      this.#loaded = next;
      logger.info(this.#isBroken ? "web configuration is good again" : "web configuration taken over", { file: path });
      this.#isBroken = false;
    } catch (error) {
      const kept = "web configuration not taken over; the old one stays in force";
      if (!this.#isBroken) logger.warn(kept, { file: path, error: messageOf(error) });
      this.#isBroken = true;
    }
  }

  /** The answer of who may not pass: 429 beyond the rate limit, 401 without a user. Undefined = go on. */
  async gate(request: IncomingMessage): Promise<Answer | undefined> {
    const { limit, format } = this.#loaded;
    if (limit && !limit.allows()) return text(429, "Too Many Requests");
    if (Object.keys(format.users).length === 0) return undefined;
    switch (await this.#auth.verdict(request.headers.authorization, format.users)) {
      case "right":
        return undefined;
      case "wrong":
        return { ...text(401, "Unauthorized"), headers: { "WWW-Authenticate": "Basic" } };
      case "busy":
        return { ...text(503, "too many passwords are waiting to be compared"), headers: { "Retry-After": "10" } };
    }
  }

  #newFiles(): RememberedFiles {
    return new RememberedFiles(() => this.#options.clock.now());
  }

  /** Throws with the first problem. A rate limit that has not changed goes on counting. */
  #load(before?: Loaded): Loaded {
    const { path, clock } = this.#options;
    const { format, problems } = readWebFormat(this.#files.read(path), path);
    if (!format) throw new Error(problems[0] ?? "not usable");
    const tls = tlsOf(format, path, (file) => this.#files.read(file));
    const { rateLimit } = format;
    const isSame =
      rateLimit?.intervalMs === before?.format.rateLimit?.intervalMs &&
      rateLimit?.burst === before?.format.rateLimit?.burst;
    return { format, tls, limit: isSame ? before?.limit : rateLimit && new RateLimit(rateLimit, clock) };
  }
}

function tlsOf({ tls }: WebFormat, path: string, read: ReadFile): TlsSettings | undefined {
  try {
    return tls && loadTls(tls, read);
  } catch (error) {
    throw new Error(`${path}: tls_server_config: ${messageOf(error)}`, { cause: error });
  }
}
