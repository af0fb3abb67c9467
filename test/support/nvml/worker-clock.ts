/** Preloaded into a driver worker: its monotonic clock shows what the test has written into the file. */
import { readFileSync } from "node:fs";

const { WORKER_CLOCK: file = "" } = process.env;
performance.now = () => Number(readFileSync(file, "utf8"));
