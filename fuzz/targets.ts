/** The targets by name. Each is imported when it is asked for, so that its sources are instrumented before. */
import type { Target } from "./target.ts";

const LOADERS: Readonly<Record<string, () => Promise<{ readonly target: Target }>>> = {
  cmdline: () => import("./targets/cmdline.ts"),
  procfs: () => import("./targets/procfs.ts"),
  "ollama-json": () => import("./targets/ollama-json.ts"),
  "ollama-host": () => import("./targets/ollama-host.ts"),
  "web-config": () => import("./targets/web-config.ts"),
  "config-file": () => import("./targets/config-file.ts"),
  accept: () => import("./targets/accept.ts"),
  "nvml-reply": () => import("./targets/nvml-reply.ts"),
  "runner-endpoints": () => import("./targets/runner-endpoints.ts"),
  log: () => import("./targets/log.ts"),
};

export const TARGETS: readonly string[] = Object.keys(LOADERS);

/** Throws on a name that is none of them. */
export async function loadTarget(name: string): Promise<Target> {
  const load = Object.hasOwn(LOADERS, name) ? LOADERS[name] : undefined;
  if (!load) throw new Error(`no target ${name}`);
  return (await load()).target;
}
