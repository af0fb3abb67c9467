/** The landing page at `/`: what this is, and where everything else lies. */
import { createHash } from "node:crypto";
import type { Answer } from "./answer.ts";

const LINKS: readonly (readonly [path: string, meaning: string])[] = [
  ["/metrics/otel", "Metrics as the OpenTelemetry SDK writes them"],
  ["/api/v1/status", "The whole snapshot as JSON"],
  ["/api/ollama/status", "Status of the original OllamaGPUMonitor class as JSON"],
  ["/api/ollama/processes", "Loaded models as JSON"],
  ["/api/ollama/gpu", "GPUs as JSON"],
  ["/-/healthy", "Health check"],
  ["/-/ready", "Readiness check"],
];

const STYLE = "body{font-family:sans-serif;margin:2rem;line-height:1.6}";

/** Nothing but this page's own style: no script, no frame around it, no form, no other host. */
const contentSecurityPolicy = (): string =>
  [
    "default-src 'none'",
    `style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");

/** The page with links and version; the text in it that comes from outside is the configured telemetry path and the hints. */
export function landingPage(telemetryPath: string, version: string, hints: readonly string[]): Answer {
  const links = [[telemetryPath, "Metrics"] as const, ...LINKS]
    .map(([path, meaning]) => `<li><a href="${escapeHtml(path)}">${escapeHtml(path)}</a> ${meaning}</li>`)
    .join("\n");
  return {
    status: 200,
    contentType: "text/html; charset=utf-8",
    headers: { "Content-Security-Policy": contentSecurityPolicy(), "Referrer-Policy": "no-referrer" },
    body: `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Ollama GPU Exporter</title>
<style>${STYLE}</style></head>
<body>
<h1>Ollama GPU Exporter</h1>
<p>Which model holds which bytes on which GPU. Version ${escapeHtml(version)}.</p>
<ul>
${links}
</ul>
${hints.map((hint) => `<p>${escapeHtml(hint)}.</p>\n`).join("")}</body>
</html>
`,
  };
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}
