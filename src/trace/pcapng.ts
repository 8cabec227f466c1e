/**
 * Frames of a run's network cards in a file that Wireshark opens: pcapng (IETF
 * draft-ietf-opsawg-pcapng), a section with an interface for each card, times in microseconds.
 */
import { RunFile } from './run-file.js';

const BlockType = { SECTION: 0x0a0d0d0a, INTERFACE: 1, PACKET: 6 } as const;
const BYTE_ORDER = 0x1a2b3c4d;
const VERSION_1_0 = 1;
const ETHERNET = 1;
/** Options: of a section the program, of an interface its name, of a packet which way it went. */
const OptionCode = { PROGRAM: 4, NAME: 2, FLAGS: 2 } as const;
const OUTBOUND = 2;
const INBOUND = 1;
const WORD = 4;
/** Of a packet's block: all but the frame. */
const PACKET_BYTES = 44;

const FLUSH_BYTES = 1 << 16;
const FRAME_MOST = 1 << 18;
/** What a run that is killed loses at most. */
const FLUSH_AGE_US = 500_000;

/** A capture that is being written. */
export class Pcapng {
  private readonly file: RunFile;
  private readonly bytes = new Uint8Array(FLUSH_BYTES + FRAME_MOST);
  private readonly view = new DataView(this.bytes.buffer);
  private length = 0;
  private flushed: number;
  private interfaces = 0;

  /**
   * Throws UserError where the file cannot be made.
   * @param epochUs microseconds since 1970
   */
  constructor(
    path: string,
    private readonly epochUs: () => number,
  ) {
    this.file = new RunFile('capture', path);
    this.flushed = epochUs();
    const section = new Uint8Array(16).fill(0xff, 8); // Its length is not known.
    new DataView(section.buffer).setUint32(0, BYTE_ORDER, true);
    section[4] = VERSION_1_0;
    this.block(BlockType.SECTION, section, OptionCode.PROGRAM, 'iopf');
  }

  /** Makes an interface of this name; returns its number, for `frame`. */
  addInterface(name: string): number {
    const fixed = new Uint8Array(8); // Of any length: no limit.
    fixed[0] = ETHERNET;
    this.block(BlockType.INTERFACE, fixed, OptionCode.NAME, name);
    return this.interfaces++;
  }

  /** An Ethernet frame of up to 256 KiB that an interface has sent, or got. */
  frame(port: number, from: Uint8Array, offset: number, length: number, isSent: boolean): void {
    const { bytes, view } = this;
    const start = this.length;
    const kept = Math.min(length, FRAME_MOST - PACKET_BYTES);
    const padded = align(kept);
    const total = PACKET_BYTES + padded;
    const time = Math.round(this.epochUs());
    view.setUint32(start, BlockType.PACKET, true);
    view.setUint32(start + 4, total, true);
    view.setUint32(start + 8, port, true);
    view.setUint32(start + 12, Math.floor(time / 2 ** 32), true);
    view.setUint32(start + 16, time % 2 ** 32, true);
    view.setUint32(start + 20, kept, true);
    view.setUint32(start + 24, length, true);
    const data = start + 28;
    for (let index = 0; index < kept; index++) bytes[data + index] = from[offset + index]!;
    bytes.fill(0, data + kept, data + padded);
    const flags = data + padded;
    view.setUint32(flags, OptionCode.FLAGS | (WORD << 16), true);
    view.setUint32(flags + 4, isSent ? OUTBOUND : INBOUND, true);
    view.setUint32(flags + 8, 0, true);
    view.setUint32(flags + 12, total, true);
    this.length += total;
    if (this.length >= FLUSH_BYTES) this.flush();
  }

  /** Called now and then, so that frames get to the file also when few come. */
  tick(): void {
    if (this.epochUs() - this.flushed >= FLUSH_AGE_US) this.flush();
  }

  /** Writes what is left. Returns what is missing, in a sentence, or null. */
  close(): string | null {
    this.flush();
    this.file.close();
    return this.file.complaint;
  }

  /** Nothing ran: the file is as it was. */
  discard(): void {
    this.file.discard();
  }

  private flush(): void {
    this.flushed = this.epochUs();
    if (this.length > 0) this.file.write(this.bytes.subarray(0, this.length));
    this.length = 0;
  }

  /** A block with one option, a text of up to 64 KiB. */
  private block(type: number, fixed: Uint8Array, option: number, text: string): void {
    const value = Buffer.from(text);
    const padded = align(value.length);
    const total = 12 + fixed.length + 8 + padded;
    const { view, length: start } = this;
    this.bytes.fill(0, start, start + total);
    view.setUint32(start, type, true);
    view.setUint32(start + 4, total, true);
    this.bytes.set(fixed, start + 8);
    const at = start + 8 + fixed.length;
    view.setUint32(at, option | (value.length << 16), true);
    this.bytes.set(value, at + 4);
    view.setUint32(start + total - 4, total, true);
    this.length += total;
  }
}

function align(length: number): number {
  return Math.ceil(length / WORD) * WORD;
}
