/** Socket activation: sockets that systemd, or whoever started the process, has already opened (sd_listen_fds(3)). */
import { StartupError } from "../errors.ts";
import type { ListenAddress } from "../outputs/http/listen.ts";

/** 0 to 2 are the standard streams. */
const FIRST_FD = 3;
const FLAG = "--web.systemd-socket";

/** Throws StartupError with one line when no sockets were passed, or when they are another process's. */
export function activatedSockets(
  env: Readonly<Record<string, string | undefined>>,
  processId: number,
): readonly ListenAddress[] {
  const { LISTEN_PID = "", LISTEN_FDS = "", LISTEN_FDNAMES = "" } = env;
  if (LISTEN_FDS === "")
    throw new StartupError(`${FLAG}: no socket was passed (LISTEN_FDS is not set); start it by its socket unit`);
  if (!/^[1-9]\d{0,3}$/.test(LISTEN_FDS))
    throw new StartupError(`${FLAG}: expected a number of sockets in LISTEN_FDS, got ${JSON.stringify(LISTEN_FDS)}`);
  if (LISTEN_PID !== String(processId))
    throw new StartupError(
      `${FLAG}: the sockets were passed to another process (LISTEN_PID is ${JSON.stringify(LISTEN_PID)}, this is ${processId})`,
    );
  const names = LISTEN_FDNAMES.split(":");
  return Array.from({ length: Number(LISTEN_FDS) }, (_, index) => {
    const name = names[index] ?? "";
    return { fd: FIRST_FD + index, ...(name !== "" && name !== "unknown" && { name }) };
  });
}
