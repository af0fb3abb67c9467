/** One Ollama server as a source: version and loaded models each time, installed models and blob digests when due. */
import { messageOf } from "../../errors.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../logger.ts";
import type { InstalledModel, LoadedModel, OllamaReading, ServerIdentity } from "../../snapshot.ts";
import { failed, type Source, type SourceResult } from "../source.ts";
import { type OllamaClient, OllamaRequestError } from "./client.ts";
import { decodeBlobDigest, decodeInstalled, decodeLoaded, decodeVersion } from "./decode.ts";
import { OwnMetricsReader, type TextAnswer } from "./own-metrics.ts";

export type { OllamaClient } from "./client.ts";

export interface OllamaSourceOptions {
  readonly identity: ServerIdentity;
  readonly client: OllamaClient & { ownMetrics?(): Promise<TextAnswer>; close?(): Promise<void> };
  /** For one request. */
  readonly timeoutMs: number;
  /** How long a list of installed models is good for. */
  readonly tagsIntervalMs: number;
  /** Looks for a /metrics of the server's own. */
  readonly readsOwnMetrics: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

const MAX_MODELS = 1_000;
const SHOWS_AT_ONCE = 4;

type Outcome<T> = { readonly value: T } | { readonly error: string; readonly timedOut: boolean };

export class OllamaSource implements Source<OllamaReading> {
  readonly name = "ollama";
  readonly target: string;
  readonly #options: OllamaSourceOptions;
  /** Blob digest by name and manifest digest; a model's blob never changes under its manifest. */
  readonly #blobs = new Map<string, string | undefined>();
  /** Calls that have not settled, by what they ask for: never a second one beside the first. */
  readonly #running = new Map<string, Promise<unknown>>();
  readonly #ownMetrics: OwnMetricsReader | undefined;
  #tags: { readonly models: readonly InstalledModel[]; readonly at: number } | undefined;
  #problems = "";
  #dropping = false;

  constructor(options: OllamaSourceOptions) {
    this.#options = options;
    this.target = options.identity.server;
    const { client, readsOwnMetrics, tagsIntervalMs: intervalMs, clock } = options;
    const ask = client.ownMetrics?.bind(client);
    this.#ownMetrics = readsOwnMetrics && ask ? new OwnMetricsReader({ ask, intervalMs, clock }) : undefined;
  }

  async read(signal: AbortSignal): Promise<SourceResult<OllamaReading>> {
    const { client, clock } = this.#options;
    const call = <T>(key: string, ask: () => Promise<unknown>, decode: (answer: unknown) => T) =>
      this.#call(key, { ask, decode, signal });
    const [version, loaded, tags, ownMetrics] = await Promise.all([
      call("/api/version", () => client.version(), decodeVersion),
      call(
        "/api/ps",
        () => client.ps(),
        (answer) => decodeLoaded(answer, clock.now()),
      ),
      this.#tagsDue() ? call("/api/tags", () => client.list(), decodeInstalled) : undefined,
      this.#ownMetrics?.read(),
    ]);
    if ("error" in loaded || "error" in version) this.#ownMetrics?.serverFailed();
    if ("error" in loaded) return failed(loaded.error, loaded.timedOut);
    if ("error" in version) return failed(version.error, version.timedOut);
    const problems = [...version.value.problems, ...loaded.value.problems];
    const degraded: string[] = [];
    if (tags) {
      if ("error" in tags) degraded.push(tags.error);
      else problems.push(...tags.value.problems);
      this.#tags = "error" in tags ? undefined : { models: tags.value.value, at: clock.monotonic() };
    }
    degraded.push(...(await this.#showAll(loaded.value.value, signal)));
    this.#warnOfProblems(problems);
    return {
      status: "ok",
      value: {
        ...this.#limit(version.value.value, this.#withBlobs(loaded.value.value)),
        ...(ownMetrics && { ownMetrics }),
      },
      ...(degraded.length > 0 && { degraded: degraded.join("; ") }),
    };
  }

  async close(): Promise<void> {
    await this.#options.client.close?.();
  }

  #tagsDue(): boolean {
    const { clock, tagsIntervalMs } = this.#options;
    return this.#tags === undefined || clock.monotonic() - this.#tags.at >= tagsIntervalMs;
  }

  /** Asks for the blob of every loaded model that is not known yet; returns what went wrong. */
  async #showAll(loaded: readonly LoadedModel[], signal: AbortSignal): Promise<readonly string[]> {
    const queue = loaded.slice(0, MAX_MODELS).filter((model) => !this.#blobs.has(blobKey(model)));
    const errors: string[] = [];
    const work = async () => {
      for (let model = queue.shift(); model && !signal.aborted; model = queue.shift()) {
        const { name } = model;
        const ask = () => this.#options.client.show({ model: name });
        const shown = await this.#call(`/api/show ${name}`, { ask, decode: decodeBlobDigest, signal });
        if ("error" in shown) errors.push(shown.error);
        else this.#remember(model, shown.value);
      }
    };
    await Promise.all(Array.from({ length: SHOWS_AT_ONCE }, work));
    return errors.slice(0, 1);
  }

  #remember(model: LoadedModel, digest: string | undefined): void {
    const oldest = this.#blobs.keys().next();
    if (this.#blobs.size >= MAX_MODELS && !oldest.done) this.#blobs.delete(oldest.value);
    this.#blobs.set(blobKey(model), digest);
  }

  #withBlobs(loaded: readonly LoadedModel[]): readonly LoadedModel[] {
    return loaded.map((model) => {
      const blobDigest = this.#blobs.get(blobKey(model));
      return blobDigest === undefined ? model : { ...model, blobDigest };
    });
  }

  /** A call under the deadline that an injected client does not have; its error as a value. */
  async #call<T>(
    key: string,
    { ask, decode, signal }: { ask: () => Promise<unknown>; decode: (answer: unknown) => T; signal: AbortSignal },
  ): Promise<Outcome<T>> {
    const { clock, timeoutMs } = this.#options;
    if (this.#running.has(key))
      return { error: `${key}: an earlier request has not been answered yet`, timedOut: true };
    const asked = Promise.resolve().then(ask);
    this.#running.set(key, asked);
    const settled = asked.finally(() => this.#running.delete(key));
    const over = new AbortController();
    const late = clock
      .sleep(timeoutMs, AbortSignal.any([signal, over.signal]))
      .catch(() => undefined)
      .then(() => {
        throw new OllamaRequestError(`${key}: no answer within ${timeoutMs / 1000} s (--ollama.timeout)`, {
          timedOut: true,
        });
      });
    try {
      return { value: decode(await Promise.race([settled, late])) };
    } catch (error) {
      settled.catch(() => undefined);
      return { error: messageOf(error), timedOut: error instanceof OllamaRequestError && error.timedOut };
    } finally {
      late.catch(() => undefined);
      over.abort();
    }
  }

  /** Loaded models first, then installed ones by name, as many as may become series. */
  #limit(version: string | undefined, loaded: readonly LoadedModel[]): OllamaReading {
    const keptLoaded = loaded.slice(0, MAX_MODELS);
    const names = new Set(keptLoaded.map(({ name }) => name));
    const installed = this.#tags?.models;
    const others = (installed ?? []).filter(({ name }) => !names.has(name)).sort(byName);
    const keptOthers = others.slice(0, MAX_MODELS - keptLoaded.length);
    const kept = new Set(keptOthers);
    const dropped = loaded.length - keptLoaded.length + others.length - keptOthers.length;
    if (dropped > 0 && !this.#dropping) {
      this.#options.logger.warn("more models than series: the rest is left out", { server: this.target, dropped });
    }
    this.#dropping = dropped > 0;
    return {
      ...(version !== undefined && { version }),
      loaded: keptLoaded,
      loadedCount: loaded.length,
      dropped,
      ...(installed && {
        installed: installed.filter((model) => names.has(model.name) || kept.has(model)),
        installedCount: installed.length,
      }),
    };
  }

  #warnOfProblems(problems: readonly string[]): void {
    const text = problems.slice(0, 3).join("; ");
    if (text !== "" && this.#problems === "") {
      this.#options.logger.warn("unexpected values in Ollama's answer are left out", {
        server: this.target,
        problems: text,
      });
    }
    this.#problems = text;
  }
}

const blobKey = ({ name, digest = "" }: LoadedModel): string => `${name} ${digest}`;

const byName = (a: InstalledModel, b: InstalledModel): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
