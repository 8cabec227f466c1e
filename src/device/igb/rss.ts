import type { RegisterFile } from '../register-table.js';
import { Mrqc } from './bits.js';
import { type Packet, Protocol } from './packet.js';
import { QUEUES, Reg } from './registers.js';

/** What a hash was made of, as a receive descriptor tells it (7.1.5.2). */
const Kind = {
  NONE: 0,
  TCP_IPV4: 1,
  IPV4: 2,
  TCP_IPV6: 3,
  IPV6: 5,
  UDP_IPV4: 7,
  UDP_IPV6: 8,
} as const;
/** Entries of RETA, four to a register. */
const ENTRIES = 128;
const PORT_BYTES = 4;

/** Receive side scaling (7.1.1.7): a Toeplitz hash of addresses and ports chooses the queue. */
export class Rss {
  /** Of the last packet. */
  kind = 0;
  hash = 0;

  constructor(private readonly registers: RegisterFile) {}

  /** Hashes a packet, and returns its queue. */
  queueOf(packet: Packet): number {
    const { registers } = this;
    const mrqc = registers.get(Reg.MRQC);
    this.kind = (mrqc & Mrqc.MODE) === Mrqc.RSS ? kindOf(packet, mrqc) : Kind.NONE;
    this.hash = 0;
    if (this.kind === Kind.NONE) return 0;
    const isV4 = packet.version === 4;
    this.add(packet, packet.ip + (isV4 ? 12 : 8), isV4 ? 8 : 32, 0);
    if (this.kind !== Kind.IPV4 && this.kind !== Kind.IPV6)
      this.add(packet, packet.transport, PORT_BYTES, isV4 ? 8 : 32);
    this.hash >>>= 0;
    const entry = this.hash % ENTRIES;
    return (registers.get(Reg.RETA + (entry & ~3)) >>> (8 * (entry & 3))) % QUEUES;
  }

  /** Adds bytes of the packet; `done` bytes were hashed before. */
  private add(packet: Packet, offset: number, length: number, done: number): void {
    for (let byte = 0; byte < length; byte++) {
      const value = packet.bytes[offset + byte]!;
      for (let bit = 0; bit < 8; bit++)
        if ((value & (0x80 >>> bit)) !== 0) this.hash ^= this.key(8 * (done + byte) + bit);
    }
  }

  /** The 32 bits of the key from this bit on, the first byte's highest bit being bit 0. */
  private key(bit: number): number {
    const byte = bit >>> 3;
    const shift = bit & 7;
    const first =
      (this.keyByte(byte) << 24) |
      (this.keyByte(byte + 1) << 16) |
      (this.keyByte(byte + 2) << 8) |
      this.keyByte(byte + 3);
    return shift === 0 ? first : (first << shift) | (this.keyByte(byte + 4) >>> (8 - shift));
  }

  private keyByte(index: number): number {
    return (this.registers.get(Reg.RSSRK + (index & ~3)) >>> (8 * (index & 3))) & 0xff;
  }
}

function kindOf({ version, protocol }: Packet, mrqc: number): number {
  const isTcp = protocol === Protocol.TCP;
  const isUdp = protocol === Protocol.UDP;
  if (version === 4) {
    if (isTcp && (mrqc & Mrqc.TCP_IPV4) !== 0) return Kind.TCP_IPV4;
    if (isUdp && (mrqc & Mrqc.UDP_IPV4) !== 0) return Kind.UDP_IPV4;
    return (mrqc & Mrqc.IPV4) !== 0 ? Kind.IPV4 : Kind.NONE;
  }
  if (version !== 6) return Kind.NONE;
  if (isTcp && (mrqc & (Mrqc.TCP_IPV6 | Mrqc.TCP_IPV6_EX)) !== 0) return Kind.TCP_IPV6;
  if (isUdp && (mrqc & Mrqc.UDP_IPV6) !== 0) return Kind.UDP_IPV6;
  return (mrqc & (Mrqc.IPV6 | Mrqc.IPV6_EX)) !== 0 ? Kind.IPV6 : Kind.NONE;
}
