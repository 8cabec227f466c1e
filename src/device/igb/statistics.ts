import type { RegisterFile } from '../register-table.js';
import { Count } from './registers.js';

/** Bytes of the checksum behind each frame, which lengths on the wire count. */
const CRC_BYTES = 4;
/** Upper ends of the classes that frames are counted in by their length on the wire. */
const CLASSES = [64, 127, 255, 511, 1023];
const octets = ['GORC', 'GOTC', 'TOR', 'TOT'] as const;

/** Counters that a read clears; those of 64 bits the read of their high half (8.18). */
export class Statistics {
  constructor(private readonly registers: RegisterFile) {
    for (const name of octets) {
      registers.onRead([`${name}H`], (high) => {
        registers.set(Count[`${name}L`], 0);
        return high;
      });
    }
  }

  /** A frame of `length` bytes, without its checksum, at `offset` has been sent. */
  sent(bytes: Uint8Array, offset: number, length: number): void {
    this.add(Count.TPT);
    this.add(Count.GPTC);
    this.count(Count.PTC64, Count.MPTC, Count.BPTC, bytes, offset, length);
    this.addOctets(Count.GOTCL, length + CRC_BYTES);
    this.addOctets(Count.TOTL, length + CRC_BYTES);
  }

  /** A frame has come over the wire, wanted or not. */
  arrived(length: number): void {
    this.add(Count.TPR);
    this.addOctets(Count.TORL, length + CRC_BYTES);
  }

  /** A frame has been accepted. */
  received(bytes: Uint8Array, offset: number, length: number): void {
    this.add(Count.GPRC);
    this.count(Count.PRC64, Count.MPRC, Count.BPRC, bytes, offset, length);
    this.addOctets(Count.GORCL, length + CRC_BYTES);
  }

  /** Adds one. */
  add(counter: number): void {
    this.registers.set(counter, (this.registers.get(counter) + 1) >>> 0);
  }

  private count(
    classes: number,
    multicast: number,
    broadcast: number,
    bytes: Uint8Array,
    offset: number,
    length: number,
  ): void {
    let index = 0;
    while (index < CLASSES.length && length + CRC_BYTES > CLASSES[index]!) index++;
    this.add(classes + 4 * index);
    if ((bytes[offset]! & 1) === 0) return;
    this.add(isBroadcast(bytes, offset) ? broadcast : multicast);
  }

  private addOctets(low: number, length: number): void {
    const { registers } = this;
    const sum = registers.get(low) + length;
    registers.set(low, sum >>> 0);
    if (sum >= 2 ** 32) this.add(low + 4);
  }
}

export function isBroadcast(bytes: Uint8Array, offset: number): boolean {
  for (let byte = 0; byte < 6; byte++) if (bytes[offset + byte] !== 0xff) return false;
  return true;
}
