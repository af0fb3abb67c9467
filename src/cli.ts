#!/usr/bin/env node
/** The command line: refuses an old Node before anything of it is needed, then hands over. */

const OLDEST: readonly [major: number, minor: number] = [22, 19];

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
  console.error(`ollama-gpu-exporter needs Node ${OLDEST.join(".")} or newer, this is ${process.versions.node}`);
  process.exit(1);
}
const { runCommand } = await import("./command.ts");
await runCommand({
  input: { argv: process.argv.slice(2), env: process.env },
  out: process.stdout,
  err: process.stderr,
  exit: (code) => process.exit(code),
  onSignal: (listener) => {
    process.on("SIGTERM", listener);
    process.on("SIGINT", listener);
  },
});
