/**
 * One OTLP push through our producer beside the same by observable instruments: `npm run bench:otlp` prints a table.
 * Each path runs in a process of its own and pushes to a receiver in this one.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { MeterProvider, type MetricProducer, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { resourceFromAttributes } from "@opentelemetry/resources";
import type { MetricFamily } from "../src/catalog/spec.ts";
import { toMetricData } from "../src/outputs/otel/metric-data.ts";

const SIZES = [1_000, 10_000];
const PATHS = ["producer", "observable"] as const;
const FAMILIES = 50;
const ROUNDS = 40;

interface Result {
  readonly ms: number;
  readonly pssMb: number;
}

const labelsOf = (series: number) => ({
  server: "127.0.0.1:11434",
  model: `model-${series}:latest`,
  gpu: "0",
  uuid: "GPU-0",
});

/** Fifty families of equal size; built anew for every push, as from a new snapshot. */
function families(size: number): readonly MetricFamily[] {
  return Array.from({ length: FAMILIES }, (_, family) => ({
    name: `bench_family_${family}_bytes`,
    type: "gauge",
    unit: "bytes",
    help: "A family of the benchmark.",
    samples: Array.from({ length: size / FAMILIES }, (_, series) => ({
      labels: labelsOf(series),
      value: Math.random(),
    })),
  }));
}

function producer(size: number): MetricProducer {
  return {
    collect: () => {
      const options = { naming: "native", gpus: [], startedAtMs: 0, timeMs: Date.now() } as const;
      const metrics = toMetricData(families(size), options);
      const resourceMetrics = {
        resource: resourceFromAttributes({}),
        scopeMetrics: [{ scope: { name: "bench" }, metrics }],
      };
      return Promise.resolve({ resourceMetrics, errors: [] });
    },
  };
}

/** In the child: sets one path up, pushes, prints the result. */
async function measure(path: string, size: number, url: string): Promise<void> {
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({ url, compression: "gzip" as never }),
    exportIntervalMillis: 3_600_000,
    cardinalityLimits: { default: size * 2 },
    ...(path === "producer" && { metricProducers: [producer(size)] }),
  });
  const provider = new MeterProvider({ readers: [reader] });
  if (path === "observable") {
    const meter = provider.getMeter("bench");
    for (let family = 0; family < FAMILIES; family++) {
      meter.createObservableGauge(`bench.family.${family}`, { unit: "By" }).addCallback((result) => {
        for (let series = 0; series < size / FAMILIES; series++) result.observe(Math.random(), labelsOf(series));
      });
    }
  }
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = performance.now();
    await provider.forceFlush();
    times.push(performance.now() - startedAt);
  }
  const pss = /^Pss:\s+(\d+)/m.exec(readFileSync("/proc/self/smaps_rollup", "utf8"))?.[1];
  console.log(JSON.stringify({ ms: times.sort((a, b) => a - b)[ROUNDS / 2] ?? NaN, pssMb: Number(pss) / 1024 }));
}

async function compare(): Promise<void> {
  let bytes = 0;
  const receiver = createServer((request, response) => {
    let size = 0;
    request.on("data", (chunk: Buffer) => (size += chunk.length));
    request.on("end", () => {
      bytes = size;
      response.end();
    });
  }).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const address = receiver.address();
  const port = typeof address === "object" && address ? address.port : 0;
  console.log("| one push, gzipped protobuf | ms, median | bytes | PSS of the process, MB |\n|---|---|---|---|");
  for (const size of SIZES) {
    for (const path of PATHS) {
      const args = [import.meta.filename, path, String(size), `http://127.0.0.1:${port}/v1/metrics`];
      const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
      let out = "";
      child.stdout.on("data", (data: Buffer) => (out += data.toString()));
      await once(child, "exit");
      const { ms, pssMb } = JSON.parse(out) as Result;
      console.log(
        `| ${size} series, ${path === "producer" ? "our producer" : "observable instruments"} | ${ms.toFixed(1)} | ${bytes} | ${pssMb.toFixed(0)} |`,
      );
    }
  }
  receiver.close();
}

const [path, size, url] = process.argv.slice(2);
if (path !== undefined && size !== undefined && url !== undefined) await measure(path, Number(size), url);
else await compare();
