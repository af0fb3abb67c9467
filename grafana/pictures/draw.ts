/**
 * Draws every board to docs/images from a real Prometheus' answers: npm run pictures
 *   --minutes=N          how long the demo is scraped first; default 15
 *   --prometheus=URL     draw what this one holds instead of starting the demo
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { askPanel, type Choice, valuesOf, type Window } from "./ask.ts";
import { readBoard } from "./board.ts";
import { Demo, SCRAPE_SECONDS } from "./demo.ts";
import { pageOf } from "./page.ts";
import { screenshot } from "./screenshot.ts";

const ROOT = join(import.meta.dirname, "../..");
const IMAGES = join(ROOT, "docs/images");
const SHOWN_SECONDS = 600;

/** Which board, and what is chosen on it: details of one host, all hosts on the others. */
const PICTURES: readonly { readonly uid: string; readonly choice: Choice }[] = [
  { uid: "ollama-gpu-fleet", choice: {} },
  { uid: "ollama-gpu-detail", choice: { instance: "gpu-a:9434" } },
  { uid: "ollama-gpu-models", choice: { instance: "gpu-a:9434" } },
  { uid: "ollama-gpu-capacity", choice: { price: "0.30" } },
  { uid: "ollama-gpu-exporter", choice: {} },
];

const { values: flags } = parseArgs({
  options: { minutes: { type: "string", default: "15" }, prometheus: { type: "string" } },
});

if (flags.prometheus === undefined) {
  await using demo = await Demo.start();
  await delay(Number(flags.minutes) * 60_000);
  await drawAll(demo.url);
} else {
  await drawAll(flags.prometheus);
}

async function drawAll(url: string): Promise<void> {
  const toSeconds = Math.floor(Date.now() / 1000 / SCRAPE_SECONDS) * SCRAPE_SECONDS - SCRAPE_SECONDS;
  const window: Window = {
    fromSeconds: toSeconds - SHOWN_SECONDS,
    toSeconds,
    stepSeconds: SCRAPE_SECONDS,
    scrapeSeconds: SCRAPE_SECONDS,
  };
  mkdirSync(IMAGES, { recursive: true });
  for (const { uid, choice } of PICTURES) {
    const board = readBoard(join(ROOT, `grafana/dashboards/${uid}.json`));
    const values = valuesOf(board, choice);
    const answers = await Promise.all(
      board.panels.map(async (panel) => ({ panel, series: await askPanel(panel, values, { url, window }) })),
    );
    for (const { panel, series } of answers) if (series.length === 0) console.log(`${uid}: ${panel.title}: no series`);
    screenshot(pageOf(board, answers, { window, chosen: new Map(Object.entries(choice)) }), join(IMAGES, `${uid}.png`));
  }
}
