/** What the recording rules derive, by a real promtool. */
import { expect, it } from "@jest/globals";
import { run } from "../support/tool-run.ts";
import { tool } from "../support/real-tools.ts";

it("promtool derives tokens, energy and cold models as computed by hand", () => {
  const { status, output } = run(tool("promtool"), ["test", "rules", "deploy/prometheus/tests/recording.test.yml"]);
  expect([status, output]).toEqual([0, expect.stringContaining("SUCCESS")]);
});
