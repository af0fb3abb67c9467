/** HTTP byte by byte, for requests that no client would send. */
import { connect, type NetConnectOpts } from "node:net";

export interface Exchange {
  /** Status of every answer, in order. */
  readonly statuses: readonly number[];
  readonly text: string;
}

/** Sends the bytes and reads until the server has closed the connection; rejects when it resets it before any answer. */
export function exchange(to: NetConnectOpts, bytes: string | Buffer): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(to, () => socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes));
    socket.on("data", (data: Buffer) => (text += data.toString("latin1")));
    socket.on("error", (error) => {
      if (text === "") reject(error);
    });
    socket.on("close", () => {
      resolve({ statuses: [...text.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => Number(status)), text });
    });
  });
}

/** `127.0.0.1:9434` as connect() wants it. */
export function endpoint(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
}
