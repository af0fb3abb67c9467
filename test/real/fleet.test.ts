/** A small fleet of different hosts under a real Prometheus with the bundled rules; `npm run fleet` is the large one. */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { FleetPrometheus } from "../../bench/fleet/prometheus.ts";
import { askAll } from "../../bench/fleet/questions.ts";
import { FleetServer } from "../../bench/fleet/server.ts";
import { fleet as fleetBoard } from "../../grafana/src/boards/fleet.ts";
import { query } from "../support/prometheus-series.ts";
import { eventually } from "../support/real-tools.ts";

const HOSTS = 30;

describe("thirty hosts that differ, found by http_sd", () => {
  const prometheus = new FleetPrometheus();
  let fleet: FleetServer;
  const value = async (expression: string): Promise<number> =>
    Number((await query(`${prometheus.base}/api/v1/`, expression))[0]?.value[1] ?? NaN);

  beforeAll(async () => {
    fleet = await FleetServer.create(HOSTS);
    await prometheus.start(`${await fleet.listen()}/targets`, { scrapeSeconds: 2 });
    await eventually(
      async () => {
        if (!((await value("min(count_over_time(up[5m]))")) >= 8)) throw new Error("not yet");
        // The recording rules are evaluated every 30 s.
        if (!((await value("count(job_instance:gpu_up:sum)")) === HOSTS)) throw new Error("not recorded yet");
      },
      { withinMs: 90_000, what: "eight scrapes of every host and one evaluation" },
    );
  }, 120_000);

  afterAll(async () => {
    await prometheus.close();
    fleet.close();
  });

  it("are all up, and no two are alike", async () => {
    expect(await value("sum(up)")).toBe(HOSTS);
    expect(await value("count(count by (uuid) (gpu_info))")).toBe(await value("count(gpu_info)"));
    expect(await value("count(count_values('series', scrape_samples_scraped))")).toBeGreaterThan(HOSTS / 2);
  });

  it("answer every query of the Fleet overview with data, each within 2 s", async () => {
    const answers = await askAll(prometheus.base);
    expect(answers.map(({ panel }) => panel)).toEqual(
      expect.arrayContaining(fleetBoard.panels.map(({ title }) => title)),
    );
    // No alert's `for` has passed within this minute.
    const empty = answers.filter(({ series, panel }) => series === 0 && !["Alerts firing", "Alerts"].includes(panel));
    expect(empty.map(({ panel, form }) => `${panel} (${form})`)).toEqual([]);
    expect(answers.filter(({ seconds }) => seconds > 2)).toEqual([]);
  });

  it("give sums that are the hosts' own", async () => {
    const boards = await value('count(gpu_info{gpu!~".+:.+"})');
    expect(await value("sum(job_instance:gpu_up:sum)")).toBe(boards);
    const apart =
      "abs(sum by (instance, gpu) (gpu_memory_owner_bytes) - sum by (instance, gpu) (gpu_memory_used_bytes)) > 1";
    expect(await query(`${prometheus.base}/api/v1/`, apart)).toEqual([]);
    expect(await value("count(gpu_memory_owner_bytes)")).toBeGreaterThan(boards);
  });
});
