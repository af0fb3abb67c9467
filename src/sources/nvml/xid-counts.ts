/** XID errors by board and code since the exporter started; lives in the parent, so that a replaced worker loses none. */
import type { Gpu } from "../../snapshot.ts";
import { CRITICAL_XIDS } from "./abi.ts";
import type { XidEvent } from "./xid.ts";

interface Count {
  count: number;
  lastSeconds: number;
}

export class XidCounts {
  readonly #byBoard = new Map<string, Map<number, Count>>();

  /** @param atSeconds - unix time of the reading that found the events */
  add(events: readonly XidEvent[], atSeconds: number): void {
    for (const { uuid, xid } of events) {
      const board = this.#byBoard.get(uuid) ?? new Map<number, Count>();
      board.set(xid, { count: (board.get(xid)?.count ?? 0) + 1, lastSeconds: atSeconds });
      this.#byBoard.set(uuid, board);
    }
  }

  /** Every critical code, seen or not, and whatever else was seen. */
  of(uuid: string): Pick<Gpu, "xidErrors" | "xidLastTimestampSeconds"> {
    const board = [...(this.#byBoard.get(uuid) ?? [])];
    const zeros = CRITICAL_XIDS.map((xid) => [xid, 0] as const);
    return {
      xidErrors: Object.fromEntries([...zeros, ...board.map(([xid, { count }]) => [xid, count] as const)]),
      ...(board.length > 0 && {
        xidLastTimestampSeconds: Object.fromEntries(board.map(([xid, { lastSeconds }]) => [xid, lastSeconds])),
      }),
    };
  }
}
