/** A page as a PNG, by headless Chromium (test/real/provision.sh chromium). */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { tool } from "../../test/support/real-tools.ts";
import type { Page } from "./page.ts";
import { decodePng, encodePng } from "./png.ts";

/** Throws with Chromium's own words when it made none. */
export function screenshot({ html, width, height }: Page, path: string): void {
  const folder = mkdtempSync(join(tmpdir(), "picture-"));
  try {
    const [file, raw] = [join(folder, "board.html"), join(folder, "board.png")];
    writeFileSync(file, html);
    const { status, stderr } = spawnSync(
      tool("chromium"),
      [
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        `--window-size=${width},${height}`,
        `--screenshot=${raw}`,
        pathToFileURL(file).href,
      ],
      { encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`no picture ${path}: ${stderr}`);
    writeFileSync(path, encodePng(decodePng(readFileSync(raw))));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
