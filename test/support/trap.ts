import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

/** A port that nobody was told to use; keeps the first line of whatever is said to it all the same. */
export class Trap {
  readonly heard: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #connections = 0;
  #port = 0;

  private constructor() {
    this.#server = createServer((socket) => {
      this.#connections += 1;
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("data", (data) => {
        this.heard.push(data.toString().split("\r\n")[0] ?? "");
        socket.destroy();
      });
    });
  }

  static async set(): Promise<Trap> {
    const trap = new Trap();
    trap.#server.listen(0, "127.0.0.1");
    await once(trap.#server, "listening");
    const address = trap.#server.address();
    if (typeof address === "object" && address) trap.#port = address.port;
    return trap;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** How often somebody connected. */
  get connections(): number {
    return this.#connections;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server.close(), "close");
  }
}
