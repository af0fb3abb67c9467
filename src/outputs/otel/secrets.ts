/** What must not be repeated of what a push is sent with, and of what a receiver says about it. */

/** Shorter parts are words like `Basic` that also stand elsewhere. */
const SHORTEST_PART = 6;

/** Takes the headers' values, whole and by word, and the address' password and query out of texts. */
export class Secrets {
  readonly #texts: readonly string[];

  constructor({ headers, url }: { readonly headers: Readonly<Record<string, string>>; readonly url: string }) {
    const { username, password, search } = new URL(url);
    const whole = [...Object.values(headers), password, username, search.slice(1)];
    const parts = whole.flatMap((text) => [text, decoded(text)]).flatMap((text) => [text, ...text.split(/[\s=&,;:]+/)]);
    this.#texts = [...whole, ...parts.filter((part) => part.length >= SHORTEST_PART)]
      .filter((text) => text !== "")
      .sort((a, b) => b.length - a.length);
  }

  /** The text with `***` for each. */
  mask(text: string): string {
    return this.#texts.reduce((masked, secret) => masked.replaceAll(secret, "***"), text);
  }
}

/** The address without user, password and query. */
export function withoutSecrets(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
