/** Basic authentication (RFC 7617) against bcrypt hashes: unknown users cost the same work, results are kept. */
import { createHmac, randomBytes } from "node:crypto";
import { type Compare, compareInThread } from "./bcrypt-thread.ts";

/** `busy`: so many passwords are waiting that this one was not looked at. */
export type Verdict = "right" | "wrong" | "busy";

/** Results kept, of right and of wrong passwords each. */
const KEPT_RESULTS = 100;
/** Comparisons that may wait; a flood of wrong passwords must not fill the memory. */
const MOST_WAITING = 100;

export class BasicAuth {
  readonly #compare: Compare;
  readonly #secret = randomBytes(32);
  readonly #pending = new Map<string, Promise<boolean>>();
  /** Apart, so that no flood of wrong passwords pushes out the right one. */
  readonly #kept = { right: new Set<string>(), wrong: new Set<string>() };

  constructor(compare: Compare = compareInThread()) {
    this.#compare = compare;
  }

  /** Whether the header names one of the users (hash by name) with the right password. */
  async verdict(header: string | undefined, users: Readonly<Record<string, string>>): Promise<Verdict> {
    const credentials = credentialsOf(header);
    if (!credentials) return "wrong";
    const { user, password } = credentials;
    const isKnown = Object.hasOwn(users, user);
    const hash = isKnown ? users[user] : this.#somebodysHash(user, users);
    if (hash === undefined) return "wrong";
    const key = this.#digest(JSON.stringify([user, hash, password])).toString("base64"); // no password is kept
    if (this.#kept.wrong.has(key)) return "wrong";
    if (!this.#kept.right.has(key)) {
      if (!this.#pending.has(key) && this.#pending.size >= MOST_WAITING) return "busy";
      if (!(await this.#matches(key, password, hash))) return "wrong";
    }
    return isKnown ? "right" : "wrong";
  }

  /** Compares; whoever asks the same at the same time waits for the same answer. */
  #matches(key: string, password: string, hash: string): Promise<boolean> {
    const known = this.#pending.get(key);
    if (known) return known;
    const result = this.#compare(password, hash)
      .then((matches) => {
        keep(key, matches ? this.#kept.right : this.#kept.wrong);
        return matches;
      })
      .finally(() => this.#pending.delete(key));
    this.#pending.set(key, result);
    return result;
  }

  /** An unknown user is compared with a known one's hash, always the same, so that the time tells nothing whatever their costs. */
  #somebodysHash(user: string, users: Readonly<Record<string, string>>): string | undefined {
    const hashes = Object.values(users);
    return hashes[this.#digest(user).readUInt32BE() % hashes.length];
  }

  #digest(text: string): Buffer {
    return createHmac("sha256", this.#secret).update(text).digest();
  }
}

function keep(key: string, among: Set<string>): void {
  among.add(key);
  for (const oldest of among) {
    if (among.size <= KEPT_RESULTS) break;
    among.delete(oldest);
  }
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** As Go's Request.BasicAuth reads it: one space, padded base64. */
function credentialsOf(header = ""): { readonly user: string; readonly password: string } | undefined {
  const encoded = /^basic ((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/i.exec(header)?.[1];
  if (encoded === undefined) return undefined;
  try {
    const text = UTF8.decode(Buffer.from(encoded, "base64"));
    const colon = text.indexOf(":");
    return colon === -1 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
  } catch {
    return undefined; // not UTF-8: no hash in a text file is of such a password
  }
}
