import { describe, expect, it } from "@jest/globals";
import { createHash } from "node:crypto";
import { landingPage } from "../../src/outputs/http/landing.ts";

describe("landingPage", () => {
  const { body, headers = {} } = landingPage("/metrics", "1.2.3", ["set <a>"]);
  const page = body.toString();

  it("allows by its policy its own style and nothing else", () => {
    const [, style = ""] = /<style>([^<]*)<\/style>/.exec(page) ?? [];
    const hash = createHash("sha256").update(style).digest("base64");
    expect(headers["Content-Security-Policy"]).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
    expect(page).not.toMatch(/<script|<img|<link|<form|style="|on\w+="/);
  });

  it("links to every path, the configured one included", () => {
    const hrefs = [
      ...landingPage("/gpu", "1", [])
        .body.toString()
        .matchAll(/href="([^"]+)"/g),
    ].map(([, href]) => href);
    expect(hrefs).toEqual([
      "/gpu",
      "/metrics/otel",
      "/api/v1/status",
      "/api/ollama/status",
      "/api/ollama/processes",
      "/api/ollama/gpu",
      "/-/healthy",
      "/-/ready",
    ]);
  });

  it("writes what comes from outside as text", () => {
    expect(page).toContain("<p>set &lt;a&gt;.</p>");
    expect(landingPage(`/<a"b'>&`, "<v>", ["<hint>"]).body.toString()).toContain("/&lt;a&quot;b&#39;&gt;&amp;");
  });
});
