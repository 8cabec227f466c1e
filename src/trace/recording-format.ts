/**
 * The layout of recordings, versions 1 and 2: docs/recording.md.
 *
 * Terms: a *block* is a length, a checksum, and a payload whose first byte says what it holds. A
 * *run* is pages that were reached one after another. A *stream* is one of eight places where
 * accesses go on.
 */
import { UserError } from '../input/user-error.js';

export const MAGIC = 'IOPFREC\n';
/** Of a recording that another iopf can read as well, and of one with faults on purpose. */
export const Version = { PLAIN: 1, INJECTED: 2 } as const;
/** Length and checksum, 32 bits each, little endian. */
export const BLOCK_HEAD = 8;
export const BLOCK_MOST = 1 << 20;
/** What can be read at once. */
export const RECORDING_MOST_BYTES = 2 ** 31 - 1;

export const BlockKind = { EVENTS: 0, HEADER: 1, END: 2 } as const;

/** Low two bits of an event's first byte. */
export const EventKind = { READ: 0, WRITE: 1, TIME: 2, OTHER: 3 } as const;
/** The other six bits of EventKind.OTHER. */
export const OtherEvent = {
  MAP: 0,
  UNMAP: 1,
  INVALIDATE: 2,
  PAGE_LOST: 3,
  REFUSED_READ: 4,
  REFUSED_WRITE: 5,
  RECLAIM: 6,
  SPACE_ENDED: 7,
  INJECTED: 8,
} as const;

export const STREAMS = 8;
/** Lengths of runs and times up to these stand in the first byte. */
export const SHORT_RUN = 7;
export const SHORT_TIME = 62;

/** A run has no more pages, so that a file cannot ask for endless work. */
export const RUN_MOST = 1 << 20;
/** Page numbers lie below it: addresses of 48 bits. */
export const PAGE_END = 2 ** 36;

/** What a run was, at its start. */
export interface RecordingHeader {
  readonly version: number;
  readonly program: string;
  readonly arguments: readonly string[];
  readonly kernel: string;
  readonly iopf: string;
  readonly premap: number;
  /** Of an imported file: what it did not say. */
  readonly assumptions?: readonly string[];
  /** Of version 2: the rules of `--inject`, as they were written, and the seed. */
  readonly inject?: { readonly rules: readonly string[]; readonly seed: number };
}

/** What it had counted at its end. */
export interface RecordingEnd {
  readonly faults: number;
  readonly invalidations: number;
  readonly pagesFaultedIn: number;
  readonly pagesPremapped: number;
  readonly pagesInvalidated: number;
  /** Absent in recordings from before there were any. */
  readonly pagesReclaimed?: number;
  /** Accesses to pages that were recorded. */
  readonly accesses: number;
}

const crcTable = Int32Array.from({ length: 256 }, (_, byte) => {
  let word = byte;
  for (let bit = 0; bit < 8; bit++)
    word = (word & 1) !== 0 ? (word >>> 1) ^ 0xedb88320 : word >>> 1;
  return word;
});

/** CRC-32 as in zip. */
export function checksum(bytes: Uint8Array): number {
  let word = -1;
  for (let i = 0; i < bytes.length; i++) word = crcTable[(word ^ bytes[i]!) & 0xff]! ^ (word >>> 8);
  return ~word >>> 0;
}

/**
 * Numbers below 2^53, seven bits a byte, low ones first; where they may be negative, the sign is
 * the lowest bit.
 */
export class ByteWriter {
  length = 0;

  constructor(readonly bytes: Uint8Array) {}

  byte(value: number): void {
    this.bytes[this.length++] = value;
  }

  number(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.bytes[this.length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.length++] = rest;
  }

  signed(value: number): void {
    this.number(value < 0 ? -2 * value - 1 : 2 * value);
  }
}

export class ByteReader {
  at = 0;

  constructor(readonly bytes: Uint8Array) {}

  get atEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  byte(): number {
    if (this.at >= this.bytes.length) throw new UserError('a block ends inside an event');
    return this.bytes[this.at++]!;
  }

  number(): number {
    let value = 0;
    for (let unit = 1; ; unit *= 128) {
      const byte = this.byte();
      value += (byte & 127) * unit;
      if (byte < 128) return value;
      if (unit > 2 ** 49) throw new UserError('a number is too long');
    }
  }

  signed(): number {
    const value = this.number();
    return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
  }
}
