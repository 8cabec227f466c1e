/**
 * A guest's own first stage above the container's page table (R8.1): VT-d's first-level table of
 * four levels, which lies in IOVA space, so that its own reads go through the second stage (VT-d
 * specification 3.6, 9.3).
 *
 * Terms: a device's *input* address is translated by the table to an *IOVA*, and that by the domain
 * to a frame. The table is only read: the accessed and dirty bits of its entries are the guest's to
 * set.
 */
import { READ, WRITE } from '../mm/address-space.js';
import {
  type AllocateDma,
  type DmaBuffer,
  type FrameMemory,
  SegmentList,
} from '../mm/frame-memory.js';
import type { Domain } from './domain.js';
import type { DeviceFaultHandler } from './page-request.js';

/**
 * What a walk ended at: a frame, an entry of the guest that is missing or forbids the access, a
 * page that the domain lacks, or a malformed entry.
 */
export type WalkEnd = 'frame' | 'stage1' | 'stage2' | 'malformed';

/** Pages that an address can be in: the lower half of 48 bits, as canonical addresses are. */
const INPUT_PAGES = 2 ** 35;
const ENTRIES = 512;
const ENTRY_BYTES = 8;
const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
/** A leaf above the last level: 2 MiB or 1 GiB. */
const LARGE = 0x80;
/** Address bits that a leaf of 2 MiB or 1 GiB leaves zero; bit 12 is a memory type. */
const RESERVED_2M = 0x1fe000;
const RESERVED_1G = 0x3fffe000;
/** Bits 51:32 of an entry's address are in the low bits of its upper half. */
const HIGH_ADDRESS = 0xfffff;

/** Reads entries of tables that lie in frames. */
export class TableMemory {
  /** The halves of the entry that was read. */
  low = 0;
  high = 0;
  private readonly buffer: DmaBuffer;
  private readonly words: Uint32Array;
  private readonly segments = new SegmentList(1);

  constructor(
    private readonly frames: FrameMemory,
    allocate: AllocateDma,
  ) {
    this.buffer = allocate(ENTRY_BYTES);
    this.words = new Uint32Array(this.buffer.bytes.buffer, this.buffer.bytes.byteOffset, 2);
  }

  /** Reads entry `index`, 0 to 511, of the table in a frame; false: the frame is gone. */
  readEntry(frame: number, index: number): boolean {
    const { segments, words } = this;
    segments.clear();
    segments.append(frame, index * ENTRY_BYTES, ENTRY_BYTES, this.buffer, 0);
    if (this.frames.read(segments) !== ENTRY_BYTES) return false;
    this.low = words[0]!;
    this.high = words[1]!;
    return true;
  }
}

/**
 * A first stage: a table of a guest with the queue of its page requests; devices translate through
 * it.
 */
export class Stage1 {
  /**
   * How the last walk ended, and where: the IOVA page that it led to or lacked, and the access that
   * was wanted there.
   */
  end: WalkEnd = 'frame';
  iovaPage = -1;
  access = 0;
  /** The domain maps a page of the table whose memory is gone. */
  tableLost = false;

  /**
   * @param root IOVA page of the table of the highest level
   * @param queue null: nobody is asked, and what the table lacks is refused
   */
  constructor(
    readonly root: number,
    readonly queue: DeviceFaultHandler | null,
    private readonly memory: TableMemory,
  ) {}

  /**
   * The frame that an access to an input page reaches, or -1; `end` and `iovaPage` tell more.
   * Allocates nothing.
   */
  walk(domain: Domain, page: number, access: number): number {
    this.tableLost = false;
    if (!(page < INPUT_PAGES)) return this.ends('malformed', -1, access);
    let table = this.root;
    for (let span = ENTRIES ** 3; ; span /= ENTRIES) {
      const frame = domain.translate(table, READ);
      if (frame < 0) return this.ends('stage2', table, READ);
      const { memory } = this;
      if (!memory.readEntry(frame, Math.floor(page / span) % ENTRIES)) {
        this.tableLost = true;
        return this.ends('stage2', table, READ);
      }
      const { low } = memory;
      const allowed = (low & USER) !== 0 && ((access & WRITE) === 0 || (low & WRITABLE) !== 0);
      if ((low & PRESENT) === 0) return this.ends('stage1', -1, access);
      if (isMalformed(low, span)) return this.ends('malformed', -1, access);
      if (!allowed) return this.ends('stage1', -1, access);
      table = (memory.high & HIGH_ADDRESS) * 2 ** 20 + (low >>> 12);
      if (span === 1 || (low & LARGE) !== 0) return this.leaf(domain, table, span, page, access);
    }
  }

  private leaf(domain: Domain, base: number, span: number, page: number, access: number): number {
    const iovaPage = base - (base % span) + (page % span);
    const frame = domain.translate(iovaPage, access);
    this.ends(frame < 0 ? 'stage2' : 'frame', iovaPage, access);
    return frame;
  }

  private ends(end: WalkEnd, iovaPage: number, access: number): -1 {
    this.end = end;
    this.iovaPage = iovaPage;
    this.access = access;
    return -1;
  }
}

/**
 * Whether an entry has reserved bits set: a leaf of 512 GiB, or a large leaf that is not aligned.
 */
function isMalformed(low: number, span: number): boolean {
  if (span === 1 || (low & LARGE) === 0) return false;
  if (span === ENTRIES) return (low & RESERVED_2M) !== 0;
  return span === ENTRIES ** 2 ? (low & RESERVED_1G) !== 0 : true;
}
