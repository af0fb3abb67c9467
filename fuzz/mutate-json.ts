/** Mutations of a JSON document that leave it JSON: bytes alone seldom get past a parser. */
import type { Random } from "./random.ts";

const VALUES: readonly unknown[] = [
  ...[null, true, false, 0, -0, -1, 1, 1.5, 1e308, -1e308, Number.MAX_SAFE_INTEGER + 1, 5e-324],
  ...[
    "",
    "x",
    "\ud800",
    "a\nb",
    "\u2028",
    "__proto__",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999+14:00",
    "1e309",
  ],
  ...[[], {}, [[]], { models: [] }],
];

/** A place in a document: what holds it, and where. */
interface Place {
  readonly holder: Record<string, unknown>;
  readonly key: string;
}

/** Undefined when the input is no JSON. */
export function mutateJson(input: Buffer, random: Random, words: readonly Buffer[]): Buffer | undefined {
  let document: unknown;
  try {
    document = JSON.parse(input.toString());
  } catch {
    return undefined;
  }
  const root = { document };
  for (let left = 1 + random.below(4); left > 0; left--) {
    const places = placesOf(root);
    if (places.length === 0) break;
    change(random.pick(places), random, { places, words });
  }
  return Buffer.from((JSON.stringify(root.document) as string | undefined) ?? "null");
}

function change(
  { holder, key }: Place,
  random: Random,
  { places, words }: { readonly places: readonly Place[]; readonly words: readonly Buffer[] },
): void {
  const value = holder[key];
  const text = () => (words.length === 0 ? "x" : random.pick(words).toString());
  switch (random.below(7)) {
    case 0:
      Reflect.deleteProperty(holder, key);
      return;
    case 1: {
      const other = random.pick(places);
      holder[key] = structuredClone(other.holder[other.key]); // a copy: it may hold this place
      return;
    }
    case 2:
      if (Array.isArray(value) && value.length > 0 && value.length < 2_000)
        holder[key] = Array.from({ length: 1 + random.below(50) }, (_, index) =>
          structuredClone(value[index % value.length] as unknown),
        );
      return;
    case 3:
      if (typeof value === "object" && value !== null) Object.assign(value, { [text()]: someValue(random) });
      else holder[key] = { [text()]: value };
      return;
    case 4:
      holder[key] = typeof value === "number" ? value * (random.below(5) - 2) : text();
      return;
    case 5:
      holder[key] = typeof value === "string" ? `${value}${String(someValue(random))}` : [value];
      return;
    default:
      holder[key] = someValue(random);
  }
}

/** A copy, so that nothing ever holds itself. */
const someValue = (random: Random): unknown => structuredClone(random.pick(VALUES));

/** Every place in it, the first few hundred. */
function placesOf(root: Record<string, unknown>): readonly Place[] {
  const places: Place[] = [];
  const queue = [root];
  for (let holder = queue.shift(); holder && places.length < 500; holder = queue.shift()) {
    for (const key of Object.keys(holder)) {
      places.push({ holder, key });
      const value = holder[key];
      if (typeof value === "object" && value !== null) queue.push(value as Record<string, unknown>);
    }
  }
  return places;
}
