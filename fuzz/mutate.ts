/** New inputs from known ones: bytes changed, taken out, repeated, and mixed with others and with words of the sources. */
import type { Random } from "./random.ts";

/** What mutations draw from. */
export interface Material {
  readonly random: Random;
  readonly words: readonly Buffer[];
  /** Other inputs, for splicing. */
  readonly others: readonly Buffer[];
  readonly maxBytes: number;
}

type Mutation = (input: Buffer, material: Material) => Buffer;

const NUMBERS = [
  "0",
  "-1",
  "1",
  "255",
  "65535",
  "65536",
  "4294967296",
  "9007199254740993",
  "1e308",
  "1e309",
  "0x50",
  ".5",
  "NaN",
];
const CHARACTERS = [
  "\0",
  "\n",
  "\r\n",
  "\t",
  "\x1b[31m",
  "\x7f",
  "\u0085",
  "\u2028",
  "\u2029",
  "\u202e",
  '"',
  "\\",
  "'",
  "\ufeff",
  "π",
  "😀",
  " ",
];

/** Two places in it, in order. */
function range(input: Buffer, { random }: Material): readonly [number, number] {
  const start = random.below(input.length + 1);
  const length = random.oneIn(4)
    ? random.below(input.length - start + 1)
    : random.below(Math.min(9, input.length - start + 1));
  return [start, start + length];
}

const replaced = (input: Buffer, [start, end]: readonly [number, number], middle: Buffer): Buffer =>
  Buffer.concat([input.subarray(0, start), middle, input.subarray(end)]);

const MUTATIONS: readonly Mutation[] = [
  (input, { random }) => {
    const copy = Buffer.from(input);
    const at = random.below(copy.length);
    if (copy.length > 0) copy.writeUInt8((copy[at] ?? 0) ^ (1 << random.below(8)), at);
    return copy;
  },
  (input, { random }) => {
    const copy = Buffer.from(input);
    if (copy.length > 0) copy.writeUInt8(random.below(256), random.below(copy.length));
    return copy;
  },
  (input, material) => replaced(input, range(input, material), Buffer.alloc(0)),
  (input, material) => {
    const [start, end] = range(input, material);
    return replaced(input, [end, end], input.subarray(start, end));
  },
  (input, material) => {
    const [start] = range(input, material);
    return replaced(input, [start, start], word(material));
  },
  (input, material) => replaced(input, range(input, material), word(material)),
  (input, material) => replaced(input, range(input, material), Buffer.from(material.random.pick(CHARACTERS))),
  (input, material) => replaced(input, range(input, material), Buffer.from(material.random.pick(NUMBERS))),
  changeNumber,
  splice,
  repeat,
];

/** One to eight mutations on top of each other, cut to the limit. */
export function mutate(input: Buffer, material: Material): Buffer {
  let mutated = input;
  for (let left = 1 + material.random.below(material.random.below(8) + 1); left > 0; left--) {
    mutated = material.random.pick(MUTATIONS)(mutated, material).subarray(0, material.maxBytes);
  }
  return mutated;
}

function word({ random, words }: Material): Buffer {
  return words.length === 0 ? Buffer.from([random.below(256)]) : random.pick(words);
}

/** One of the numbers that stand in it becomes another. */
function changeNumber(input: Buffer, { random }: Material): Buffer {
  const text = input.toString("latin1");
  const numbers = [...text.matchAll(/\d+/g)];
  if (numbers.length === 0) return input;
  const { index, 0: digits } = random.pick(numbers);
  const next = random.oneIn(2) ? random.pick(NUMBERS) : String(Number(digits) + random.below(5) - 2);
  return replaced(input, [index, index + digits.length], Buffer.from(next));
}

/** The beginning of this one and the end of another. */
function splice(input: Buffer, { random, others }: Material): Buffer {
  if (others.length === 0) return input;
  const other = random.pick(others);
  return Buffer.concat([
    input.subarray(0, random.below(input.length + 1)),
    other.subarray(random.below(other.length + 1)),
  ]);
}

/** A piece of it many times over: what takes too long for its length shows here. */
function repeat(input: Buffer, material: Material): Buffer {
  const { random, maxBytes } = material;
  if (!random.oneIn(8)) return input;
  const [start, end] = range(input, material);
  const piece = input.subarray(start, Math.max(end, start + 1));
  if (piece.length === 0) return input;
  const times = 2 ** (1 + random.below(16));
  return replaced(input, [start, end], Buffer.alloc(Math.min(piece.length * times, maxBytes), piece));
}
