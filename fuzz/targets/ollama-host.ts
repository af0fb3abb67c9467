/** OLLAMA_HOST and --ollama.host. */
import { parseOllamaHost, parseServer } from "../../src/sources/ollama/host.ts";
import { texts } from "../captures.ts";
import { must, mustBeText, type Target } from "../target.ts";

const NAMED = /^[^=:/"']+=(.*)$/s;

export const target: Target = {
  seeds: () =>
    texts(
      ...["", "1.2.3.4", ":1234", "example.com:1234", "[::1]:1337", "::1", ' " 1.2.3.4 " ', "ollama.com"],
      ...["http://1.2.3.4", "https://example.com/ollama/", "big=http://10.0.0.8:11434", "unix:///run/ollama.sock"],
      ...["http://user:secret@host:1", "0.0.0.0:1", "[fe80::1%eth0]:1", "localhost", "ftp://x", ":66000"],
    ),
  check: (input) => {
    const text = input.toString();
    const parsed = parseOllamaHost(text);
    must(Number.isInteger(parsed.port) && parsed.port >= 0 && parsed.port <= 65_535, `port ${parsed.port}`);
    must(parsed.path === "" || /^\/.*[^/]$/s.test(parsed.path), "a path that is none");
    let server;
    try {
      server = parseServer(text, new Set(["10.0.0.7"]));
    } catch (error) {
      // Refused: in one sentence, and without what may be a password.
      must(error instanceof Error && error.constructor === Error && error.message !== "", "no reason");
      const url = NAMED.exec(text)?.[1] ?? text;
      const mayHavePassword = url.includes("@") && !url.trim().startsWith("unix:");
      must(!mayHavePassword || !error.message.includes("secret"), "a password in a message");
      return;
    }
    const { identity, baseUrl, socketPath } = server;
    mustBeText(identity.server, "the label");
    must(identity.server !== "", "an empty label");
    const url = new URL(baseUrl);
    must(url.username === "" && url.password === "" && url.search === "" && url.hash === "", "more than host and path");
    if (socketPath !== undefined) return;
    must(["http:", "https:"].includes(url.protocol), "another scheme");
    must(portOf(url) === identity.port, "another port is asked");
    must(!baseUrl.endsWith("/"), "a slash at the end");
    const again = parseServer(baseUrl, new Set(["10.0.0.7"]));
    must(again.baseUrl === baseUrl && again.identity.local === identity.local, "it does not read its own form");
  },
};

const portOf = ({ port, protocol }: URL): number => (port === "" ? (protocol === "https:" ? 443 : 80) : Number(port));
