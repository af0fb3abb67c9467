/** Basic authentication (RFC 7617) against bcrypt hashes: unknown users cost the same work, results are kept. */
import { createHash } from "node:crypto";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";

/** Compares one password; asynchronous, so that nobody waits for somebody else's. */
export type Compare = (password: string, hash: string) => Promise<boolean>;

/** Of no user: compared where the user is unknown, so that the time tells nothing. */
const NOBODY = "$2b$10$jTRWgbhk/SXcngaDehRhfuCh2rhCfNwtauHA5YuPv22NI0vmiFJri";
const KEPT_RESULTS = 100;
/** Comparisons that may wait; a flood of wrong passwords must not fill the memory. */
const MOST_WAITING = 100;

export class BasicAuth {
  readonly #compare: Compare;
  /** By a digest of user, hash and password: no password is kept. */
  readonly #results = new Map<string, Promise<boolean>>();
  #waiting = 0;

  constructor(compare: Compare = compareInThread()) {
    this.#compare = compare;
  }

  /** Whether the header names one of the users with the right password. */
  async allows(header: string | undefined, users: Readonly<Record<string, string>>): Promise<boolean> {
    const credentials = credentialsOf(header);
    if (!credentials) return false;
    const { user, password } = credentials;
    const known = Object.hasOwn(users, user) ? users[user] : undefined;
    const matches = await this.#matches(user, password, known ?? NOBODY);
    return matches && known !== undefined;
  }

  #matches(user: string, password: string, hash: string): Promise<boolean> {
    const key = createHash("sha256")
      .update(JSON.stringify([user, hash, password]))
      .digest("base64");
    const known = this.#results.get(key);
    if (known) return known;
    if (this.#waiting >= MOST_WAITING) return Promise.resolve(false);
    this.#waiting += 1;
    const result = this.#compare(password, hash).finally(() => {
      this.#waiting -= 1;
    });
    result.catch(() => this.#results.delete(key));
    this.#results.set(key, result);
    for (const oldest of this.#results.keys()) {
      if (this.#results.size <= KEPT_RESULTS) break;
      this.#results.delete(oldest);
    }
    return result;
  }
}

function credentialsOf(header = ""): { readonly user: string; readonly password: string } | undefined {
  const encoded = /^basic ([A-Za-z0-9+/=]+)$/i.exec(header.trim())?.[1];
  const text = encoded === undefined ? "" : Buffer.from(encoded, "base64").toString();
  const colon = text.indexOf(":");
  return colon === -1 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** A thread that is started with the first password and does not keep the process alive. */
function compareInThread(): Compare {
  const waiting = new Map<number, PromiseWithResolvers<boolean>>();
  let lastId = 0;
  let worker: Worker | undefined;
  const start = (): Worker => {
    const started = new Worker(new URL(`./bcrypt-worker${extname(import.meta.url)}`, import.meta.url));
    started.on("message", ({ id, matches }: { id: number; matches: boolean }) => {
      waiting.get(id)?.resolve(matches);
      waiting.delete(id);
    });
    started.on("error", (error) => {
      for (const { reject } of waiting.values()) reject(error);
      waiting.clear();
      worker = undefined;
    });
    started.unref(); // after its listeners, which would hold the process again
    return started;
  };
  return (password, hash) => {
    const answer = Promise.withResolvers<boolean>();
    const id = ++lastId;
    waiting.set(id, answer);
    worker ??= start();
    worker.postMessage({ id, password, hash });
    return answer.promise;
  };
}
