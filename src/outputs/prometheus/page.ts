/** The body of /metrics: rendered once per (snapshot, format) and kept, so that a cached scrape is a string write. */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { ExporterState } from "../../catalog/exporter.ts";
import { buildFamilies } from "../../families/build.ts";
import type { Snapshot } from "../../snapshot.ts";
import type { ExpositionFormat } from "./negotiate.ts";
import { renderFamilies, type RuntimeMetrics } from "./render.ts";

const compress = promisify(gzip);

export interface MetricsPageOptions {
  /** The exporter's own numbers at the time of rendering. */
  readonly state: () => ExporterState;
  /** process_* and nodejs_* families; absent = left out. */
  readonly runtime?: RuntimeMetrics;
}

interface Rendered {
  readonly plain: Promise<Buffer>;
  gzipped?: Promise<Buffer>;
}

export class MetricsPage {
  readonly #options: MetricsPageOptions;
  readonly #bodies = new WeakMap<Snapshot, Map<ExpositionFormat, Rendered>>();

  constructor(options: MetricsPageOptions) {
    this.#options = options;
  }

  /** The body in UTF-8, gzipped when asked for. Rejects only on a bug in rendering. */
  body(snapshot: Snapshot, format: ExpositionFormat, gzipped = false): Promise<Buffer> {
    const rendered = this.#rendered(snapshot, format);
    if (!gzipped) return rendered.plain;
    rendered.gzipped ??= rendered.plain.then((plain) => compress(plain));
    return rendered.gzipped;
  }

  #rendered(snapshot: Snapshot, format: ExpositionFormat): Rendered {
    const formats = this.#bodies.get(snapshot) ?? new Map<ExpositionFormat, Rendered>();
    this.#bodies.set(snapshot, formats);
    const known = formats.get(format);
    if (known) return known;
    const families = buildFamilies(snapshot, this.#options.state());
    const rendered = {
      plain: renderFamilies(families, format, this.#options.runtime).then((text) => Buffer.from(text)),
    };
    formats.set(format, rendered);
    return rendered;
  }
}
