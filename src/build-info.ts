/** Name and number of this build, for build_info, --version and the OpenTelemetry resource. */
import { readFileSync } from "node:fs";

export interface BuildInfo {
  readonly version: string;
  /** Commit of a published package (npm's `gitHead`); empty in a working tree. */
  readonly revision: string;
  readonly nodeVersion: string;
}

/** Reads package.json beside `src` or `dist`. */
export function buildInfo(): BuildInfo {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const text = (key: string) => {
    const value = Object.entries(manifest as Record<string, unknown>).find(([name]) => name === key)?.[1];
    return typeof value === "string" ? value : "";
  };
  return { version: text("version"), revision: text("gitHead"), nodeVersion: process.version };
}
