/** Who speaks: the attributes of the OpenTelemetry resource. Never the command line, which may hold secrets. */
import { hostname } from "node:os";
import { buildInfo } from "../../build-info.ts";
import type { Labels } from "../../catalog/spec.ts";

/**
 * The defaults with the configured attributes over them. `address` is where the exporter listens: the instance is the host
 * name with that port, as a Prometheus target would be called, so that a restart goes on with the same series.
 */
export function resourceAttributes(configured: Labels, address: string | undefined): Labels {
  const port = /:(\d+)$/.exec(address ?? "")?.[1];
  const host = hostname();
  return {
    "service.name": "ollama-gpu-exporter",
    "service.version": buildInfo().version,
    "service.instance.id": port === undefined ? host : `${host}:${port}`,
    "host.name": host,
    "os.type": process.platform === "win32" ? "windows" : process.platform,
    ...configured,
  };
}
