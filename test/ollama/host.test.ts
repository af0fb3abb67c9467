import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { parseOllamaHost, parseServer } from "../../src/sources/ollama/host.ts";

const urlOf = (text: string): string => {
  const { scheme, host, port, path } = parseOllamaHost(text);
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}${path}`;
};

describe("OLLAMA_HOST", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["", "http://127.0.0.1:11434"],
    ["1.2.3.4", "http://1.2.3.4:11434"],
    [":1234", "http://:1234"],
    ["1.2.3.4:1234", "http://1.2.3.4:1234"],
    ["example.com", "http://example.com:11434"],
    ["example.com:1234", "http://example.com:1234"],
    [":0", "http://:0"],
    [":66000", "http://:11434"],
    [":-1", "http://:11434"],
    ["[::1]", "http://[::1]:11434"],
    ["[::]", "http://[::]:11434"],
    ["::1", "http://[::1]:11434"],
    ["[::1]:1337", "http://[::1]:1337"],
    [" 1.2.3.4 ", "http://1.2.3.4:11434"],
    ['"1.2.3.4"', "http://1.2.3.4:11434"],
    [' " 1.2.3.4 " ', "http://1.2.3.4:11434"],
    ["'1.2.3.4'", "http://1.2.3.4:11434"],
    ["http://1.2.3.4", "http://1.2.3.4:80"],
    ["http://1.2.3.4:4321", "http://1.2.3.4:4321"],
    ["https://1.2.3.4", "https://1.2.3.4:443"],
    ["https://1.2.3.4:4321", "https://1.2.3.4:4321"],
    ["https://example.com/ollama", "https://example.com:443/ollama"],
    ["ollama.com", "https://ollama.com:443"],
  ];
  it.each(cases)("reads %p as %p, as Ollama does", (text, expected) => {
    expect(urlOf(text)).toBe(expected);
  });

  it("never throws, and always gives a usable port", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const { port } = parseOllamaHost(text);
        expect(Number.isInteger(port) && port >= 0 && port <= 65_535).toBe(true);
      }),
    );
  });
});

describe("a server of the configuration", () => {
  const labels: readonly (readonly [string, string, boolean])[] = [
    ["", "127.0.0.1:11434", true],
    ["0.0.0.0", "127.0.0.1:11434", true],
    ["[::]:1234", "[::1]:1234", true],
    [":1234", "127.0.0.1:1234", true],
    ["localhost", "localhost:11434", true],
    ["10.0.0.7", "10.0.0.7:11434", true],
    ["10.0.0.8", "10.0.0.8:11434", false],
    ["ollama:11434", "ollama:11434", false],
    ["https://x/ollama", "x:443", false],
    ["big=http://10.0.0.8:11434", "big", false],
    ["unix:/run/ollama.sock", "unix:/run/ollama.sock", true],
    ["unix:///run/ollama.sock", "unix:/run/ollama.sock", true],
  ];
  it.each(labels)("labels %p as %p, on this host: %p", (value, server, local) => {
    expect(parseServer(value, new Set(["10.0.0.7"])).identity).toMatchObject({ server, local });
  });

  it("keeps the path of a reverse proxy", () => {
    expect(parseServer("https://x/ollama/", new Set()).baseUrl).toBe("https://x:443/ollama");
  });

  it.each([
    ["http://user:secret@x", "credentials"],
    ["ftp://x", "scheme"],
    ["unix:relative", "names no socket"],
    ["a b", "is no host"],
  ])("refuses %p and says why", (value, reason) => {
    expect(() => parseServer(value, new Set())).toThrow(reason);
    expect(() => parseServer(value, new Set())).not.toThrow("secret");
  });
});
