/**
 * For `node --import`: on SIGUSR2 appends to the file that EVENT_LOOP_PROBE names how long the event loop was blocked at most
 * since the last signal: in ms of this thread's own work, and in ms of the wall clock, which on a shared machine also
 * holds the time that others were given.
 */
import { appendFileSync } from "node:fs";

const longest = { workMs: 0, wallMs: 0 };
const workMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};
let last = { workMs: workMs(), wallMs: performance.now() };
setInterval(() => {
  const now = { workMs: workMs(), wallMs: performance.now() };
  longest.workMs = Math.max(longest.workMs, now.workMs - last.workMs);
  longest.wallMs = Math.max(longest.wallMs, now.wallMs - last.wallMs);
  last = now;
}, 1).unref();
process.on("SIGUSR2", () => {
  appendFileSync(process.env.EVENT_LOOP_PROBE ?? "", `${longest.workMs} ${longest.wallMs}\n`);
  longest.workMs = 0;
  longest.wallMs = 0;
});
