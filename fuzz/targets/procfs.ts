/** Files of other people's processes: every parser gets every input. */
import {
  parseBootTime,
  parseContainerId,
  parseListeners,
  parsePasswd,
  parseSocketLink,
  parseStat,
  parseStatus,
} from "../../src/sources/processes/procfs-formats.ts";
import { captures, texts } from "../captures.ts";
import { must, mustBeText, mustCount, type Target } from "../target.ts";

const ID = "0123456789abcdef".repeat(4);

export const target: Target = {
  seeds: () => [
    ...captures(/\.(?:stat|status|comm)$/),
    ...texts(
      `0::/system.slice/docker-${ID}.scope\n`,
      `12:memory:/docker/${ID}\n11:cpu:/docker/${ID}\n`,
      `0::/kubepods-pod1_2.slice:cri-containerd:${ID}\n`,
      `0::/machine.slice/libpod-${ID}.scope/container\n`,
      "  sl  local_address\n   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1\n",
      "   1: 00000000000000000000000001000000:2CAA 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 78 1\n",
      "cpu  1 2 3\nbtime 1700000000\n",
      "root:x:0:0::/:/bin/sh\nollama:x:998:998\n",
      "socket:[123]",
    ),
  ],
  maxBytes: 65_536, // as much as is read of one
  check: (input) => {
    const text = input.toString();
    const stat = parseStat(text);
    mustBeText(stat?.comm, "comm");
    for (const [key, value] of Object.entries(stat ?? {}))
      if (typeof value === "number") mustCount(value, `stat ${key}`);
    must(stat === undefined || text.includes(`(${stat.comm})`), "a name of nowhere");
    const { namespacePids, ...status } = parseStatus(text);
    for (const [key, value] of Object.entries(status)) mustCount(value, `status ${key}`);
    for (const pid of namespacePids) mustCount(pid, "NSpid");
    must(/^(?:[0-9a-f]{12})?$/.test(parseContainerId(text)), "a container id that is none");
    for (const [inode, port] of parseListeners(text))
      must(/^\d+$/.test(inode) && Number.isInteger(port) && port >= 0 && port <= 65_535, "no listening socket");
    must(/^\d+$/.test(parseSocketLink(text) ?? "0"), "no inode");
    mustCount(parseBootTime(text), "btime");
    for (const [uid, name] of parsePasswd(text)) {
      mustCount(uid, "uid");
      must(name !== "" && !/[:\n]/.test(name), "no account's name");
    }
  },
};
