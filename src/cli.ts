#!/usr/bin/env node
/** The command line: refuses an old Node before anything of it is needed, then hands over. */

const OLDEST: readonly [major: number, minor: number] = [22, 19];

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
  console.error(`ollama-gpu-exporter needs Node ${OLDEST.join(".")} or newer, this is ${process.versions.node}`);
  process.exit(1);
}
// A resolver that hangs holds a thread per server name, and half of them at most: names that resolve must not wait behind it.
process.env.UV_THREADPOOL_SIZE ??= "16";

/** Ends at once. A name lookup that hangs cannot be cancelled and would hold up an exit for ever: another program takes over. */
function exit(code: number): never {
  const hangs = process.getActiveResourcesInfo().includes("GetAddrInfoReqWrap");
  if (hangs) process.execve?.(process.execPath, [process.execPath, "-e", `process.exit(${code})`], {});
  process.exit(code);
}

const { runCommand } = await import("./command.ts");
await runCommand({
  input: { argv: process.argv.slice(2), env: process.env },
  out: process.stdout,
  err: process.stderr,
  exit,
  onSignal: (listener) => {
    process.on("SIGTERM", listener);
    process.on("SIGINT", listener);
  },
});
