import type { RegisterFile } from '../register-table.js';
import { Count } from './registers.js';

/** Bytes of the checksum behind each frame, which lengths on the wire count. */
const CRC_BYTES = 4;
/** Upper ends of the classes that frames are counted in by their length on the wire. */
const CLASSES = [64, 127, 255, 511, 1023];
const WORD = 2 ** 32;
const octets = ['GORC', 'GOTC', 'TOR', 'TOT'] as const;

/**
 * Counters that a read clears; those of 64 bits the read of their high half (8.18), which leaves
 * what has been counted since the low half was read.
 */
export class Statistics {
  /** What the counters were when their low halves were read; Infinity: they were not. */
  private readonly seen = new Float64Array(octets.length);

  constructor(private readonly registers: RegisterFile) {
    this.reset();
    octets.forEach((name, index) => {
      const at = Count[`${name}L`];
      const sum = (): number => registers.get(at + 4) * WORD + registers.get(at);
      registers.onRead([`${name}L`], (low) => {
        this.seen[index] = sum();
        return low;
      });
      registers.onRead([`${name}H`], () => {
        const taken = Math.min(this.seen[index]!, sum());
        registers.set(at, (sum() - taken) % WORD);
        this.seen[index] = Number.POSITIVE_INFINITY;
        return Math.floor(taken / WORD);
      });
    });
  }

  reset(): void {
    this.seen.fill(Number.POSITIVE_INFINITY);
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
    if (sum >= WORD) this.add(low + 4);
  }
}

export function isBroadcast(bytes: Uint8Array, offset: number): boolean {
  for (let byte = 0; byte < 6; byte++) if (bytes[offset + byte] !== 0xff) return false;
  return true;
}
