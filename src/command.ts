/** What the command line does: serve, status, check-config. Everything of the process comes in from cli.ts. */
import { buildInfo } from "./build-info.ts";
import type { StatusOptions } from "./config/arguments.ts";
import { helpText } from "./config/help.ts";
import { loadConfig, type Loaded, type StartInput } from "./config/load.ts";
import type { Config } from "./config/options.ts";
import { ConfigError, messageOf, StartupError } from "./errors.ts";
import { type Exporter, startExporter } from "./exporter.ts";
import { systemClock } from "./lib/clock.ts";
import { createLogger, silentLogger } from "./logger.ts";
import { createMonitor, type OllamaGPUMonitor } from "./monitor.ts";
import { conditionsOf } from "./outputs/status/conditions.ts";
import { formatConditionsText } from "./outputs/status/text.ts";

export interface CommandProcess {
  readonly input: StartInput;
  readonly out: NodeJS.WriteStream;
  readonly err: NodeJS.WriteStream;
  readonly exit: (code: number) => void;
  readonly onSignal: (listener: () => void) => void;
}

const EXIT = { ok: 0, cannotStart: 1, badConfig: 2 } as const;
/** A reader of the log that hangs may leave so much unread; what comes then is dropped. */
const MOST_UNREAD_LOG_BYTES = 1024 * 1024;
/** A shutdown that hangs is ended here, so that the process is gone within 3 s. */
const SHUTDOWN_MS = 2_700;

/** Runs until the command has ended; `serve` ends with a signal. */
export async function runCommand(self: CommandProcess): Promise<void> {
  self.out.on("error", () => {
    self.exit(EXIT.ok); // the reader of a pipe has gone
  });
  self.err.on("error", () => undefined); // a full disk or a reader that has gone costs log lines, not the exporter
  try {
    await dispatch(loadConfig(self.input), self);
  } catch (error) {
    if (error instanceof ConfigError) reportConfig(error, self);
    else {
      self.err.write(`ollama-gpu-exporter: ${messageOf(error)}\n`);
      if (!(error instanceof StartupError) && error instanceof Error) self.err.write(`${error.stack ?? ""}\n`);
      self.exit(EXIT.cannotStart);
    }
  }
}

async function dispatch({ command, config, status }: Loaded, self: CommandProcess): Promise<void> {
  switch (command) {
    case "help":
      self.out.write(helpText());
      return;
    case "version":
      self.out.write(`ollama-gpu-exporter ${buildInfo().version}\n`);
      return;
    case "check-config":
      self.out.write("configuration is valid\n");
      return;
    case "status":
      await printStatus(config, status, self);
      self.out.write("", () => {
        self.exit(EXIT.ok); // whatever still hangs, a name lookup for instance, is not waited for
      });
      return;
    case "serve":
      await serve(config, self);
  }
}

/** `check-config` names every problem; a start names the first, on one line. */
function reportConfig({ problems }: ConfigError, { input, err, exit }: CommandProcess): void {
  const [first = "", ...more] = problems;
  const hint = more.length === 0 ? "" : ` (and ${more.length} more: see check-config)`;
  err.write(input.argv.includes("check-config") ? problems.map((line) => `${line}\n`).join("") : `${first}${hint}\n`);
  exit(EXIT.badConfig);
}

async function serve(config: Config, self: CommandProcess): Promise<void> {
  const write = (line: string): void => {
    if (self.err.writableLength < MOST_UNREAD_LOG_BYTES) self.err.write(line);
  };
  const logger = createLogger({ ...config.log, write, now: () => systemClock.now() });
  const exporter: Exporter = await startExporter(config, logger);
  let stopping = false;
  self.onSignal(() => {
    if (stopping) {
      self.exit(EXIT.ok);
      return;
    }
    stopping = true;
    logger.info("shutting down");
    setTimeout(() => {
      self.exit(EXIT.ok);
    }, SHUTDOWN_MS).unref();
    void exporter.close().finally(() => {
      self.exit(EXIT.ok);
    });
  });
}

async function textOf(monitor: OllamaGPUMonitor, { includeGpu }: StatusOptions): Promise<string> {
  const status = await monitor.formatStatus({ includeGpu });
  return status + formatConditionsText(conditionsOf(monitor.snapshotSync()));
}

async function jsonOf(monitor: OllamaGPUMonitor): Promise<string> {
  const status = await monitor.toDict();
  return `${JSON.stringify({ ...status, conditions: conditionsOf(monitor.snapshotSync()) }, undefined, 2)}\n`;
}

async function printStatus(config: Config, options: StatusOptions, self: CommandProcess): Promise<void> {
  const monitor = createMonitor({ ...config, cacheDurationMs: 0 }, silentLogger, options.unit);
  const stop = new AbortController();
  const stopped = () => stop.signal.aborted;
  self.onSignal(() => {
    stop.abort();
  });
  const print = async () => {
    const text = options.json ? await jsonOf(monitor) : await textOf(monitor, options);
    if (options.watchMs !== undefined && self.out.isTTY) self.out.write("\x1b[2J\x1b[H");
    self.out.write(text);
  };
  try {
    await print();
    while (options.watchMs !== undefined && !stopped()) {
      await systemClock.sleep(options.watchMs, stop.signal).catch(() => undefined);
      if (!stopped()) await print();
    }
  } finally {
    await monitor.close();
  }
}
