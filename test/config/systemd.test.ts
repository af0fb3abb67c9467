import { describe, expect, it } from "@jest/globals";
import { loadConfig } from "../../src/config/load.ts";
import { activatedSockets } from "../../src/config/systemd.ts";
import { StartupError } from "../../src/errors.ts";

describe("sockets that systemd has opened", () => {
  it("begin at descriptor 3, with their names", () => {
    const env = { LISTEN_PID: "42", LISTEN_FDS: "3", LISTEN_FDNAMES: "metrics:unknown:" };
    expect(activatedSockets(env, 42)).toEqual([{ fd: 3, name: "metrics" }, { fd: 4 }, { fd: 5 }]);
    expect(activatedSockets({ LISTEN_PID: "42", LISTEN_FDS: "1" }, 42)).toEqual([{ fd: 3 }]);
  });

  it.each([
    [{}, "no socket was passed (LISTEN_FDS is not set)"],
    [{ LISTEN_PID: "42" }, "no socket was passed (LISTEN_FDS is not set)"],
    [{ LISTEN_PID: "42", LISTEN_FDS: "0" }, 'expected a number of sockets in LISTEN_FDS, got "0"'],
    [{ LISTEN_PID: "42", LISTEN_FDS: "-1" }, 'expected a number of sockets in LISTEN_FDS, got "-1"'],
    [{ LISTEN_PID: "42", LISTEN_FDS: "1e9" }, 'expected a number of sockets in LISTEN_FDS, got "1e9"'],
    [{ LISTEN_PID: "42", LISTEN_FDS: "99999" }, "expected a number of sockets in LISTEN_FDS"],
    [{ LISTEN_FDS: "1" }, 'the sockets were passed to another process (LISTEN_PID is "", this is 42)'],
    [
      { LISTEN_PID: "43", LISTEN_FDS: "1" },
      'the sockets were passed to another process (LISTEN_PID is "43", this is 42)',
    ],
    [{ LISTEN_PID: "42 ", LISTEN_FDS: "1" }, "the sockets were passed to another process"],
  ])("are refused with one line in %j", (env, message) => {
    const taking = () => activatedSockets(env, 42);
    expect(taking).toThrow(StartupError);
    expect(taking).toThrow(`--web.systemd-socket: ${message}`);
  });

  const env = { LISTEN_PID: "42", LISTEN_FDS: "1" };
  const listening = (argv: readonly string[], given: Record<string, string> = env) =>
    loadConfig({ argv, env: given, processId: 42 }).config.web.listenAddresses;

  it("take the place of the listen addresses, by flag or environment, and only where asked for", () => {
    expect(listening(["--web.systemd-socket", "--web.listen-address=:1"])).toEqual([{ fd: 3 }]);
    expect(listening([], { ...env, OLLAMA_GPU_EXPORTER_WEB_SYSTEMD_SOCKET: "true" })).toEqual([{ fd: 3 }]);
    expect(listening(["--web.listen-address=:1"])).toEqual([{ port: 1 }]);
  });

  it("are of no interest to commands that do not listen", () => {
    expect(listening(["check-config", "--web.systemd-socket"], {})).toEqual([{ port: 9434 }]);
    expect(listening(["status", "--web.systemd-socket"], {})).toEqual([{ port: 9434 }]);
    expect(() => listening(["--web.systemd-socket"], {})).toThrow(StartupError);
  });
});
