import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { blobDigestOf, classify, mayBeServer } from "../../src/sources/processes/runners.ts";
import { recordedArguments } from "./proc-tree.ts";

const HEX = "ab".repeat(32);
const BLOB = `/root/.ollama/models/blobs/sha256-${HEX}`;
const words = (line: string): readonly string[] => line.split(" ");
const blobRunner = (port?: number, blobDigest = HEX) => ({
  role: "runner",
  model: { kind: "blob", blobDigest, ...(port !== undefined && { port }) },
});

/** llama.cpp's server, since 0.30. */
const llamaServer = (port?: number, blobDigest = HEX) => {
  const { role, model } = blobRunner(port, blobDigest);
  return { role, model: { ...model, hasEndpoints: true } };
};

describe("classify", () => {
  it.each([
    ["v0.24.0/runner-llama", blobRunner(36167, "b25382a5c54ab5ec151042f75c464884f9ba35d47936c9bd752491c492f73154")],
    [
      "v0.24.0/runner-ollama-engine",
      blobRunner(34359, "53228246f95f9afeb4179f53727b69a7498e18cb0cebde7539a14c288de6537f"),
    ],
    ["v0.24.0/server", { role: "server" }],
    [
      "v0.33.2/runner-llama-server-sha256-bbee37",
      llamaServer(38605, "bbee37afd1a311d9a2c34a78e3ef8ab88eebcae0e16df0a8e7684a0c444140ef"),
    ],
    [
      "v0.33.2/runner-llama-server-sha256-d4526a",
      llamaServer(43689, "d4526a01dd1b2a1b715d35f1ea93caa6c1c94056fdd11632be1ccb1d8326b1be"),
    ],
  ])("recognises the recording %s", (path, expected) => {
    expect(classify(recordedArguments(path))).toEqual(expected);
  });

  it.each([
    [
      `/tmp/ollama2839/runners/cuda_v11/ollama_llama_server --model ${BLOB} --ctx-size 8192 --parallel 4 --port 4001`,
      4001,
    ],
    [`/usr/bin/ollama runner --ollama-engine --model ${BLOB} --ctx-size 8192 --port 4002`, 4002],
    [`/usr/bin/ollama runner --model=${BLOB} --port=4003`, 4003],
    [`/nix/store/x-ollama-0.24/bin/.ollama-wrapped runner --model ${BLOB} --port 4004`, 4004],
    [`/opt/ollama-linux-amd64 runner --model ${BLOB} --port 4005`, 4005],
    [`/usr/bin/ollama runner --model /blobs/sha256:${HEX}`, undefined],
    [`/usr/bin/ollama runner --model ${BLOB} --port nonsense`, undefined],
    [`/usr/bin/ollama runner --model ${BLOB} --port 70000`, undefined],
    [`/usr/bin/ollama runner --model ${BLOB} --port 0`, undefined],
    [`/usr/bin/ollama runner --model ${BLOB} --port 1e3`, undefined],
    [`/usr/bin/ollama runner --model ${BLOB}`, undefined],
  ])("reads the blob and the port of %s", (line, port) => {
    expect(classify(words(line))).toEqual(blobRunner(port));
  });

  it.each([
    [`/usr/lib/ollama/llama-server --model ${BLOB} --port 4006 --host 127.0.0.1 -ngl 33`, 4006],
    [`llama-server --model ${BLOB} --port 4007 --no-webui --offline -c 4096`, 4007],
  ])("sees the endpoints of %s", (line, port) => {
    expect(classify(words(line))).toEqual(llamaServer(port));
  });

  it.each(["0.0.0.0", "::1", "localhost", "10.0.0.1"])("does not ask 127.0.0.1 for a runner on %s", (host) => {
    const line = `/usr/lib/ollama/llama-server --model ${BLOB} --port 4006 --host ${host}`;
    expect(classify(words(line))).toEqual(blobRunner(4006));
  });

  it.each(["--mlx-engine", "--image-engine", "--imagegen-engine"])("takes the model of %s as a name", (engine) => {
    const argv = words(`/usr/bin/ollama runner ${engine} --model qwen3:4b --port 4100`);
    expect(classify(argv)).toEqual({ role: "runner", model: { kind: "name", modelName: "qwen3:4b", port: 4100 } });
  });

  it.each([
    `/models/own.gguf`,
    `${BLOB}f`,
    `/blobs/sha256-${HEX.slice(1)}`,
    `/blobs/sha256-${HEX.toUpperCase()}`,
    BLOB + "/x",
    "",
  ])("leaves the model open when --model is %j", (model) => {
    const argv = ["/usr/bin/ollama", "runner", "--model", model, "--port", "5"];
    expect(classify(argv)).toEqual({ role: "runner", model: { kind: "unknown", port: 5 } });
  });

  it.each([
    "/usr/lib/ollama/llama-server --port 4200 --host 127.0.0.1 --no-webui --offline --verbose",
    "llama-server --list-devices --offline --verbose --no-webui",
    "/usr/lib/ollama/llama-server --list-devices --offline --verbose",
    "/usr/bin/ollama gpu-discover --lib-dir /usr/lib/ollama",
    "/usr/bin/ollama runner --ollama-engine --port 4201",
    "/usr/bin/ollama runner --port 4202",
    "/usr/bin/ollama runner --port 4202 --model",
  ])("takes %s for a discovery", (line) => {
    expect(classify(words(line))).toEqual({ role: "discovery" });
  });

  it.each(["ollama serve", "/usr/local/bin/ollama start", "/bin/.ollama-wrapped serve", "./ollama-linux-arm64 serve"])(
    "takes %s for a server",
    (line) => {
      expect(classify(words(line))).toEqual({ role: "server" });
    },
  );

  it.each([
    `/opt/llama.cpp/build/bin/llama-server --model ${BLOB} --port 8080`,
    "llama-server -m own.gguf --offline",
    "llama-server -m own.gguf --no-webui",
    "/home/ollama/llama.cpp/llama-server -m own.gguf",
    `sh -c ollama runner --model ${BLOB}`,
    `grep ollama runner --model ${BLOB}`,
    `ollama runner --model ${BLOB}`.replaceAll(" ", "_"),
    "ollama run llama3.2",
    "ollama pull runner",
    "ollama",
    "ollama-webui serve",
    "ollama-gpu-exporter serve",
    "python3 /usr/lib/ollama/llama-server --model x",
    `vllm serve --model ${BLOB}`,
    "",
  ])("does not take %j for a process of Ollama", (line) => {
    expect(classify(words(line))).toBeUndefined();
  });

  it("asks for the executable only where the arguments leave a llama-server open", () => {
    const inOllama = () => "/usr/lib/ollama/llama-server (deleted)";
    const neverAsked = () => {
      throw new Error("asked");
    };
    expect(classify(["llama-server", "--model", BLOB], inOllama)).toEqual(llamaServer());
    expect(classify(["llama-server", "--model", BLOB], () => "/opt/llama-server")).toBeUndefined();
    expect(classify(["/usr/lib/ollama/llama-server", "--model", BLOB], neverAsked)).toEqual(llamaServer());
    expect(classify(["python3", "llama-server"], neverAsked)).toBeUndefined();
  });

  it("survives any arguments", () => {
    const argument = fc.oneof(
      fc.string(),
      fc.constantFrom("runner", "serve", "--model", "--port", "llama-server", "ollama"),
    );
    fc.assert(
      fc.property(fc.array(argument), (argv) => {
        expect(["server", "discovery", "runner", undefined]).toContain(classify(argv)?.role);
      }),
    );
  });

  it("finds the digest whatever stands around --model", () => {
    const other = fc.string().filter((text) => !text.startsWith("--model"));
    fc.assert(
      fc.property(fc.array(other), fc.array(other), fc.stringMatching(/^[0-9a-f]{64}$/), (before, after, hex) => {
        const argv = ["/usr/bin/ollama", "runner", ...before, "--model", `/blobs/sha256-${hex}`, ...after];
        expect(classify(argv)).toMatchObject({ model: { kind: "blob", blobDigest: hex } });
      }),
    );
  });
});

describe("mayBeServer", () => {
  it.each([
    ["/usr/bin/ollama", true],
    ["/opt/renamed serve", true],
    ["/opt/ollama-custom", true],
    ["/usr/bin/python3 app.py", false],
    ["", false],
  ])("judges %j as %s", (line, expected) => {
    expect(mayBeServer(words(line))).toBe(expected);
  });
});

describe("blobDigestOf", () => {
  it("reads only the last part of the path", () => {
    expect(blobDigestOf(BLOB)).toBe(HEX);
    expect(blobDigestOf(`/blobs/sha256-${HEX}/model.gguf`)).toBeUndefined();
  });
});
