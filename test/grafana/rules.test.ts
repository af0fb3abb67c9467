import { describe, expect, it } from "@jest/globals";
import { alertGroups, ruleFiles, ruleTests } from "../../grafana/src/rules/files.ts";
import { readValues, type Values } from "../../grafana/src/rules/rule.ts";

const VALUES = readValues();
const ALERTS = alertGroups().flatMap(({ alerts }) => alerts);
const THRESHOLDS = Object.entries(VALUES).filter((entry): entry is [keyof Values, number] => Number.isFinite(entry[1]));
/** Events with a window of their own: waiting would only make them late. */
const AT_ONCE = ["GpuXidCritical", "GpuXidApplication"];
/** These compare or sum over boards, so a board's number has no place in them. */
const PER_HOST = ["GpuVanished"];

describe("every alert", () => {
  it("waits before it fires, but for events", () => {
    const waiting = ALERTS.filter(({ for: wait }) => /^[1-9]\d*[mh]$/.test(wait)).map(({ name }) => name);
    expect(ALERTS.map(({ name }) => name).filter((name) => !waiting.includes(name))).toEqual(AT_ONCE);
    for (const rules of Object.values(ruleFiles()))
      expect(rules.match(/^ {8}for: /gm)?.length).toBe(rules.match(/- alert: /g)?.length);
  });

  it.each(ALERTS)(
    "$name says what is wrong, of whom, and what to do",
    ({ summary, description, severity, runbook }) => {
      expect(["critical", "warning", "info"]).toContain(severity);
      expect(summary).toMatch(/^.{20,}\.$/);
      expect(description).toMatch(/^.{15,}\.$/);
      expect(runbook.diagnosis.length).toBeGreaterThan(0);
      for (const text of [runbook.meaning, runbook.impact, runbook.fix, ...runbook.diagnosis])
        expect(text.length).toBeGreaterThan(2);
    },
  );

  it("names in its summary only labels that it has", () => {
    const own = ["job", "instance"];
    for (const { name, summary, description, labels, withoutTarget } of ALERTS) {
      const used = [...`${summary}${description}`.matchAll(/\$labels\.(\w+)/g)].map(([, label = ""]) => label);
      const known = [...Object.keys(labels), ...(withoutTarget ? [] : own)];
      expect([name, used.filter((label) => !known.includes(label))]).toEqual([name, []]);
    }
  });

  it("joins boards by job, instance and gpu", () => {
    for (const { name, expr } of alertGroups().find((group) => group.name === "gpu")?.alerts ?? [])
      for (const [, labels] of expr.matchAll(/\bon \(([^)]*)\)/g))
        expect([name, labels]).toEqual([name, PER_HOST.includes(name) ? "job, instance" : "job, instance, gpu"]);
  });
});

describe("the thresholds", () => {
  it.each(THRESHOLDS)("%s is used by an alert", (name, value) => {
    const changed = { ...VALUES, [name]: value * 7 };
    expect(ruleFiles(changed)).not.toEqual(ruleFiles());
  });

  it("all come from grafana/values.yaml: an expression itself compares with 0 and 1 only", () => {
    const unknown = { ...VALUES, ...Object.fromEntries(THRESHOLDS.map(([name]) => [name, "VALUE"])) };
    for (const { name, expr } of alertGroups(unknown).flatMap(({ alerts }) => alerts))
      for (const [comparison] of expr.matchAll(/[<>=]=?\s*[\d.]+/g))
        expect([name, comparison]).toEqual([name, expect.stringMatching(/[ =](0|1)$/)]);
  });
});

it("tests every alert in the minute in which it fires, the one before, and once more when it does not", () => {
  const tests = ruleTests();
  for (const { name, fires } of ALERTS) {
    const own = tests.slice(tests.indexOf(`name: ${name} fires`), tests.indexOf(`name: ${name} stays quiet`));
    expect([name, [...own.matchAll(/eval_time: (\d+)m/g)].map(([, minute]) => Number(minute))]).toEqual([
      name,
      [fires.atMinute - 1, fires.atMinute],
    ]);
  }
});
