/** Many hosts behind one port: `/targets` for http_sd, `/hosts/N/metrics` for each. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { Host } from "./host.ts";

export class FleetServer {
  readonly #hosts: readonly Host[];
  readonly #server: Server;
  #scrapes = 0;
  #bytes = 0;

  private constructor(hosts: readonly Host[]) {
    this.#hosts = hosts;
    this.#server = createServer((request, response) => {
      if (request.url === "/targets") {
        response.setHeader("content-type", "application/json").end(JSON.stringify(this.#targets()));
        return;
      }
      const host = hosts[Number(/^\/hosts\/(\d+)\/metrics$/.exec(request.url ?? "")?.[1] ?? NaN)];
      if (!host) {
        response.writeHead(404).end();
        return;
      }
      const body = Buffer.from(host.body());
      this.#scrapes += 1;
      this.#bytes += body.length;
      response.setHeader("content-type", "text/plain; version=0.0.4; charset=utf-8").end(body);
    });
  }

  static async create(hosts: number): Promise<FleetServer> {
    const made: Host[] = [];
    for (let seed = 0; seed < hosts; seed++) made.push(await Host.create(seed));
    return new FleetServer(made);
  }

  get hosts(): readonly Host[] {
    return this.#hosts;
  }

  get scrapes(): number {
    return this.#scrapes;
  }

  get meanBytes(): number {
    return this.#bytes / this.#scrapes;
  }

  /** Base URL on a free port. */
  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://${this.#address()}`;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #address(): string {
    const address = this.#server.address();
    return typeof address === "object" && address ? `127.0.0.1:${address.port}` : "";
  }

  #targets(): unknown {
    return this.#hosts.map((_, index) => ({
      targets: [this.#address()],
      labels: {
        __metrics_path__: `/hosts/${index}/metrics`,
        instance: `gpu-${index.toString().padStart(4, "0")}.example.com:9434`,
      },
    }));
  }
}
