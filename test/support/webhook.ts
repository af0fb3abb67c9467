import { once } from "node:events";
import { createServer, type Server } from "node:http";

/** An alert as Alertmanager's webhook brings it. */
export interface Notified {
  readonly status: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Takes what Alertmanager sends to its webhook receiver. */
export class Webhook {
  readonly alerts: Notified[] = [];
  readonly #server: Server = createServer((request, response) => {
    let body = "";
    request.on("data", (data: Buffer) => (body += data.toString()));
    request.on("end", () => {
      this.alerts.push(...(JSON.parse(body) as { alerts: Notified[] }).alerts);
      response.end();
    });
  });

  /** Listens on a free port of the loopback address; returns its URL. */
  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const address = this.#server.address();
    if (typeof address !== "object" || !address) throw new Error("no port");
    return `http://127.0.0.1:${address.port}/`;
  }

  /** The alert of that name and state; throws while it has not come. */
  get(name: string, status: "firing" | "resolved"): Notified {
    const found = this.alerts.find((alert) => alert.labels.alertname === name && alert.status === status);
    if (!found) throw new Error(`no ${status} ${name} among ${JSON.stringify(this.alerts)}`);
    return found;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
