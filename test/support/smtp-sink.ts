import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** A mail server that takes every message and keeps it, soft line breaks taken out. */
export class SmtpSink {
  readonly messages: string[] = [];
  readonly #server: Server = createServer((socket) => {
    this.#serve(socket);
  });

  /** Listens on a free port of the loopback address; returns `127.0.0.1:PORT`. */
  async listen(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const address = this.#server.address();
    if (typeof address !== "object" || !address) throw new Error("no port");
    return `127.0.0.1:${address.port}`;
  }

  close(): void {
    this.#server.close();
  }

  #serve(socket: Socket): void {
    let body: string[] | undefined;
    socket.write("220 sink\r\n");
    socket.on("error", () => socket.destroy());
    createInterface({ input: socket }).on("line", (line) => {
      if (body && line !== ".") body.push(line);
      else if (body) {
        this.messages.push(body.join("\n").replaceAll("=\n", ""));
        body = undefined;
        socket.write("250 kept\r\n");
      } else if (/^DATA/i.test(line)) {
        body = [];
        socket.write("354 go on\r\n");
      } else if (/^QUIT/i.test(line)) socket.end("221 bye\r\n");
      else socket.write("250 ok\r\n");
    });
  }
}
