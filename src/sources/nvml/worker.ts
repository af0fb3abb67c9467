/**
 * Entry of the forked child that holds the driver library. It reads when asked and ends with its parent: between two
 * readings because the channel closes, inside a hanging call because the kernel kills it.
 */
import { messageOf } from "../../errors.ts";
import { RC } from "./abi.ts";
import { NvmlFault } from "./faults.ts";
import { dieWithParent, NvmlLibrary } from "./library.ts";
import type { ReadRequest, WorkerReply } from "./protocol.ts";
import { NvmlSession } from "./session.ts";

let session: NvmlSession | undefined;

dieWithParent();
// A terminal and systemd signal the whole group; the parent decides when this process ends.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
process.on("message", (request: ReadRequest) => {
  // The parent died before dieWithParent: the kernel has told nobody, and a hanging call would never end.
  if (process.ppid !== request.parentPid) {
    process.disconnect();
    return;
  }
  const reply = answer(request);
  process.send?.(reply, () => {
    if (endsWorker(reply)) process.disconnect();
  });
});

function answer(request: ReadRequest): WorkerReply {
  const { id, library } = request;
  try {
    session ??= start(new NvmlLibrary(library), request);
  } catch (error) {
    return { id, type: "unloadable", reason: messageOf(error) };
  }
  try {
    return { id, type: "reading", reading: session.read() };
  } catch (error) {
    if (error instanceof NvmlFault) return { id, type: "fault", function: error.function, code: error.code };
    return { id, type: "error", reason: messageOf(error) };
  }
}

function start(library: NvmlLibrary, { energyIntervalMs, ...options }: ReadRequest): NvmlSession {
  const started = new NvmlSession(library, { ...options, samplesEnergy: energyIntervalMs > 0 });
  if (energyIntervalMs > 0) {
    setInterval(() => {
      started.sampleEnergy();
    }, energyIntervalMs).unref();
  }
  return started;
}

/** Without a library there is nothing to hold; a library that was replaced under us must be loaded by a new process. */
function endsWorker(reply: WorkerReply): boolean {
  return reply.type === "unloadable" || (reply.type === "fault" && reply.code === RC.libRmVersionMismatch);
}
