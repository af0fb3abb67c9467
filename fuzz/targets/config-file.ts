/** --config.file, as its text. */
import { readFileValues } from "../../src/config/file.ts";
import { OPTIONS } from "../../src/config/options.ts";
import { texts } from "../captures.ts";
import { must, mustBeText, type Target } from "../target.ts";

export const target: Target = {
  seeds: () =>
    texts(
      "",
      "web.listen-address: :9434\nollama:\n  host: [a=http://x:1, 'y']\n  timeout: 3s\ngpu: {backend: nvml, include: [0, 1]}\n",
      "ollama:\n  header:\n  - 'Authorization: Bearer x'\notlp.endpoint: http://127.0.0.1:4318\nlog.level: debug\n",
      "cache.duration: 5\nretry: {attempts: 3, delay: 1s}\nprocesses: all\ndemo: true\nweb: {config.file: x, max-requests: 1}\n",
      "unknown: 1\nweb: {telemetry-path: [a, b]}\nweb.telemetry-path: c\n",
    ),
  words: OPTIONS.map(({ flag }) => `${flag}: `).concat("&a ", "*a", "<<: *a", "!!set ", "? ", "- ", "|\n  ", "[", "{"),
  maxBytes: 2048,
  slowMs: 500, // of whoever starts the exporter, and read once
  check: (input) => {
    const { values, problems } = readFileValues(input.toString(), "exporter.yml");
    for (const problem of problems) must(/^exporter\.yml(?::\d+)?: ./.test(problem), `no place: ${problem}`);
    for (const problem of problems) must(!/[\n\r]/.test(problem), "a problem of two lines");
    for (const { flag, values: given, where } of values) {
      const option = OPTIONS.find((row) => row.flag === flag);
      must(option !== undefined && !option.notInFile, `no option ${flag}`);
      must(/^exporter\.yml:\d+$/.test(where), "no place");
      must(given.length <= 1 || option.repeatable === true, "a list for one value");
      for (const value of given) {
        mustBeText(value, flag);
        try {
          option.parse(value);
        } catch (error) {
          must(error instanceof Error && error.constructor === Error, `${flag} throws ${String(error)}`);
        }
      }
    }
  },
};
