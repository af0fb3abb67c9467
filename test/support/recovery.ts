import { appendFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { ExporterProcess } from "./exporter-process.ts";

/** A machine with other work than the test's own takes longer, but a fault that stays is found. */
const LONGEST_MS = 15_000;

export interface Recovery {
  /** The first good answer. */
  readonly text: string;
  /** How many it took, that one included. */
  readonly scrapes: number;
}

/**
 * Scrapes until an answer has what a healthy exporter says. The time that it took, from the moment that the fault was gone,
 * goes to the file that RECOVERY_TIMES names: docs/reliability.md has it from there.
 */
export async function recovery(exporter: ExporterProcess, fault: string, healthy: RegExp): Promise<Recovery> {
  const startedAt = performance.now();
  for (let scrapes = 1; ; scrapes++) {
    const text = await exporter.scrape().catch(String);
    const ms = performance.now() - startedAt;
    if (healthy.test(text)) {
      const file = process.env.RECOVERY_TIMES;
      if (file !== undefined) appendFileSync(file, `${fault}\t${scrapes}\t${ms.toFixed(0)} ms\n`);
      return { text, scrapes };
    }
    if (ms > LONGEST_MS) throw new Error(`not recovered from "${fault}" after ${ms.toFixed(0)} ms:\n${text}`);
  }
}

/** Polls what the kernel tells nobody. */
export async function until(condition: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + LONGEST_MS;
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error(`not within ${LONGEST_MS} ms: ${condition.toString()}`);
    await delay(5);
  }
}
