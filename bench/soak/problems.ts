/** What went wrong, by kind: counted, with the first of each in words. */
export class Problems {
  readonly #kinds = new Map<string, { count: number; readonly examples: string[] }>();
  readonly #startedAtMs = Date.now();

  add(kind: string, what: string): void {
    const known = this.#kinds.get(kind) ?? { count: 0, examples: [] };
    this.#kinds.set(kind, known);
    known.count += 1;
    const seconds = ((Date.now() - this.#startedAtMs) / 1000).toFixed(1);
    if (known.examples.length >= 5) return;
    known.examples.push(`at ${seconds} s: ${what}`);
    console.log(`PROBLEM ${kind} at ${seconds} s: ${what.slice(0, 600)}`);
  }

  get count(): number {
    return [...this.#kinds.values()].reduce((sum, { count }) => sum + count, 0);
  }

  lines(): readonly string[] {
    return [...this.#kinds].flatMap(([kind, { count, examples }]) => [
      `FAILED ${kind}: ${count}`,
      ...examples.map((example) => `  ${example}`),
    ]);
  }
}
