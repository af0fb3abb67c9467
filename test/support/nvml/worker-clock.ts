/** Preloaded into a driver worker: its monotonic clock shows the milliseconds that the test has written into the file. */
import { readFileSync } from "node:fs";

const { WORKER_CLOCK: file = "" } = process.env;
process.hrtime.bigint = () => BigInt(readFileSync(file, "utf8")) * 1_000_000n;
