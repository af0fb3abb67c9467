import { describe, expect, it } from "@jest/globals";
import { alertGroups } from "../../grafana/src/rules/files.ts";
import { readValues } from "../../grafana/src/rules/rule.ts";
import { CONDITION_LIMITS, conditionsOf } from "../../src/outputs/status/conditions.ts";
import type { Snapshot } from "../../src/snapshot.ts";
import { CONDITION_CASES, snapshotOf } from "../support/condition-cases.ts";

/** Alerts that one reading of one host cannot answer. */
const NEEDS_MORE: Readonly<Record<string, string>> = {
  OllamaGpuExporterDown: "Prometheus alone sees it",
  OllamaGpuExporterAbsent: "Prometheus alone sees it",
  OllamaGpuSnapshotStale: "a status is asked for now, so its snapshot is never old",
  OllamaGpuDriverWorkerRestarting: "growth over half an hour",
  OllamaGpuDriverCallErrors: "growth over a quarter of an hour",
  OllamaGpuItemsDropped: "growth over a quarter of an hour",
  OllamaGpuPushFailing: "growth over a quarter of an hour",
  OllamaGpuScrapesRejected: "growth over ten minutes",
  OllamaGpuCollectionTimeouts: "growth over half an hour",
  GpuSoftwareThermalSlowdown: "a share of half an hour; being active now is normal",
  GpuPowerCapped: "a share of half an hour; being active now is normal",
  GpuVanished: "the boards of the last six hours",
  GpuEccCorrectedRising: "growth over an hour",
  GpuPcieReplays: "growth over an hour",
  OllamaFlapping: "changes within half an hour",
  OllamaThrashing: "growth over a quarter of an hour",
  OllamaReloadsSameModel: "growth over half an hour",
  OllamaLoadingStuck: "loading is normal, only ten minutes of it are not",
  OllamaModelIdle: "the last six hours",
  OllamaModelSlow: "the last week",
  OllamaEnergyPerTokenDoubled: "the last week",
};
const ALERTS = alertGroups().flatMap(({ alerts }) => alerts);

const namesOf = (parts: Partial<Snapshot>): readonly string[] =>
  conditionsOf(snapshotOf(parts)).map(({ name }) => name);

describe("active conditions", () => {
  it.each(CONDITION_CASES)("name $name beyond its threshold, and not at it", ({ name, holds, calm }) => {
    expect([namesOf(holds), namesOf(calm)]).toEqual([[name], []]);
  });

  it("are every alert but those that need more than one reading", () => {
    const offline = CONDITION_CASES.map(({ name }) => name);
    expect([...offline, ...Object.keys(NEEDS_MORE)].sort()).toEqual(ALERTS.map(({ name }) => name).sort());
    const withoutWindow = ALERTS.filter(({ expr }) => !/\[\d/.test(expr)).map(({ name }) => name);
    expect(offline.filter((name) => !withoutWindow.includes(name))).toEqual([]);
  });

  it("have the thresholds of grafana/values.yaml", () => {
    expect(readValues()).toMatchObject(CONDITION_LIMITS);
  });

  it("are none where nothing is known", () => {
    expect(namesOf({ gpus: [{ gpu: "0", index: 0, uuid: "G", up: true, vendor: "nvidia" }] })).toEqual([]);
    expect(namesOf({ models: [{ server: "s", name: "m" }] })).toEqual([]);
  });

  it("say nothing of a model's slots or request metrics when one of its runners is not known", () => {
    const runner = { pid: 1, parentPid: 0, kind: "blob", orphaned: false } as const;
    const full = { ...runner, endpoints: { slots: 2, slotsBusy: 2, answersMetrics: false } };
    expect(namesOf({ models: [{ server: "s", name: "m", runners: [full, { ...runner, pid: 2 }] }] })).toEqual([]);
  });

  it("call a model unattributed only beside a GPU, as the alert does", () => {
    expect(namesOf({ models: [{ server: "s", name: "m", method: "none" }] })).toEqual([]);
  });
});
