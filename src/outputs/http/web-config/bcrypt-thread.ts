/** Passwords are compared in a thread of their own: one at a time, and never on the event loop that answers scrapes. */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";

/** Compares one password; asynchronous, so that nobody waits for somebody else's. */
export type Compare = (password: string, hash: string) => Promise<boolean>;

/** The thread is started with the first password and does not keep the process alive. */
export function compareInThread(): Compare {
  const waiting = new Map<number, PromiseWithResolvers<boolean>>();
  let lastId = 0;
  let worker: Worker | undefined;
  const start = (): Worker => {
    const entry = new URL(`./bcrypt-worker${extname(import.meta.url)}`, import.meta.url);
    const started = new Worker(entry, { env: {} }); // it needs nothing, and passwords alone are secret enough
    started.on("message", ({ id, matches }: { id: number; matches: boolean }) => {
      waiting.get(id)?.resolve(matches);
      waiting.delete(id);
    });
    started.on("error", (error) => {
      for (const { reject } of waiting.values()) reject(error);
      waiting.clear();
      worker = undefined;
    });
    started.unref(); // after its listeners, which would hold the process again
    return started;
  };
  return (password, hash) => {
    const answer = Promise.withResolvers<boolean>();
    const id = ++lastId;
    waiting.set(id, answer);
    worker ??= start();
    worker.postMessage({ id, password, hash });
    return answer.promise;
  };
}
