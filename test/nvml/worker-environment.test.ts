import { describe, expect, it } from "@jest/globals";
import { workerEnvironment } from "../../src/sources/nvml/worker-environment.ts";

describe("the environment of the driver's process", () => {
  it.each([
    ["OLLAMA_GPU_EXPORTER_OLLAMA_HEADER", "Authorization: Bearer x"],
    ["OLLAMA_GPU_EXPORTER_OTLP_ENDPOINT", "http://x"],
    ["OLLAMA_HOST", "x"],
    ["OTEL_EXPORTER_OTLP_HEADERS", "a=b"],
    ["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=b"],
    ["OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"],
    ["HTTPS_PROXY", "http://proxy"],
    ["http_proxy", "http://proxy"],
    ["grpc_proxy", "http://proxy"],
    ["NODE_OPTIONS", "--inspect"],
    ["npm_config__authToken", "x"],
    ["GITHUB_TOKEN", "x"],
    ["AWS_SECRET_ACCESS_KEY", "x"],
    ["AWS_ACCESS_KEY_ID", "x"],
    ["GOOGLE_APPLICATION_CREDENTIALS", "/x"],
    ["PGPASSWORD", "x"],
    ["API_KEY", "x"],
    ["SENTRY_DSN", "x"],
    ["DATABASE_URL", "postgres://user:secret@host/db"],
    ["ANYTHING", "see https://token@host/"],
  ])("has no %s", (name, value) => {
    expect(workerEnvironment({ [name]: value })).toEqual({});
  });

  it.each([
    "PATH",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "CUDA_DEVICE_ORDER",
    "HOME",
    "LANG",
    "TZ",
    "TMPDIR",
    "FAKE_NVML_SCENARIO",
    "ANY_NAME_OF_A_DRIVER",
  ])("has %s, which a driver or a layer over it may read", (name) => {
    expect(workerEnvironment({ [name]: "/x:1" })).toEqual({ [name]: "/x:1" });
  });

  it("has nothing of a variable that is not set", () => {
    expect(workerEnvironment({ PATH: undefined })).toEqual({});
  });
});
