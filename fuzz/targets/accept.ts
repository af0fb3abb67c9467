/** Headers of whoever scrapes: Accept, Accept-Encoding and the scrape's timeout. */
import { scrapeDeadlineMs } from "../../src/outputs/http/routes.ts";
import { acceptsGzip, negotiate } from "../../src/outputs/prometheus/negotiate.ts";
import { texts } from "../captures.ts";
import { must, type Target } from "../target.ts";

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  "text/plain; version=0.0.4; charset=utf-8": "text",
  "text/plain; version=1.0.0; charset=utf-8": "text",
  "application/openmetrics-text; version=1.0.0; charset=utf-8": "openmetrics",
};

export const target: Target = {
  seeds: () =>
    texts(
      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
      "text/plain;version=1.0.0, text/*;q=0",
      "gzip, deflate;q=0.5, *;q=0",
      "x-gzip;q=1.000",
      "10",
      "",
    ),
  maxBytes: 65_536,
  check: (input) => {
    const header = input.toString("latin1");
    const { format, contentType } = negotiate(header);
    must(CONTENT_TYPES[contentType] === format, `${format} as ${contentType}`);
    must(negotiate(header.toUpperCase()).contentType === contentType, "case decides");
    const isWhole = header.length < 8_000 && header.split(",").length < 64; // the rest is not looked at
    must(!isWhole || negotiate(` ${header} `).contentType === contentType, "space decides");
    const refused = header
      .slice(0, 1_000)
      .replace(/;[^,]*/g, "")
      .split(",")
      .map((range) => `${range};q=0`)
      .join(",");
    must(negotiate(refused).contentType === "text/plain; version=0.0.4; charset=utf-8", "what is refused is sent");
    must(!acceptsGzip(refused), "gzip for who refuses it");
    must(typeof acceptsGzip(header) === "boolean", "no answer");
    const deadlineMs = scrapeDeadlineMs(header);
    must(deadlineMs === undefined || (deadlineMs >= 0 && deadlineMs <= 3_600_000), `a deadline of ${deadlineMs}`);
  },
};
