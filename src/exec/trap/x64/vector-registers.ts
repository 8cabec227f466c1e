/**
 * The vector registers of a signal frame: XSAVE's standard form (Intel SDM vol. 1, 13.4), as the
 * kernel puts it behind the general registers.
 */
import { copyFromProcess, copyToProcess } from '../../../mm/process/remote-memory.js';

/** FXSAVE's area, the software's bytes in it, and XSAVE's header behind it. */
const LEGACY_BYTES = 512;
const SOFTWARE = 464;
const HEADER = 512;
const MAGIC = 0x46505853;
const XMM = 160;
const YMM_HIGH = 576;
const YMM_END = 832;
/** XSTATE_BV: SSE, AVX, ZMM_Hi256, Hi16_ZMM. */
const Component = { SSE: 0x02, AVX: 0x04, ZMM_HIGH: 0x40, ZMM_MORE: 0x80 } as const;
/** AVX-512's parts lie behind MPX's room on Intel's processors, and without it on AMD's. */
const layouts = [
  { zmmHigh: 1152, zmmMore: 1664, end: 2688 },
  { zmmHigh: 896, zmmMore: 1408, end: 2432 },
] as const;

/** Registers below this number have their parts in the first three places. */
const FIRST_HALF = 16;

export class VectorRegisters {
  private bytes = new Uint8Array(0);
  private view = new DataView(this.bytes.buffer);
  private tid = 0;
  private address = 0;
  /** Components that the processor saves. */
  private features = 0;
  private zmmHigh = 0;
  private zmmMore = 0;

  /** False where the frame has none, or none in a form that is known here. */
  read(tid: number, address: number): boolean {
    if (address === 0) return false;
    const legacy = new Uint8Array(LEGACY_BYTES);
    if (!copyFromProcess(tid, address, legacy)) return false;
    const software = new DataView(legacy.buffer, SOFTWARE);
    const isExtended = software.getUint32(0, true) === MAGIC;
    this.features = isExtended ? software.getUint32(8, true) : 0;
    let end = (this.features & Component.AVX) !== 0 ? YMM_END : LEGACY_BYTES;
    if ((this.features & Component.ZMM_MORE) !== 0) {
      const layout = layouts.find((one) => software.getUint32(16, true) >= one.end);
      if (layout === undefined) return false;
      ({ zmmHigh: this.zmmHigh, zmmMore: this.zmmMore, end } = layout);
    }
    this.bytes = new Uint8Array(end);
    this.view = new DataView(this.bytes.buffer);
    this.tid = tid;
    this.address = address;
    return copyFromProcess(tid, address, this.bytes);
  }

  write(): boolean {
    return copyToProcess(this.tid, this.address, this.bytes);
  }

  /** Bytes [at, at + into.length) of a register; false: there is no such. */
  get(vector: number, at: number, into: Uint8Array): boolean {
    for (let index = 0; index < into.length; index++) {
      const place = this.place(vector, at + index);
      if (place < 0) return false;
      into[index] = this.bytes[place]!;
    }
    return true;
  }

  /** Sets bytes from `at` on, and clears those behind them up to `clearedTo`. */
  set(vector: number, at: number, from: Uint8Array, clearedTo: number): boolean {
    for (let index = 0; index < from.length; index++) {
      const place = this.place(vector, at + index);
      if (place < 0) return false;
      this.bytes[place] = from[index]!;
    }
    for (let byte = at + from.length; byte < clearedTo; byte++) {
      const place = this.place(vector, byte);
      if (place >= 0) this.bytes[place] = 0;
    }
    if (this.features === 0) return true;
    // A component that was as after reset would be set so again; its bytes here are all zero.
    const wide = at + from.length;
    const used =
      vector >= FIRST_HALF
        ? Component.ZMM_MORE
        : Component.SSE | (wide > 16 ? Component.AVX : 0) | (wide > 32 ? Component.ZMM_HIGH : 0);
    this.view.setUint32(HEADER, this.view.getUint32(HEADER, true) | used, true);
    return true;
  }

  /** Where a register's byte is saved, or -1. */
  private place(vector: number, byte: number): number {
    const { features } = this;
    if (vector >= FIRST_HALF)
      return (features & Component.ZMM_MORE) === 0
        ? -1
        : this.zmmMore + 64 * (vector - FIRST_HALF) + byte;
    if (byte < 16) return XMM + 16 * vector + byte;
    if (byte < 32)
      return (features & Component.AVX) === 0 ? -1 : YMM_HIGH + 16 * vector + byte - 16;
    return (features & Component.ZMM_HIGH) === 0 ? -1 : this.zmmHigh + 32 * vector + byte - 32;
  }
}
