/** The options as text: for --help, and as the README's table. */
import { environmentName, OPTIONS } from "./options.ts";

const COMMAND_HELP = `Usage: ollama-gpu-exporter [serve|status|check-config] [flags]

  serve          start the exporter (default)
  status         print the current state once: --json, --watch[=SECONDS], --unit=MB, --no-gpu
  check-config   validate flags, environment and configuration file; print every problem

  --help, --version

Flags take --flag=value and --flag value, booleans --x and --no-x. Every flag is also an environment variable
(--web.listen-address is ${environmentName("web.listen-address")}; lists are separated by commas) and a key of the
YAML file. Defaults < file < environment < flags.
`;

/** What --help prints. */
export function helpText(): string {
  const width = Math.max(...OPTIONS.map(({ flag }) => flag.length)) + 4;
  const rows = OPTIONS.map(({ flag, default: value, meaning, repeatable }) => {
    const notes = [...(repeatable ? ["repeatable"] : []), ...(value === "" ? [] : [`default ${value}`])];
    return `  ${`--${flag}`.padEnd(width)}${meaning}${notes.length === 0 ? "" : ` (${notes.join(", ")})`}`;
  });
  return `${COMMAND_HELP}\n${rows.join("\n")}\n`;
}

/** The configuration table of the README. */
export function optionTable(): string {
  const rows = OPTIONS.map(({ flag, default: value, meaning, repeatable }) => {
    const name = `\`--${flag}\`${repeatable ? " (repeatable)" : ""}`;
    return `| ${name} | ${value === "" ? "" : `\`${value}\``} | ${meaning.replaceAll("|", "\\|")} |`;
  });
  return ["| flag | default | meaning |", "|---|---|---|", ...rows].join("\n");
}
