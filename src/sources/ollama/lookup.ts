/** Name lookups: never a second one for a name beside the first, so that a resolver that hangs holds one thread per server. */
import { lookup } from "node:dns";
import type { LookupFunction } from "node:net";

type Callback = Parameters<LookupFunction>[2];

/** A lookup whose callers for the same name share one question to the resolver. */
export function sharedLookup(ask: LookupFunction = lookup): LookupFunction {
  const waiting = new Map<string, Callback[]>();
  return (name, options, callback) => {
    const key = `${name} ${JSON.stringify(options)}`;
    const others = waiting.get(key);
    if (others) {
      others.push(callback);
      return;
    }
    const callbacks = [callback];
    waiting.set(key, callbacks);
    ask(name, options, (...answer) => {
      waiting.delete(key);
      for (const each of callbacks) each(...answer);
    });
  };
}
