import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import {
  parseBootTime,
  parseContainerId,
  parseListeners,
  parsePasswd,
  parseSocketLink,
  parseStat,
  parseStatus,
  splitArguments,
} from "../../src/sources/processes/procfs-formats.ts";
import { recorded, socketRow } from "./proc-tree.ts";

const ID = "0123456789abcdef".repeat(4);
const OUTER = "f".repeat(64);

describe("parseStat", () => {
  it("reads the recorded runner", () => {
    expect(parseStat(recorded("v0.24.0/runner-llama.stat"))).toEqual({
      comm: "ollama",
      state: "S",
      parentPid: 21920,
      session: 21920,
      cpuTicks: 148,
      startTicks: 116223,
    });
  });

  it("finds the fields behind any name", () => {
    const fields = " R 7 8 9 0 -1 0 0 0 0 0 11 22 0 0 20 0 1 0 33 0 0";
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.constantFrom("a b", "x) S 1 (y", "))", "(")), (comm) => {
        expect(parseStat(`5 (${comm})${fields}`)).toEqual({
          comm,
          state: "R",
          parentPid: 7,
          session: 9,
          cpuTicks: 33,
          startTicks: 33,
        });
      }),
    );
  });

  it.each(["", "12 (x) S", "12 x S 1 2 3", ")(", "12 (x) S 1 2 3 four -1 0 0 0 0 0 a b 0 0 20 0 1 0 33"])(
    "gives nothing for %j",
    (text) => {
      expect(parseStat(text)).toBeUndefined();
    },
  );
});

describe("parseStatus", () => {
  it("reads the recorded runner", () => {
    expect(parseStatus(recorded("v0.24.0/runner-ollama-engine.status"))).toEqual({
      parentPid: 21920,
      uid: 0,
      namespacePids: [26221],
      residentBytes: 74088 * 1024,
    });
  });

  it("loses only what is missing or garbled", () => {
    expect(parseStatus("Uid:\tx\t0\nNSpid:\t900\t1\n")).toEqual({ namespacePids: [900, 1] });
    expect(parseStatus("")).toEqual({ namespacePids: [] });
  });
});

describe("parseContainerId", () => {
  it.each([
    ["Docker, cgroupfs", `12:memory:/docker/${ID}\n11:cpu:/docker/${ID}\n`],
    ["Docker, systemd", `0::/system.slice/docker-${ID}.scope\n`],
    ["Docker seen from another cgroup namespace", `0::/../../docker-${ID}.scope\n`],
    ["Docker in Docker", `0::/docker/${OUTER}/docker/${ID}\n`],
    ["a child group of the container", `0::/system.slice/docker-${ID}.scope/init\n`],
    ["containerd", `0::/kubepods.slice/kubepods-burstable-pod1_2.slice/cri-containerd-${ID}.scope\n`],
    ["containerd, colons", `0::/kubepods-pod1_2.slice:cri-containerd:${ID}\n`],
    ["CRI-O", `0::/kubepods.slice/kubepods-pod1_2.slice/crio-${ID}.scope\n`],
    ["Kubernetes, cgroupfs", `4:cpu:/kubepods/besteffort/pod7c9f2a/${ID}\n`],
    ["Podman", `0::/machine.slice/libpod-${ID}.scope/container\n`],
    ["a hybrid hierarchy", `1:name=systemd:/\n0::/\n3:pids:/docker/${ID}\n`],
  ])("finds the innermost container of %s", (_, text) => {
    expect(parseContainerId(text)).toBe("0123456789ab");
  });

  it.each([
    "",
    "0::/\n",
    "0::/system.slice/ollama.service\n",
    `0::/docker/${ID}0\n`,
    `0::/x/libpod-conmon-${ID}.scope\n`,
  ])("finds none in %j", (text) => {
    expect(parseContainerId(text)).toBe("");
  });
});

describe("parseListeners", () => {
  it("keeps listening sockets of both families only", () => {
    const six =
      "   1: 00000000000000000000000000000000:2CAA 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 78 1";
    const table = ["  sl  local_address", socketRow("77", 11434, "0A"), socketRow("79", 9000, "01"), six, ""].join(
      "\n",
    );
    expect([...parseListeners(table)]).toEqual([
      ["77", 11434],
      ["78", 11434],
    ]);
  });
});

describe("the small formats", () => {
  it("reads socket links, the boot time and the first name of an account", () => {
    expect(parseSocketLink("socket:[123]")).toBe("123");
    expect(parseSocketLink("pipe:[123]")).toBeUndefined();
    expect(parseBootTime("cpu 1\nbtime 1700000000\n")).toBe(1_700_000_000);
    expect([...parsePasswd("root:x:0:0::/:/bin/sh\ntoor:x:0:0\nbroken\n:x:5:5\nollama:x:998:998\n")]).toEqual([
      [0, "root"],
      [998, "ollama"],
    ]);
  });

  it("splits arguments at NULs and keeps empty ones", () => {
    const argument = fc.string().map((text) => text.replaceAll("\0", ""));
    fc.assert(
      fc.property(fc.array(argument, { minLength: 1 }), (argv) => {
        expect(splitArguments(argv.map((text) => `${text}\0`).join(""))).toEqual(argv);
      }),
    );
    expect(splitArguments("")).toEqual([]);
  });

  it("never throws on garbage", () => {
    const parsers = [
      parseStat,
      parseStatus,
      parseContainerId,
      parseListeners,
      parseSocketLink,
      parseBootTime,
      parsePasswd,
    ];
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const parse of parsers) expect(() => parse(text)).not.toThrow();
      }),
    );
  });
});
