/** Entry of the thread that compares passwords: one at a time, and never on the event loop that answers scrapes. */
import { parentPort } from "node:worker_threads";
import { compareSync } from "bcryptjs";

parentPort?.on("message", ({ id, password, hash }: { id: number; password: string; hash: string }) => {
  parentPort?.postMessage({ id, matches: compareSync(password, hash) });
});
