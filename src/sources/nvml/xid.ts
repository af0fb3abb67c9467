/** XID error events: one event set per worker, read without waiting. */
import { EVENT_DATA, EVENT_TYPE_XID, RC } from "./abi.ts";
import type { Device, DeviceContext } from "./device.ts";

/** A driver that repeats itself must not hold the reading up. */
const MOST_EVENTS = 1_000;

export interface XidEvent {
  readonly uuid: string;
  readonly xid: number;
}

export class XidWatcher {
  readonly #context: DeviceContext;
  readonly #uuids = new Map<bigint, string>();
  #set: bigint | undefined;

  constructor(context: DeviceContext) {
    this.#context = context;
  }

  /** Registers a board once; true when it reports XID events. Throws NvmlFault when the board is lost. */
  watch(device: Device, uuid: string): boolean {
    if (this.#uuids.get(device.handle) === uuid) return true;
    const types = Buffer.alloc(8);
    if (device.attempt("nvmlDeviceGetSupportedEventTypes", "p", [types]) !== RC.success) return false;
    const set = this.#eventSet();
    if (set === undefined || (types.readBigUInt64LE(0) & EVENT_TYPE_XID) === 0n) return false;
    if (device.attempt("nvmlDeviceRegisterEvents", "ld", [EVENT_TYPE_XID, set]) !== RC.success) return false;
    this.#uuids.set(device.handle, uuid);
    return true;
  }

  /** The events since the last call. */
  take(): readonly XidEvent[] {
    if (this.#set === undefined) return [];
    const { library } = this.#context;
    const call = library.has("nvmlEventSetWait_v2") ? "nvmlEventSetWait_v2" : "nvmlEventSetWait";
    const events: XidEvent[] = [];
    const data = Buffer.alloc(EVENT_DATA.size);
    for (let count = 0; count < MOST_EVENTS; count++) {
      const code = library.call(call, "dpu", this.#set, data, 0);
      if (code !== RC.success) {
        if (code !== RC.timeout && code !== RC.functionNotFound) this.#context.errors.add(call, code);
        break;
      }
      const uuid = this.#uuids.get(data.readBigUInt64LE(EVENT_DATA.device));
      const isXid = (data.readBigUInt64LE(EVENT_DATA.type) & EVENT_TYPE_XID) !== 0n;
      if (uuid !== undefined && isXid) events.push({ uuid, xid: Number(data.readBigUInt64LE(EVENT_DATA.data)) });
    }
    return events;
  }

  #eventSet(): bigint | undefined {
    if (this.#set === undefined) {
      const out = Buffer.alloc(8);
      if (this.#context.library.call("nvmlEventSetCreate", "p", out) === RC.success) this.#set = out.readBigUInt64LE(0);
    }
    return this.#set;
  }
}
