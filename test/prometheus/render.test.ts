import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { MetricFamily } from "../../src/catalog/spec.ts";
import { acceptsGzip, negotiate } from "../../src/outputs/prometheus/negotiate.ts";
import { renderFamilies, RuntimeMetrics } from "../../src/outputs/prometheus/render.ts";

const FAMILIES: readonly MetricFamily[] = [
  {
    name: "gpu_energy_joules_total",
    type: "counter",
    unit: "joules",
    help: "Energy.",
    samples: [{ labels: { gpu: "0" }, value: 987654321.012 }],
  },
  {
    name: "ollama_model_expires_timestamp_seconds",
    type: "gauge",
    unit: "seconds",
    help: "Expiry.",
    samples: [{ labels: { model: 'a "quoted"\\name\nof two lines' }, value: Infinity }],
  },
];

const EXPIRY = 'ollama_model_expires_timestamp_seconds{model="a \\"quoted\\"\\\\name\\nof two lines"} +Inf';
const TEXT = `# HELP gpu_energy_joules_total Energy.
# TYPE gpu_energy_joules_total counter
gpu_energy_joules_total{gpu="0"} 987654321.012

# HELP ollama_model_expires_timestamp_seconds Expiry.
# TYPE ollama_model_expires_timestamp_seconds gauge
${EXPIRY}
`;
const OPENMETRICS = `# HELP gpu_energy_joules Energy.
# TYPE gpu_energy_joules counter
gpu_energy_joules_total{gpu="0"} 987654321.012
# HELP ollama_model_expires_timestamp_seconds Expiry.
# TYPE ollama_model_expires_timestamp_seconds gauge
${EXPIRY}
# EOF
`;

describe("rendering", () => {
  it("names counters rightly in both formats, in turn", async () => {
    for (let turn = 0; turn < 2; turn++) {
      expect(await renderFamilies(FAMILIES, "openmetrics")).toBe(OPENMETRICS);
      expect(await renderFamilies(FAMILIES, "text")).toBe(TEXT);
    }
  });

  it("adds the runtime's families without those that end in _total and are no counters", async () => {
    const body = await renderFamilies(FAMILIES, "text", new RuntimeMetrics());
    expect(body).toContain("process_resident_memory_bytes");
    expect(body).toContain("nodejs_eventloop_lag_seconds");
    expect(body).not.toMatch(/# TYPE \S+_total gauge/);
    expect(body).not.toMatch(/ NaN| Nan/);
  });
});

describe("negotiation", () => {
  const PROMETHEUS =
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,application/openmetrics-text;version=0.0.1;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3";
  const cases: readonly (readonly [string | undefined, string])[] = [
    [undefined, "text/plain; version=0.0.4; charset=utf-8"],
    ["", "text/plain; version=0.0.4; charset=utf-8"],
    ["*/*", "text/plain; version=0.0.4; charset=utf-8"],
    ["text/html,application/xhtml+xml,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8"],
    ["text/plain", "text/plain; version=0.0.4; charset=utf-8"],
    ["text/plain; version=1.0.0", "text/plain; version=1.0.0; charset=utf-8"],
    ["text/plain;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.4", "text/plain; version=0.0.4; charset=utf-8"],
    ["application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"],
    [
      "application/openmetrics-text; version=1.0.0; charset=utf-8",
      "application/openmetrics-text; version=1.0.0; charset=utf-8",
    ],
    ["application/openmetrics-text;version=0.0.1", "text/plain; version=0.0.4; charset=utf-8"],
    ["application/openmetrics-text;q=0,*/*", "text/plain; version=0.0.4; charset=utf-8"],
    ["application/json", "text/plain; version=0.0.4; charset=utf-8"],
    [PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8"],
  ];
  it.each(cases)("answers Accept %p with %p", (accept, contentType) => {
    expect(negotiate(accept).contentType).toBe(contentType);
  });

  it("never throws, whatever the header", () => {
    fc.assert(
      fc.property(fc.string(), (accept) => {
        expect(negotiate(accept).contentType).toMatch(/^(text\/plain|application\/openmetrics-text); version=/);
      }),
    );
  });

  const encodings: readonly (readonly [string | undefined, boolean])[] = [
    [undefined, false],
    ["gzip", true],
    ["br, gzip;q=0.5", true],
    ["gzip;q=0", false],
    ["*", true],
    ["gzip;q=0, *", false],
    ["identity", false],
  ];
  it.each(encodings)("takes Accept-Encoding %p as gzip: %p", (header, expected) => {
    expect(acceptsGzip(header)).toBe(expected);
  });
});
