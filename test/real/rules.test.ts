/** Rules and their tests through promtool: that they hold, and that a wrong threshold would not get through. */
import { afterAll, describe, expect, it } from "@jest/globals";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { alertGroups, ruleFiles, ruleTests, TEST_SETTING } from "../../grafana/src/rules/files.ts";
import { type AlertRow, readValues, type Values } from "../../grafana/src/rules/rule.ts";
import { snapshotFamilies } from "../../src/families/build.ts";
import { conditionsOf } from "../../src/outputs/status/conditions.ts";
import { renderFamilies } from "../../src/outputs/prometheus/render.ts";
import type { Snapshot } from "../../src/snapshot.ts";
import { CONDITION_CASES, snapshotOf } from "../support/condition-cases.ts";
import { parseExposition } from "../support/prometheus-series.ts";
import { tool } from "../support/real-tools.ts";
import { ROOT, type Run, run } from "../support/tool-run.ts";

const promtool = (...args: readonly string[]): Run => run(tool("promtool"), args);
const RULES = join(ROOT, "deploy/prometheus/rules");
const VALUES = readValues();
const THRESHOLDS = Object.entries(VALUES).filter((entry): entry is [keyof Values, number] => Number.isFinite(entry[1]));
const alertsOf = (values: Values): readonly AlertRow[] => alertGroups(values).flatMap(({ alerts }) => alerts);
const ALERTS = alertsOf(VALUES);

const folder = mkdtempSync(join(tmpdir(), "real-rules-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** promtool over rules and tests that are not the committed ones. */
function tested(rules: Readonly<Record<string, string>>, tests: string): Run {
  for (const name of ["rules", "tests"]) mkdirSync(join(folder, name), { recursive: true });
  for (const [name, text] of Object.entries(rules)) writeFileSync(join(folder, "rules", name), text);
  writeFileSync(join(folder, "tests/alerts.test.yml"), tests);
  return promtool("test", "rules", join(folder, "tests/alerts.test.yml"));
}

/** Those alerts and the recording rules. */
function only(rows: readonly AlertRow[], files: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const names = rows.map(({ name }) => name);
  const entries = Object.entries(files).map(([file, text]) => {
    const { groups } = parse(text) as { groups: { rules: { alert?: string }[] }[] };
    const kept = groups.map((group) => ({
      ...group,
      rules: group.rules.filter(({ alert }) => alert === undefined || names.includes(alert)),
    }));
    return [file, stringify({ groups: kept })] as const;
  });
  return Object.fromEntries(entries);
}

describe("the rules as committed", () => {
  it("are accepted by promtool with every lint on", () => {
    const files = readdirSync(RULES).map((name) => join(RULES, name));
    const { status, output } = promtool("check", "rules", "--lint=all", "--lint-fatal", ...files);
    expect([status, output.match(/SUCCESS/g)?.length, output]).toEqual([0, 4, output]);
  });

  it("fire when they should, and do not when they should not", () => {
    const { status, output } = promtool("test", "rules", "deploy/prometheus/tests/alerts.test.yml");
    expect([status, output]).toEqual([0, expect.stringContaining("SUCCESS")]);
  });
});

describe("the tests of the rules", () => {
  /** A tenth more or less; of a small count one and a half. */
  const moved = (value: number, sign: 1 | -1): number =>
    Number.isInteger(value) && value < 20 ? value + 1.5 * sign : value * (1 + sign / 10);

  it.each(THRESHOLDS.flatMap(([name, value]) => [[name, moved(value, 1)] as const, [name, moved(value, -1)] as const]))(
    "fail for every alert that uses %s when it is %d",
    (name, value) => {
      const changed = { ...VALUES, [name]: value };
      const users = alertsOf(changed).filter(({ expr }, index) => expr !== ALERTS[index]?.expr);
      expect(users.length).toBeGreaterThan(0);
      const original = ALERTS.filter((row) => users.some((user) => user.name === row.name));
      const { status, output } = tested(only(original, ruleFiles(changed)), ruleTests(original));
      expect(status).toBe(1);
      for (const user of users) expect(output).toContain(`alertname=\\"${user.name}\\"`);
    },
  );

  it.each([
    ["longer", 1],
    ["shorter", -1],
  ] as const)("fail for every alert whose `for` is a minute %s", (_, minutes) => {
    const withOther = (text: string): string =>
      text.replaceAll(/ for: (\d+)([mh])$/gm, (_line, count: string, unit: string) => {
        return ` for: ${Number(count) * (unit === "h" ? 60 : 1) + minutes}m`;
      });
    const rules = Object.entries(ruleFiles()).map(([name, text]) => [name, withOther(text)]);
    const { output } = tested(Object.fromEntries(rules) as Record<string, string>, ruleTests());
    const waiting = ALERTS.filter((row) => row.for !== "0s").map(({ name }) => name);
    expect(waiting.filter((name) => !output.includes(`alertname=\\"${name}\\"`))).toEqual([]);
  });
});

/** Holds in one minute of promtool's clock if the alerts whose expression is true are these, however long they wait. */
async function activeTest(snapshot: Snapshot, names: readonly string[]): Promise<object> {
  const series = parseExposition(await renderFamilies(snapshotFamilies(snapshot), "text"));
  const offline = CONDITION_CASES.map(({ name }) => name).join("|");
  return {
    interval: "1m",
    input_series: [...series].map(([key, value]) => {
      const [name = "", labels = ""] = key.split("{");
      return {
        series: `${name}{job="ollama-gpu",instance="h"${labels === "}" ? "" : ","}${labels}`,
        values: `${value}x2`,
      };
    }),
    promql_expr_test: [
      {
        expr: `count by (alertname) (ALERTS{alertname=~"${offline}"})`,
        eval_time: "1m",
        exp_samples: names.map((name) => ({ labels: `{alertname="${name}"}`, value: 1 })),
      },
    ],
  };
}

it("says of a snapshot by conditions what the alerts say of its metrics, in every case of one or the other", async () => {
  const cases = CONDITION_CASES.flatMap(({ name, holds, calm }) => [
    { name, snapshot: snapshotOf(holds) },
    { name: `no ${name}`, snapshot: snapshotOf(calm) },
  ]);
  const tests = cases.map(async ({ name, snapshot }) => ({
    name,
    ...(await activeTest(
      snapshot,
      conditionsOf(snapshot).map((condition) => condition.name),
    )),
  }));
  const { output } = tested(ruleFiles(), stringify({ ...TEST_SETTING, tests: await Promise.all(tests) }));
  expect(output).toContain("SUCCESS");
});
