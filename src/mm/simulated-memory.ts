import { Bug } from '../abi/bug.js';
import { PAGE_SIZE } from './address-space.js';
import type { FrameMemory, SegmentList } from './frame-memory.js';

/**
 * The frame that all untouched private memory shows (ZERO_PAGE): never written, never freed, never
 * counted.
 */
export const ZERO_FRAME = 0;

const INITIAL_FRAMES = 16;

/** Gives frames back when there are none left; returns whether it freed one. */
export type Reclaim = () => boolean;

/**
 * The physical memory of a simulated run: frames with owners, pins and bytes. Bytes are made when
 * they are first not all alike. An access to a frame that nobody owns is a Bug: a translation has
 * outlived its page.
 */
export class SimulatedMemory implements FrameMemory {
  /** Frames in use; at `limitFrames` reclaim is asked for one. */
  used = 0;
  /** Pins held on all frames. */
  pinned = 0;
  limitFrames: number;

  /**
   * By frame number: owners (page tables, files, pins), pins among them, whether a file owns it,
   * its byte where all are alike.
   */
  private owners = new Int32Array(INITIAL_FRAMES);
  private pins = new Int32Array(INITIAL_FRAMES);
  private ofFile = new Uint8Array(INITIAL_FRAMES);
  private fill = new Uint8Array(INITIAL_FRAMES);
  private readonly data: (Uint8Array | null)[] = [null];
  private readonly free: number[] = [];
  private next = 1;
  private readonly reclaims: Reclaim[] = [];
  /** The source of frames that is asked next, so that none is drained alone. */
  private nextReclaim = 0;

  constructor(limitFrames = Number.POSITIVE_INFINITY) {
    this.limitFrames = limitFrames;
    this.owners[ZERO_FRAME] = 1;
  }

  /** Adds a source of frames for when there are none left; the returned function takes it off. */
  addReclaim(reclaim: Reclaim): () => void {
    this.reclaims.push(reclaim);
    return () => {
      const index = this.reclaims.indexOf(reclaim);
      if (index >= 0) this.reclaims.splice(index, 1);
    };
  }

  /**
   * A zeroed frame with one owner, or -1 where there is no memory. May reclaim, which invalidates
   * pages.
   */
  allocate(ofFile = false): number {
    if (this.used >= this.limitFrames && !this.reclaimOne()) return -1;
    const frame = this.free.pop() ?? this.take();
    this.own(frame, ofFile);
    return frame;
  }

  /**
   * `count` consecutive frames aligned to `count`, each with one owner: the first, or -1. For huge
   * pages.
   */
  allocateBlock(count: number): number {
    while (this.used + count > this.limitFrames) if (!this.reclaimOne()) return -1;
    while (this.next % count !== 0) this.free.push(this.take());
    const first = this.next;
    for (let i = 0; i < count; i++) this.own(this.take(), false);
    return first;
  }

  /** Frames that were given back, in the order in which they were: the last one comes next. */
  get freeFrames(): readonly number[] {
    return this.free;
  }

  /** One more than the highest frame that was ever used. */
  get framesEnd(): number {
    return this.next;
  }

  /** The source of frames that is asked next. */
  get nextSource(): number {
    return this.nextReclaim;
  }

  /** Page tables, files and pins that have a frame. */
  ownersOf(frame: number): number {
    return this.owners[frame]!;
  }

  pinsOf(frame: number): number {
    return this.pins[frame]!;
  }

  /** Whether somebody owns a frame. */
  isOwned(frame: number): boolean {
    return this.owners[frame]! > 0;
  }

  /** One owner more. */
  hold(frame: number): void {
    if (frame !== ZERO_FRAME) this.owners[frame]!++;
  }

  /** One owner less; the last one frees the frame. */
  release(frame: number): void {
    if (frame === ZERO_FRAME) return;
    if (this.owners[frame]! <= 0) throw new Bug('frame released too often', { frame });
    if (--this.owners[frame]! !== 0) return;
    this.data[frame] = null;
    this.fill[frame] = 0;
    this.used--;
    this.free.push(frame);
  }

  pin(frame: number): void {
    if (frame === ZERO_FRAME) return;
    this.hold(frame);
    this.pins[frame]!++;
    this.pinned++;
  }

  unpin(frame: number): void {
    if (frame === ZERO_FRAME) return;
    if (this.pins[frame]! <= 0) throw new Bug('frame unpinned too often', { frame });
    this.pins[frame]!--;
    this.pinned--;
    this.release(frame);
  }

  isPinned(frame: number): boolean {
    return this.pins[frame]! !== 0;
  }

  /**
   * Whether one page table alone owns it, pins aside: a private page that may be written where it
   * is.
   */
  isExclusive(frame: number): boolean {
    return (
      frame !== ZERO_FRAME &&
      this.ofFile[frame] === 0 &&
      this.owners[frame]! - this.pins[frame]! === 1
    );
  }

  isOfFile(frame: number): boolean {
    return this.ofFile[frame] !== 0;
  }

  /** Makes one frame's bytes those of another. */
  copy(from: number, to: number): void {
    this.fill[to] = this.fill[from]!;
    this.data[to] = this.data[from]?.slice() ?? null;
  }

  /** Sets all bytes of a frame. */
  setAll(frame: number, byte: number): void {
    this.data[frame] = null;
    this.fill[frame] = byte;
  }

  /** Takes a frame's bytes out, to be kept elsewhere (swap). */
  takeContent(frame: number): PageContent {
    const data = this.data[frame] ?? null;
    if (data === null && this.fill[frame] === 0) return ZEROS;
    const content = { byte: this.fill[frame]!, data };
    this.data[frame] = null;
    return content;
  }

  putContent(frame: number, content: PageContent): void {
    this.fill[frame] = content.byte;
    this.data[frame] = content.data?.slice() ?? null;
  }

  readPage(frame: number, offset: number, into: Uint8Array): void {
    const data = this.data[frame];
    if (data === null || data === undefined) into.fill(this.fill[frame]!);
    else into.set(data.subarray(offset, offset + into.length));
  }

  writePage(frame: number, offset: number, from: Uint8Array): void {
    if (frame === ZERO_FRAME) throw new Bug('the zero frame is written');
    let data = this.data[frame] ?? null;
    if (data === null) {
      data = new Uint8Array(PAGE_SIZE);
      if (this.fill[frame] !== 0) data.fill(this.fill[frame]!);
      this.data[frame] = data;
    }
    data.set(from, offset);
  }

  read(list: SegmentList): number {
    return this.transfer(list, false);
  }

  write(list: SegmentList): number {
    return this.transfer(list, true);
  }

  private transfer(list: SegmentList, toFrames: boolean): number {
    for (let i = 0; i < list.count; i++) {
      const buffer = list.buffer[i]!.bytes;
      let frame = list.frame[i]!;
      let offset = list.offset[i]!;
      let at = list.bufferOffset[i]!;
      for (let left = list.length[i]!; left > 0; ) {
        const length = Math.min(left, PAGE_SIZE - offset);
        if (!(this.owners[frame]! > 0))
          throw new Bug('access to a frame that nobody owns', { frame, toFrames });
        const part = buffer.subarray(at, at + length);
        if (toFrames) this.writePage(frame, offset, part);
        else this.readPage(frame, offset, part);
        at += length;
        left -= length;
        offset = 0;
        frame++;
      }
    }
    return list.bytes;
  }

  private own(frame: number, ofFile: boolean): void {
    this.owners[frame] = 1;
    this.ofFile[frame] = ofFile ? 1 : 0;
    this.used++;
  }

  private take(): number {
    const frame = this.next++;
    if (frame === this.owners.length) {
      this.owners = grow(this.owners, new Int32Array(frame * 2));
      this.pins = grow(this.pins, new Int32Array(frame * 2));
      this.ofFile = grow(this.ofFile, new Uint8Array(frame * 2));
      this.fill = grow(this.fill, new Uint8Array(frame * 2));
    }
    this.data.push(null);
    return frame;
  }

  private reclaimOne(): boolean {
    for (let tries = this.reclaims.length; tries > 0; tries--) {
      const reclaim = this.reclaims[this.nextReclaim % this.reclaims.length]!;
      this.nextReclaim = (this.nextReclaim + 1) % this.reclaims.length;
      if (reclaim() && this.used < this.limitFrames) return true;
    }
    return false;
  }
}

/** A page's bytes apart from a frame. */
export interface PageContent {
  /** Every byte, where `data` is null. */
  readonly byte: number;
  readonly data: Uint8Array | null;
}

export const ZEROS: PageContent = { byte: 0, data: null };

function grow<T extends Int32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
