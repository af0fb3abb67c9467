/** A snapshot's body in one format: rendered once per (snapshot, format) and kept, so that a cached scrape is a string write. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { Snapshot } from "../snapshot.ts";

const compress = promisify(gzip);
/** Half the time of zlib's default for a tenth more bytes, on an exposition of 80 KB. */
const GZIP_LEVEL = 3;

/** Renders the whole body; rejects only on a bug. */
export type Renderer<Format> = (snapshot: Snapshot, format: Format) => string | Promise<string>;

interface Rendered {
  readonly plain: Promise<Buffer>;
  gzipped?: Promise<Buffer>;
}

export class RenderedBodies<Format> {
  readonly #render: Renderer<Format>;
  readonly #bodies = new WeakMap<Snapshot, Map<Format, Rendered>>();

  constructor(render: Renderer<Format>) {
    this.#render = render;
  }

  /** The body in UTF-8, gzipped when asked for. */
  body(snapshot: Snapshot, format: Format, gzipped = false): Promise<Buffer> {
    const rendered = this.#rendered(snapshot, format);
    if (!gzipped) return rendered.plain;
    rendered.gzipped ??= rendered.plain.then((plain) => compress(plain, { level: GZIP_LEVEL }));
    return rendered.gzipped;
  }

  #rendered(snapshot: Snapshot, format: Format): Rendered {
    const formats = this.#bodies.get(snapshot) ?? new Map<Format, Rendered>();
    this.#bodies.set(snapshot, formats);
    const known = formats.get(format);
    if (known) return known;
    const render = async () => Buffer.from(await this.#render(snapshot, format));
    const rendered = { plain: render() };
    formats.set(format, rendered);
    return rendered;
  }
}
