import { describe, expect, it } from "@jest/globals";
import { parse } from "yaml";
import { text } from "../support/tool-run.ts";

const NAME = "LLAMA_ARG_ENDPOINT_METRICS";

describe("deploy/ollama", () => {
  it("switches request metrics on by the same variable everywhere", () => {
    expect(text("deploy/ollama/ollama.service.d/metrics.conf")).toBe(`[Service]\nEnvironment=${NAME}=1\n`);
    expect(parse(text("deploy/ollama/compose.yaml"))).toEqual({ services: { ollama: { environment: { [NAME]: "1" } } } });
    expect(parse(text("deploy/ollama/helm-values.yaml"))).toEqual({ extraEnv: [{ name: NAME, value: "1" }] });
  });

  it("is what README and runbook say in one line", () => {
    for (const path of ["README.md", "deploy/ollama/README.md", "docs/runbooks/OllamaRequestMetricsOff.md"])
      expect([path, text(path).split("\n").some((line) => line.includes(`${NAME}=1`))]).toEqual([path, true]);
  });
});
