import { expect, it } from "@jest/globals";
import { runCommand, type CommandProcess } from "../../src/command.ts";

/** A stream whose reader has left `writableLength` bytes unread. */
function stream(writableLength: number): { readonly lines: string[]; readonly stream: NodeJS.WriteStream } {
  const lines: string[] = [];
  const fake = { writableLength, on: () => fake, write: (line: string) => lines.push(line) };
  return { lines, stream: fake as unknown as NodeJS.WriteStream };
}

it.each([
  [0, 2],
  [2 << 20, 0],
])(
  "a log reader that has left %i bytes unread is given %i lines of a start and an end: nothing piles up",
  async (unread, lines) => {
    const err = stream(unread);
    const listeners: (() => void)[] = [];
    const ended = Promise.withResolvers<number>();
    const self: CommandProcess = {
      input: {
        argv: ["--web.listen-address=127.0.0.1:0", "--gpu.backend=none", "--ollama.host=none", "--refresh.interval=1h"],
        env: {},
      },
      out: stream(0).stream,
      err: err.stream,
      exit: ended.resolve,
      onSignal: (listener) => listeners.push(listener),
    };
    await runCommand(self);
    for (const listener of listeners) listener();
    expect(await ended.promise).toBe(0);
    expect(err.lines.filter((line) => /listening|shutting down/.test(line))).toHaveLength(lines);
  },
);
