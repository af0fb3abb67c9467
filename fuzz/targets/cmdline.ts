/** Command lines of other people's processes: /proc/PID/cmdline as bytes. */
import { splitArguments } from "../../src/sources/processes/procfs-formats.ts";
import { blobDigestOf, classify, mayBeServer } from "../../src/sources/processes/runners.ts";
import { captures, texts } from "../captures.ts";
import { must, mustBeText, type Target } from "../target.ts";

const BLOB = `/usr/share/ollama/.ollama/models/blobs/sha256-${"ab".repeat(32)}`;

export const target: Target = {
  seeds: () => [
    ...captures(/\.cmdline$/),
    ...texts(
      "ollama\0serve\0",
      "/usr/bin/.ollama-wrapped\0start\0",
      `/tmp/ollama1/runners/cuda_v12/ollama_llama_server\0--model\0${BLOB}\0--port\x0034567\0`,
      `/usr/local/bin/ollama\0runner\0--ollama-engine\0--model=${BLOB}\0--port=34567\0`,
      "/usr/local/bin/ollama\0runner\0--mlx-engine\0--model\0gpt-oss:20b\0--port\x001\0",
      `/usr/local/lib/ollama/llama-server\0--model\0${BLOB}\0--port\x0080\0--no-webui\0--offline\0`,
      "ollama\0gpu-discover\0",
    ),
  ],
  maxBytes: 65_536, // as much as is read of one
  check: (input) => {
    const argv = splitArguments(input.toString());
    const joined = argv.join("\0");
    must([joined, `${joined}\0`].includes(input.toString()), "the arguments are not those of the command line");
    let asked = 0;
    const role = classify(argv, () => {
      asked += 1;
      return "/usr/local/lib/ollama/llama-server";
    });
    must(asked === 0 || /(?:^|\/)llama-server\/*$/.test(argv[0] ?? ""), "asks for the executable of any process");
    must(typeof mayBeServer(argv) === "boolean", "no answer");
    if (role?.role !== "runner") return;
    const { kind, blobDigest, modelName, port } = role.model;
    must((kind === "blob") === (blobDigest !== undefined), "a blob without digest");
    must(blobDigest === undefined || /^[0-9a-f]{64}$/.test(blobDigest), "no digest");
    must(blobDigest === undefined || argv.some((word) => blobDigestOf(word) === blobDigest), "a digest of nowhere");
    must((kind === "name") === (modelName !== undefined && modelName !== ""), "a name that is none");
    mustBeText(modelName, "the model's name");
    must(port === undefined || (Number.isInteger(port) && port > 0 && port <= 65_535), `port ${port}`);
  },
};
