/** Makes Chromium's PNGs a third as large: at most 256 colours instead of millions. */
import { crc32, deflateSync, inflateSync } from "node:zlib";

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const RGB = 3;
const MOST_COLORS = 256;
/** How far apart colours are, at least, in each round of choosing. */
const APART = [60, 30, 15, 0];

/** Width, height, and red, green, blue of each pixel. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly rgb: Buffer;
}

/** Reads what Chromium writes: eight bits, RGB without alpha, not interlaced. Throws on anything else. */
export function decodePng(png: Buffer): Pixels {
  const chunks = [];
  for (let at = SIGNATURE.length; at < png.length; at += 12 + png.readUInt32BE(at))
    chunks.push({
      type: png.toString("latin1", at + 4, at + 8),
      data: png.subarray(at + 8, at + 8 + png.readUInt32BE(at)),
    });
  const head = chunks.find(({ type }) => type === "IHDR")?.data;
  if (!head?.subarray(8).equals(Buffer.from([8, 2, 0, 0, 0]))) throw new Error("not an RGB picture of 8 bits");
  const [width, height] = [head.readUInt32BE(0), head.readUInt32BE(4)];
  const lines = inflateSync(Buffer.concat(chunks.filter(({ type }) => type === "IDAT").map(({ data }) => data)));
  const rgb = Buffer.alloc(width * height * RGB);
  for (let row = 0; row < height; row += 1) unfilter(lines, rgb, { row, length: width * RGB });
  return { width, height, rgb };
}

/** PNG's five line filters: each byte is told as the difference from one foretold by its neighbours. */
function unfilter(
  lines: Buffer,
  out: Buffer,
  { row, length }: { readonly row: number; readonly length: number },
): void {
  const from = row * (length + 1);
  const to = row * length;
  for (let index = 0; index < length; index += 1) {
    const left = index >= RGB ? (out[to + index - RGB] ?? 0) : 0;
    const up = row > 0 ? (out[to + index - length] ?? 0) : 0;
    const corner = row > 0 && index >= RGB ? (out[to + index - length - RGB] ?? 0) : 0;
    const foretold = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][lines[from] ?? 0] ?? 0;
    out[to + index] = (lines[from + 1 + index] ?? 0) + foretold;
  }
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [toLeft, toUp, toCorner] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** With a palette; colours that are not in it become the nearest. */
export function encodePng({ width, height, rgb }: Pixels): Buffer {
  const counts = new Map<number, number>();
  for (let at = 0; at < rgb.length; at += RGB) {
    const color = rgb.readUIntBE(at, RGB);
    counts.set(color, (counts.get(color) ?? 0) + 1);
  }
  const palette = paletteOf(counts);
  const places = new Map([...counts.keys()].map((color) => [color, nearest(color, palette)]));
  const lines = Buffer.alloc(height * (width + 1));
  for (let pixel = 0; pixel < width * height; pixel += 1)
    lines[pixel + Math.floor(pixel / width) + 1] = places.get(rgb.readUIntBE(pixel * RGB, RGB)) ?? 0;
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8);
  const colors = Buffer.alloc(palette.length * RGB);
  for (const [index, color] of palette.entries()) colors.writeUIntBE(color, index * RGB, RGB);
  const data = deflateSync(lines, { level: 9 });
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", head),
    chunk("PLTE", colors),
    chunk("IDAT", data),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** Half for the most frequent colours, half for those far from them: a rare red word must not become orange. */
function paletteOf(counts: ReadonlyMap<number, number>): readonly number[] {
  const byFrequency = [...counts].sort(([, a], [, b]) => b - a).map(([color]) => color);
  const palette = byFrequency.slice(0, MOST_COLORS / 2);
  for (const apart of APART)
    for (const color of byFrequency) {
      if (palette.length === MOST_COLORS) return palette;
      if (palette.every((other) => distance(color, other) > apart ** 2)) palette.push(color);
    }
  return palette;
}

/** Squared, in red, green and blue. */
const distance = (a: number, b: number): number =>
  [16, 8, 0].reduce((sum, shift) => sum + (((a >> shift) & 255) - ((b >> shift) & 255)) ** 2, 0);

function nearest(color: number, palette: readonly number[]): number {
  let [best, least] = [0, Infinity];
  for (const [index, other] of palette.entries()) {
    const far = distance(color, other);
    if (far < least) [best, least] = [index, far];
  }
  return best;
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}
