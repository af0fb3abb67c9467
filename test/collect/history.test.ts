import { describe, expect, it } from "@jest/globals";
import { advance, emptyHistory, type History, transitionsOf } from "../../src/collect/history.ts";
import type { Model, OllamaServer, Runner } from "../../src/snapshot.ts";

const up: OllamaServer = { server: "a:1", up: true, onThisHost: true, installedCount: 1 };
const down: OllamaServer = { server: "a:1", up: false, onThisHost: true };
const installed: Model = { server: "a:1", name: "m", installed: { name: "m" } };

function loaded(pid?: number, digest?: string, startTicks?: number): Model {
  const runner = (id: number): Runner => ({
    pid: id,
    parentPid: 1,
    kind: "blob",
    orphaned: false,
    ...(startTicks !== undefined && { startTicks }),
  });
  return {
    server: "a:1",
    name: "m",
    loaded: { name: "m", ...(digest !== undefined && { digest }) },
    ...(pid !== undefined && { runners: [runner(pid)] }),
  };
}

type Reading = readonly [OllamaServer, ...Model[]];

function countsAfter(...readings: Reading[]): readonly (readonly [string, number, number])[] {
  const fold = (history: History, [server, ...models]: Reading) => advance(history, [server], models);
  return transitionsOf(readings.reduce(fold, emptyHistory), [up]).map(({ name, loads, unloads }) => [
    name,
    loads,
    unloads,
  ]);
}

describe("the history of loads and unloads", () => {
  const cases: readonly (readonly [string, readonly Reading[], readonly (readonly [string, number, number])[]])[] = [
    ["starts at zero for an installed model", [[up, installed]], [["m", 0, 0]]],
    ["does not count a model found loaded at start", [[up, loaded(5)]], [["m", 0, 0]]],
    [
      "counts a load",
      [
        [up, installed],
        [up, loaded(5)],
      ],
      [["m", 1, 0]],
    ],
    ["counts a load of a model never seen before", [[up], [up, loaded(5)]], [["m", 1, 0]]],
    [
      "counts an unload",
      [
        [up, loaded(5)],
        [up, installed],
      ],
      [["m", 0, 1]],
    ],
    [
      "counts a new runner PID as an unload and a load",
      [
        [up, loaded(5)],
        [up, loaded(6)],
      ],
      [["m", 1, 1]],
    ],
    [
      "counts a crash when the new runner appears",
      [
        [up, loaded(5)],
        [up, loaded()],
        [up, loaded(6)],
      ],
      [["m", 1, 1]],
    ],
    [
      "counts nothing while the same runner lives",
      [
        [up, loaded(5)],
        [up, loaded(5)],
      ],
      [["m", 0, 0]],
    ],
    [
      "counts a reload when the new runner was given the PID of the old one",
      [
        [up, loaded(5, undefined, 100)],
        [up, loaded(5, undefined, 900)],
      ],
      [["m", 1, 1]],
    ],
    [
      "counts none when the start of a runner could not be read for once",
      [
        [up, loaded(5, undefined, 100)],
        [up, loaded(5)],
        [up, loaded(5, undefined, 100)],
      ],
      [["m", 0, 0]],
    ],
    [
      "counts a changed digest as a reload",
      [
        [up, loaded(undefined, "a")],
        [up, loaded(undefined, "b")],
      ],
      [["m", 1, 1]],
    ],
    ["sees through an outage of the server", [[up, loaded(5)], [down], [up, installed]], [["m", 0, 1]]],
    ["forgets a model that is neither installed nor loaded", [[up, loaded(5)], [up]], []],
    ["keeps a model when nobody knows what is installed", [[up, loaded(5)], [{ ...down, up: true }]], [["m", 0, 1]]],
    ["counts no load when a server is first seen after the start", [[down], [up, loaded(5)]], [["m", 0, 0]]],
  ];
  it.each(cases)("%s", (_title, readings, expected) => {
    expect(countsAfter(...readings)).toEqual(expected);
  });

  it("shows no counters of a server that is down", () => {
    expect(transitionsOf(advance(emptyHistory, [up], [installed]), [down])).toEqual([]);
  });
});
