/** Which exposition format and encoding a client gets, by its Accept and Accept-Encoding headers (RFC 9110, section 12.5). */

export type ExpositionFormat = "text" | "openmetrics";

export interface Exposition {
  readonly format: ExpositionFormat;
  readonly contentType: string;
}

export interface Offer extends Exposition {
  readonly type: string;
  readonly version: string;
}

/** What everybody understands. */
export const TEXT_004: Offer = {
  format: "text",
  type: "text/plain",
  version: "0.0.4",
  contentType: "text/plain; version=0.0.4; charset=utf-8",
};
/** In the order of preference among equal weights. Names are all in the legacy charset, so no escaping is ever needed. */
const OFFERS: readonly Offer[] = [
  {
    format: "openmetrics",
    type: "application/openmetrics-text",
    version: "1.0.0",
    contentType: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  },
  { format: "text", type: "text/plain", version: "1.0.0", contentType: "text/plain; version=1.0.0; charset=utf-8" },
  TEXT_004,
];

/** More than any client sends; what is behind it is not looked at. */
const MAX_RANGES = 64;

interface Range {
  readonly value: string;
  readonly weight: number;
  readonly version: string | undefined;
}

/** Best of text 0.0.4, text 1.0.0 and OpenMetrics 1.0.0; text 0.0.4 when nothing fits or the header is nonsense. Never throws. */
export function negotiate(accept: string | undefined): Exposition {
  const ranges = parse(accept);
  let best = { offer: TEXT_004, weight: 0 };
  for (const range of ranges) {
    const offer = offerFor(range);
    if (offer && range.weight > best.weight) best = { offer, weight: range.weight };
  }
  return { format: best.offer.format, contentType: best.offer.contentType };
}

/** True when gzip is acceptable: named with a weight above 0, or covered by `*` and not refused. */
export function acceptsGzip(acceptEncoding: string | string[] | undefined): boolean {
  const ranges = parse(Array.isArray(acceptEncoding) ? acceptEncoding.join(",") : acceptEncoding);
  const match =
    ranges.find(({ value }) => value === "gzip" || value === "x-gzip") ?? ranges.find(({ value }) => value === "*");
  return match !== undefined && match.weight > 0;
}

/** A wildcard, or a type without version, means the format that everybody understands. */
function offerFor({ value, version }: Range): Offer | undefined {
  if (value === "*/*" || value === "text/*") return TEXT_004;
  if (value === "text/plain" && version === undefined) return TEXT_004;
  return OFFERS.find((offer) => offer.type === value && (version === undefined || version === offer.version));
}

function parse(header = ""): readonly Range[] {
  return header.slice(0, 8192).split(",", MAX_RANGES).map(parseRange);
}

function parseRange(text: string): Range {
  const [value = "", ...parameters] = text.split(";").map((part) => part.trim().toLowerCase());
  const parameter = (name: string) =>
    parameters
      .find((entry) => entry.startsWith(`${name}=`))
      ?.slice(name.length + 1)
      .replace(/^"(.*)"$/, "$1");
  return { value, weight: weightOf(parameter("q")), version: parameter("version") };
}

function weightOf(q: string | undefined): number {
  if (q === undefined) return 1;
  const weight = /^(?:0(?:\.\d*)?|1(?:\.0*)?|\.\d+)$/.test(q) ? Number(q) : 0;
  return Number.isFinite(weight) ? weight : 0;
}
