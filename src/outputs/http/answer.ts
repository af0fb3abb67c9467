/** A whole answer to one request. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

export const text = (status: number, body: string): Answer => ({
  status,
  contentType: "text/plain; charset=utf-8",
  body: `${body}\n`,
});

export const json = (value: unknown): Answer => ({
  status: 200,
  contentType: "application/json; charset=utf-8",
  body: `${JSON.stringify(value)}\n`,
});
