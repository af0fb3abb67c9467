/** Long work in turns, so that nobody waits for the event loop longer than a moment. */
import { setImmediate as nextTurn } from "node:timers/promises";

/** After so much work others may run: well below the 50 ms that the event loop may be blocked. */
const TURN_MS = 10;

/** Lets others run when its holder has worked for a turn. */
export class Turns {
  #until = performance.now() + TURN_MS;

  /** Call between two pieces of work. */
  async pause(): Promise<void> {
    if (performance.now() < this.#until) return;
    await nextTurn();
    this.#until = performance.now() + TURN_MS;
  }
}

/** What an iterable gives, in its order; begins with a turn of its own. */
export async function collectInTurns<T>(items: Iterable<T>): Promise<readonly T[]> {
  await nextTurn();
  const turns = new Turns();
  const collected: T[] = [];
  for (const item of items) {
    collected.push(item);
    await turns.pause();
  }
  return collected;
}
