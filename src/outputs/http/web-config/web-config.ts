/**
 * --web.config.file while the exporter runs: looked at for every connection and request, applied when it changed. A new file
 * that is broken or gone leaves the old settings in force, and says so once.
 */
import { readFileSync, statSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { ConfigError, messageOf, StartupError } from "../../../errors.ts";
import type { Clock } from "../../../lib/clock.ts";
import type { Logger } from "../../../logger.ts";
import { type Answer, text } from "../answer.ts";
import { BasicAuth, type Compare } from "./basic-auth.ts";
import { readWebFormat, type WebFormat } from "./format.ts";
import { RateLimit } from "./rate-limit.ts";
import { filesOf, loadTls, type TlsSettings } from "./tls.ts";

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
  let source: string;
  try {
    source = readFileSync(path, "utf8");
  } catch (error) {
    throw new StartupError(`Cannot read --web.config.file ${path}: ${messageOf(error)}`, { cause: error });
  }
  const { format, problems } = readWebFormat(source, path);
  if (!format?.tls) return problems;
  try {
    loadTls(format.tls);
    return [];
  } catch (error) {
    return [`${path}: tls_server_config: ${messageOf(error)}`];
  }
}

export class WebConfig {
  readonly #options: WebConfigOptions;
  readonly #auth: BasicAuth;
  #loaded: Loaded;
  #stamp: string;
  #problem: string | undefined;

  /** Throws ConfigError or StartupError when the file cannot be used. */
  constructor(options: WebConfigOptions) {
    this.#options = options;
    this.#auth = new BasicAuth(options.compare);
    const problems = checkWebConfig(options.path);
    if (problems.length > 0) throw new ConfigError(problems);
    this.#loaded = this.#load();
    this.#stamp = this.#stampOf(this.#loaded.format);
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
    const stamp = this.#stampOf(this.#loaded.format);
    if (stamp === this.#stamp) return;
    try {
      const next = this.#load();
      if ((next.tls === undefined) !== (this.#loaded.tls === undefined))
        throw new Error("TLS cannot be switched on or off while the exporter runs; restart it");
      this.#loaded = next;
      this.#stamp = this.#stampOf(next.format);
      if (this.#problem !== undefined) this.#options.logger.info("web configuration is good again");
      this.#problem = undefined;
    } catch (error) {
      this.#stamp = stamp;
      if (this.#problem === undefined) {
        const { path, logger } = this.#options;
        logger.warn("web configuration not taken over; the old one stays in force", {
          file: path,
          error: messageOf(error),
        });
      }
      this.#problem = messageOf(error);
    }
  }

  /** The answer of who may not pass: 429 beyond the rate limit, 401 without a user. Undefined = go on. */
  async gate(request: IncomingMessage): Promise<Answer | undefined> {
    const { limit, format } = this.#loaded;
    if (limit && !limit.allows()) return text(429, "Too Many Requests");
    if (Object.keys(format.users).length === 0) return undefined;
    if (await this.#auth.allows(request.headers.authorization, format.users)) return undefined;
    return { ...text(401, "Unauthorized"), headers: { "WWW-Authenticate": "Basic" } };
  }

  #load(): Loaded {
    const { path, clock } = this.#options;
    const { format, problems } = readWebFormat(readFileSync(path, "utf8"), path);
    if (!format) throw new Error(problems[0] ?? "not usable");
    const { tls, rateLimit } = format;
    return { format, tls: tls && loadTls(tls), limit: rateLimit && new RateLimit(rateLimit, clock) };
  }

  /** Changes whenever the file or one that it names does. */
  #stampOf({ tls }: WebFormat): string {
    return [this.#options.path, ...(tls ? filesOf(tls) : [])]
      .map((file) => {
        try {
          const { ino, size, mtimeNs } = statSync(file, { bigint: true });
          return `${ino} ${size} ${mtimeNs}`;
        } catch (error) {
          return messageOf(error); // gone, or not ours to see: that is a change too
        }
      })
      .join("\n");
  }
}
