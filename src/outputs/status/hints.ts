/** One line each on what a user could switch on. */
import type { Model, Snapshot } from "../../snapshot.ts";

const isSwitchedOff = ({ runners = [], requestCounters }: Model): boolean =>
  requestCounters === undefined && runners.some(({ endpoints }) => endpoints?.answersMetrics === false);

/** Of the servers whose runners say that their request metrics are off. */
export function hintsOf({ models }: Snapshot): readonly string[] {
  const servers = new Set(models.filter(isSwitchedOff).map(({ server }) => server));
  return [...servers].map(
    (server) =>
      `No token counters from ${server}: set LLAMA_ARG_ENDPOINT_METRICS=1 in the environment of \`ollama serve\` and restart it (deploy/ollama/README.md)`,
  );
}
