/** Where the server listens: TCP, unix sockets, sockets that systemd has opened. */
import { once } from "node:events";
import { fstatSync } from "node:fs";
import { lstat, unlink } from "node:fs/promises";
import type { Server } from "node:http";
import { connect } from "node:net";
import { messageOf, StartupError } from "../../errors.ts";

/** Where to listen. Port 0 = any free port; `fd` = a socket that somebody else has opened, `name` what he calls it. */
export type ListenAddress =
  | { readonly host?: string; readonly port: number }
  | { readonly socketPath: string }
  | { readonly fd: number; readonly name?: string };

/** Only user and group may connect to a unix socket. */
const NOT_FOR_OTHERS = 0o117;

/** Listens, and returns the address as it is (`127.0.0.1:9434`). Throws StartupError with one line. */
export async function listenOn(server: Server, address: ListenAddress): Promise<string> {
  const named = describeAddress(address);
  try {
    if ("fd" in address && !isSocket(address.fd)) throw new Error("no socket was passed there");
    if ("socketPath" in address) {
      await removeStaleSocket(address.socketPath);
      // By the mask and not by chmod afterwards: the socket is bound within listen(), and is never open to others.
      const usual = process.umask(NOT_FOR_OTHERS);
      try {
        server.listen({ path: address.socketPath });
      } finally {
        process.umask(usual);
      }
    } else server.listen("fd" in address ? { fd: address.fd } : address);
    await once(server, "listening");
  } catch (error) {
    const advice = "fd" in address ? "check the socket unit" : "choose another --web.listen-address";
    throw new StartupError(`Cannot listen on ${named}: ${messageOf(error)}; ${advice}`, { cause: error });
  }
  const bound = server.address();
  if (bound === null || typeof bound !== "object" || !("port" in bound)) return named;
  return bound.family === "IPv6" ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`;
}

function describeAddress(address: ListenAddress): string {
  if ("socketPath" in address) return `unix:${address.socketPath}`;
  if ("fd" in address) return `systemd:${address.name ?? address.fd}`;
  const { host = "", port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false; // not open
  }
}

/** A socket file that outlived its process would make every restart fail. One that answers, or any other file, is left alone. */
async function removeStaleSocket(path: string): Promise<void> {
  const existing = await lstat(path).catch(() => undefined);
  if (!existing?.isSocket()) return;
  const probe = connect(path);
  try {
    await once(probe, "connect");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ECONNREFUSED") throw error;
    await unlink(path);
    return;
  } finally {
    probe.destroy();
  }
  throw new Error("another process answers there");
}
