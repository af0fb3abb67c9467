import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkWebConfig } from "../../src/outputs/http/web-config/web-config.ts";
import { WEB_CONFIG_FILES, writeCertificates } from "../support/web-config-files.ts";

describe("web configuration files as they are found in the wild", () => {
  const folder = mkdtempSync(join(tmpdir(), "web-config-files-"));
  const file = join(folder, "web-config.yml");
  beforeAll(() => {
    writeCertificates(folder);
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it.each(WEB_CONFIG_FILES.filter(({ problem }) => problem === undefined))("can be used: $name", ({ source }) => {
    writeFileSync(file, source);
    expect(checkWebConfig(file)).toEqual([]);
  });

  it.each(WEB_CONFIG_FILES.filter(({ problem }) => problem !== undefined))(
    "is refused with one problem and no secret: $name",
    ({ source, problem = "" }) => {
      writeFileSync(file, source);
      const problems = checkWebConfig(file);
      expect(problems).toEqual([expect.stringContaining(problem)]);
      expect(problems[0]).toMatch(new RegExp(`^${file}(:\\d+)?: `));
      expect(problems.join()).not.toMatch(/hunter2|\$2[aby]\$|PRIVATE KEY/);
    },
  );
});
