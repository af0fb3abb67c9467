import { describe, expect, it } from "@jest/globals";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { filledIn, legendOf, type Series, valuesOf } from "../../grafana/pictures/ask.ts";
import { type Field, type Panel, readBoard } from "../../grafana/pictures/board.ts";
import { fieldOf, show } from "../../grafana/pictures/field.ts";
import { pageOf } from "../../grafana/pictures/page.ts";
import { decodePng, encodePng } from "../../grafana/pictures/png.ts";
import { timeTicks, valueScale } from "../../grafana/pictures/scale.ts";
import { merged } from "../../grafana/pictures/table.ts";
import { format } from "../../grafana/pictures/units.ts";
import { BOARDS } from "../../grafana/generate.ts";

const WINDOW = { fromSeconds: 1_800_000_000, toSeconds: 1_800_000_600, stepSeconds: 5, scrapeSeconds: 5 };
const FIELD: Field = {
  unit: "none",
  noValue: "n/a",
  color: { mode: "thresholds" },
  mappings: [{ type: "value", options: { "0": { text: "down", color: "red" }, "1": { text: "up" } } }],
  thresholds: {
    steps: [
      { value: null, color: "text" },
      { value: 5, color: "orange" },
    ],
  },
};

const series = (refId: string, labels: Record<string, string>, ...values: readonly number[]): Series => ({
  refId,
  name: Object.values(labels).join(" "),
  labels,
  points: values.map((value, index) => [WINDOW.fromSeconds + index * WINDOW.stepSeconds, value]),
});

const boards = BOARDS.map(({ uid }) => readBoard(join(import.meta.dirname, `../../grafana/dashboards/${uid}.json`)));

describe("a value of a picture", () => {
  it.each([
    [0, "bytes", "0 B"],
    [32_749_125_632, "bytes", "30.5 GiB"],
    [6 * 1024 ** 3, "bytes", "6 GiB"],
    [0.866667, "percentunit", "86.7%"],
    [0.6000000000000001, "percentunit", "60%"],
    [1234.5, "watt", "1.23 kW"],
    [66.04, "watth", "66 Wh"],
    [2.619e9, "hertz", "2.62 GHz"],
    [0.0052, "s", "5.2 ms"],
    [190, "s", "3.17 min"],
    [7200, "s", "2 hours"],
    [88, "suffix:tok/s", "88 tok/s"],
    [0.2, "reqps", "0.2 req/s"],
    [1, "bool_yes_no", "Yes"],
    [Infinity, "s", "∞"],
  ])("%p in %s is written %s", (value, unit, text) => {
    expect(format(value, unit)).toBe(text);
  });

  it("has no unit that a board could use and the picture not", () => {
    for (const { panels } of boards)
      for (const { fieldConfig } of panels) expect(format(1, fieldConfig.defaults.unit)).not.toBe("");
    expect(() => format(1, "furlong")).toThrow("no format for the unit furlong");
  });

  it("is said in words before it is said in numbers, and coloured by the words before the thresholds", () => {
    expect(show(0, FIELD)).toEqual({ text: "down", color: "#f2495c" });
    expect(show(1, FIELD)).toEqual({ text: "up", color: "#ccccdc" });
    expect(show(7, FIELD)).toEqual({ text: "7", color: "#ff9830" });
    expect(show("H100", FIELD)).toEqual({ text: "H100", color: undefined });
  });

  it("can be infinite and have a word", () => {
    const field = { ...FIELD, mappings: [{ type: "value", options: { Infinity: { text: "never" } } }] };
    expect([show(Infinity, field).text, show(99, field).text]).toEqual(["never", "99"]);
  });

  it("takes the overrides of its own column and of its own query only", () => {
    const panel = {
      fieldConfig: {
        defaults: FIELD,
        overrides: [
          { matcher: { id: "byName", options: "Used" }, properties: [{ id: "unit", value: "bytes" }] },
          { matcher: { id: "byFrameRefID", options: "B" }, properties: [{ id: "custom.fillOpacity", value: 3 }] },
        ],
      },
    } as unknown as Panel;
    expect([fieldOf(panel, { column: "Used" }).unit, fieldOf(panel, { column: "Free" }).unit]).toEqual([
      "bytes",
      "none",
    ]);
    expect(fieldOf(panel, { refId: "B" }).custom).toEqual({ fillOpacity: 3 });
  });
});

describe("a question of a picture", () => {
  it("has the variables filled in as Grafana fills them in", () => {
    const [fleet] = boards;
    if (!fleet) throw new Error("no board");
    const values = valuesOf(fleet, { instance: "gpu-a:9434" });
    const expr = 'rate(x{job=~"$job", instance=~"$instance"}[$__rate_interval]) + increase(y[$__range]) * $price';
    expect(filledIn(expr, new Map([...values, ["price", "0.3"]]), WINDOW)).toBe(
      'rate(x{job=~".+", instance=~"gpu-a:9434"}[20s]) + increase(y[600s]) * 0.3',
    );
  });

  it("names a series by its labels, without a gap for one that it has not", () => {
    expect(legendOf("{{instance}} {{function}} {{code}}", { instance: "a:1", code: "15" })).toBe("a:1 15");
  });
});

describe("an axis", () => {
  it("ends on a round number, of bytes a round binary one, of seconds one of the clock", () => {
    expect(valueScale([3, 17], { min: 0 }).ticks).toEqual([0, 5, 10, 15, 20]);
    expect(valueScale([73 * 1024 ** 3], { min: 0, base: 1024 }).ticks.map((tick) => tick / 1024 ** 3)).toEqual([
      0, 20, 40, 60, 80,
    ]);
    expect(valueScale([239], { min: 0, base: "clock" }).ticks).toEqual([0, 60, 120, 180, 240]);
  });

  it("keeps to the board's limits, and has a height when all is 0 or nothing is finite", () => {
    expect(valueScale([0.3], { min: 0, max: 1 }).ticks.at(-1)).toBe(1);
    expect(valueScale([0, 0], { min: 0 }).ticks).toEqual([0, 1]);
    expect(valueScale([Infinity], { min: 0 }).max).toBe(1);
  });

  it("marks whole minutes", () => {
    expect(timeTicks(95, 400, 6)).toEqual([120, 180, 240, 300, 360]);
  });
});

describe("a table", () => {
  it("joins the answers of its queries on the columns that all have, as Grafana's merge does", () => {
    const rows = merged(
      [
        series("A", { gpu: "0", name: "H100" }, 1),
        series("A", { gpu: "1", name: "A100" }, 1),
        series("B", { gpu: "0" }, 30),
      ],
      ["A", "B"],
    );
    expect(rows.map((row) => Object.fromEntries(row))).toEqual([
      { gpu: "0", name: "H100", "Value #A": 1, "Value #B": 30 },
      { gpu: "1", name: "A100", "Value #A": 1 },
    ]);
  });
});

describe("a page", () => {
  const context = { window: WINDOW, chosen: new Map([["instance", "a<b"]]) };

  it.each(boards.map((board) => [board.title, board] as const))("says n/a in every empty panel of %s", (_, board) => {
    const { html } = pageOf(
      board,
      board.panels.map((panel) => ({ panel, series: [] })),
      context,
    );
    const empty = [...html.matchAll(/<div class="none"[^>]*>([^<]+)</g)].map(([, text]) => text);
    expect(empty).toEqual(board.panels.map(({ fieldConfig }) => fieldConfig.defaults.noValue));
  });

  it.each(boards.map((board) => [board.title, board] as const))("draws every panel of %s", (_, board) => {
    const answers = board.panels.map((panel) => ({
      panel,
      series: panel.targets.flatMap(({ refId }) => [
        series(refId, { instance: "h:1", gpu: "0", model: "m<1>" }, 0, 1, 0.5),
        series(refId, { instance: "h:1", gpu: "1", model: "m<1>" }, NaN, Infinity),
      ]),
    }));
    const { html } = pageOf(board, answers, context);
    expect(html).not.toMatch(/undefined|NaN[^<]|m<1>|a<b/);
    for (const { title } of board.panels) expect(html).toContain(`<h2>${title.replace("&", "&amp;")}</h2>`);
  });

  it("breaks a line where a reading is missing", () => {
    const panel = boards[0]?.panels.find(({ title }) => title === "Power per host");
    const [board] = boards;
    if (!board || !panel) throw new Error("no such panel");
    const { points, ...rest } = series("A", { instance: "a" }, 1, 1, 1, 1, 1, 1);
    const lines = (kept: Series["points"]) =>
      pageOf(board, [{ panel, series: [{ ...rest, points: kept }] }], context).html.match(/<polyline/g)?.length;
    expect([lines(points), lines(points.filter((_, index) => index !== 3))]).toEqual([1, 2]);
  });
});

describe("a PNG", () => {
  const picture = (colors: readonly number[], width: number) => {
    const rgb = Buffer.alloc(colors.length * 3);
    for (const [index, color] of colors.entries()) rgb.writeUIntBE(color, index * 3, 3);
    return { width, height: colors.length / width, rgb };
  };

  /** One line each with PNG's filters none, sub, up, average and paeth, by their definitions. */
  const filtered = ({ width, height, rgb }: ReturnType<typeof picture>): Buffer => {
    const length = width * 3;
    const at = (row: number, index: number) => (row < 0 || index < 0 ? 0 : (rgb[row * length + index] ?? NaN));
    const lines = Array.from({ length: height }, (_, row) => [
      row,
      ...Array.from({ length }, (_, index) => {
        const [a, b, c] = [at(row, index - 3), at(row - 1, index), index < 3 ? 0 : at(row - 1, index - 3)];
        const p = a + b - c;
        const closest = [a, b, c].reduce((best, one) => (Math.abs(p - one) < Math.abs(p - best) ? one : best), a);
        return (at(row, index) - ([0, a, b, Math.floor((a + b) / 2), closest][row] ?? NaN) + 256) % 256;
      }),
    ]);
    const chunk = (type: string, data: Buffer) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(data.length);
      return Buffer.concat([length, Buffer.from(type), data, Buffer.alloc(4)]);
    };
    const head = Buffer.from([0, 0, 0, width, 0, 0, 0, height, 8, 2, 0, 0, 0]);
    return Buffer.concat([Buffer.alloc(8), chunk("IHDR", head), chunk("IDAT", deflateSync(Buffer.from(lines.flat())))]);
  };

  it("is read with each of the five filters that its lines can have", () => {
    const colors = Array.from({ length: 35 }, (_, index) => (index * 7_654_321) % 0x1000000);
    const { rgb, ...size } = picture(colors, 7);
    expect(decodePng(filtered({ rgb, ...size }))).toEqual({ ...size, rgb });
  });

  it("has the size that it is told, and a palette", () => {
    const png = encodePng(picture([0x111217, 0xf2495c, 0x111217, 0x73bf69], 2));
    expect([png.readUInt32BE(16), png.readUInt32BE(20), png[25]]).toEqual([2, 2, 3]);
    expect(png.includes(Buffer.from([0xf2, 0x49, 0x5c]))).toBe(true);
  });

  it("keeps a rare colour that is far from all frequent ones: red must not become orange", () => {
    const greys = Array.from({ length: 1000 }, (_, index) => (index % 256) * 0x010101);
    const shades = Array.from({ length: 8000 }, (_, index) => 0xff0000 + (index % 64) * 0x0100 + 0x6000 + (index % 40));
    expect(
      encodePng(picture([...greys, ...shades, 0xf2495c, 0xf2495c], 2)).includes(Buffer.from([0xf2, 0x49, 0x5c])),
    ).toBe(true);
  });

  it("keeps frequent colours apart that are near each other: a panel from the page behind it", () => {
    const many = Array.from({ length: 5000 }, (_, index) => (index * 3_355_443) % 0x1000000);
    const [page, panel] = [Array<number>(900).fill(0x111217), Array<number>(900).fill(0x181b1f)];
    const png = encodePng(picture([...many, ...page, ...panel], 2));
    for (const color of [
      [0x11, 0x12, 0x17],
      [0x18, 0x1b, 0x1f],
    ])
      expect(png.includes(Buffer.from(color))).toBe(true);
  });

  it("is refused when it is not of the kind that Chromium writes", () => {
    expect(() => decodePng(encodePng(picture([0, 1], 2)))).toThrow("not an RGB picture");
  });
});
