/** Units of memory sizes as the original class names them; 1024 based. */

/** Bytes per unit. */
const BYTES = {
  b: 1 / 8,
  bit: 1 / 8,
  B: 1,
  Byte: 1,
  KB: 1024,
  MB: 1024 ** 2,
  GB: 1024 ** 3,
  TB: 1024 ** 4,
} as const;

/** b and bit are bits; B and Byte are bytes; KB to TB are powers of 1024 bytes. */
export type ByteUnit = keyof typeof BYTES;

export const BYTE_UNITS: readonly string[] = Object.keys(BYTES);

/** Whether a text is the name of a unit. */
export const isByteUnit = (text: string): text is ByteUnit => Object.hasOwn(BYTES, text);

/**
 * Converts a size; null and undefined count as 0.
 * Throws TypeError for what is no number and RangeError for an unknown unit.
 */
export function convertByteUnit(value: number | null | undefined, sourceUnit: ByteUnit, targetUnit: ByteUnit): number {
  const source = bytesIn(sourceUnit);
  const target = bytesIn(targetUnit);
  if (value === null || value === undefined) return 0;
  if (typeof value !== "number" || Number.isNaN(value)) {
    throw new TypeError(`convertByteUnit: expected a number, got ${String(value)} (${typeof value})`);
  }
  return (value * source) / target;
}

function bytesIn(unit: string): number {
  if (!isByteUnit(unit)) throw new RangeError(`Unknown unit "${unit}"; expected one of ${BYTE_UNITS.join(", ")}`);
  return BYTES[unit];
}
