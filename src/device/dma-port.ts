import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import { type DmaBuffer, type FrameMemory, SegmentList } from '../mm/frame-memory.js';
import { DmaList } from './dma-list.js';

/** A function's view of its IOMMU, as far as DMA needs it; `iommu/device.ts` is one. */
export interface Translator {
  /** The frame behind an IOVA page for this access, or -1. */
  translate(iovaPage: number, access: number): number;
  /** Reports a page request; true: it was answered SUCCESS and the access may be tried again (R2.1). */
  fault(iovaPage: number, access: number): boolean;
  /** The page behind a translation is gone without notice: the IOMMU forgets the translation. */
  pageLost(iovaPage: number): void;
}

/** Told which pieces of a list were refused. */
export interface DmaOwner {
  /** The DMA with this tag was refused (by the IOMMU, or bus mastering is off); what is left of it is skipped. */
  refused(tag: number): void;
}

/** How often one piece is faulted in, or found lost, before it counts as refused: a limit, not a policy. */
const ATTEMPTS = 16;

/**
 * A function's way to the program's memory: translate, fault where there is no translation, copy in few calls, in order.
 *
 * A fault may take other pages away (memory pressure), so no translation is held across one: what is translated is copied
 * first. A copy that stops short has met a page that went away unannounced; the translation is dropped and the page faulted.
 */
export class DmaPort {
  /** Bus mastering. Off: every access is refused. */
  enabled = false;
  readonly #iommu: Translator;
  readonly #frames: FrameMemory;
  readonly #segments = new SegmentList();
  readonly #range = new DmaList(64);

  constructor(iommu: Translator, frames: FrameMemory) {
    this.#iommu = iommu;
    this.#frames = frames;
  }

  /** DMA read: copies the program's memory to the device. True if nothing was refused; the rest of the list is done anyway. */
  read(list: DmaList, owner: DmaOwner | null): boolean {
    return this.#run(list, READ, owner);
  }

  /** DMA write: copies from the device to the program's memory, in the list's order. */
  write(list: DmaList, owner: DmaOwner | null): boolean {
    return this.#run(list, WRITE, owner);
  }

  /** Reads `length` bytes at IOVA `address` (bytes, below 2^53) into the buffer; false: a part was refused. */
  readRange(address: number, length: number, buffer: DmaBuffer, bufferOffset = 0): boolean {
    return this.#runRange(address, length, buffer, bufferOffset, READ);
  }

  /** Writes `length` bytes of the buffer at IOVA `address`; false: a part was refused, the rest is written. */
  writeRange(address: number, length: number, buffer: DmaBuffer, bufferOffset = 0): boolean {
    return this.#runRange(address, length, buffer, bufferOffset, WRITE);
  }

  #runRange(
    address: number,
    length: number,
    buffer: DmaBuffer,
    bufferOffset: number,
    access: number,
  ): boolean {
    const list = this.#range;
    const step = (list.capacity - 1) * PAGE_SIZE;
    let whole = true;
    for (let done = 0; done < length; done += step) {
      const at = address + done;
      const offset = at % PAGE_SIZE;
      list.clear();
      list.appendRange(
        (at - offset) / PAGE_SIZE,
        offset,
        Math.min(step, length - done),
        buffer,
        bufferOffset + done,
        0,
      );
      // Each page stands for itself here: one that is refused does not keep the others from being copied.
      for (let piece = 0; piece < list.count; piece++) list.tag[piece] = piece;
      if (!this.#run(list, access, null)) whole = false;
    }
    return whole;
  }

  #run(list: DmaList, access: number, owner: DmaOwner | null): boolean {
    const segments = this.#segments;
    const iommu = this.#iommu;
    segments.clear();
    let whole = true;
    let skipping = false;
    let skippedTag = 0;
    /** The first piece that is in `segments`; those that were refused since have length 0. */
    let first = 0;
    let attempts = 0;
    let next = 0;
    while (next < list.count || segments.count > 0) {
      const atEnd = next === list.count;
      if (!atEnd && skipping && list.tag[next] === skippedTag) {
        list.length[next++] = 0;
        continue;
      }
      const frame = atEnd || !this.enabled ? -1 : iommu.translate(list.page[next]!, access);
      if (frame >= 0 && !segments.full) {
        segments.append(
          frame,
          list.offset[next]!,
          list.length[next]!,
          list.buffer[next]!,
          list.bufferOffset[next]!,
        );
        next++;
        continue;
      }
      if (segments.count > 0) {
        const lost = this.#copy(list, first, access);
        segments.clear();
        if (lost < 0) {
          first = next;
          attempts = 0;
          continue;
        }
        attempts = lost === first ? attempts + 1 : 1;
        first = lost;
        next = lost;
        if (attempts < ATTEMPTS) continue;
      } else {
        first = next;
        if (this.enabled && attempts++ < ATTEMPTS && iommu.fault(list.page[next]!, access)) continue;
      }
      skipping = true;
      skippedTag = list.tag[next]!;
      list.length[next++] = 0;
      first = next;
      attempts = 0;
      whole = false;
      owner?.refused(skippedTag);
    }
    return whole;
  }

  /** Copies the segments, which are the pieces from `first` on; returns the piece that was lost on the way, or -1. */
  #copy(list: DmaList, first: number, access: number): number {
    const segments = this.#segments;
    const done = access === READ ? this.#frames.read(segments) : this.#frames.write(segments);
    if (done >= segments.bytes) return -1;
    let piece = first;
    let end = list.length[piece]!;
    while (end <= done) end += list.length[++piece]!;
    this.#iommu.pageLost(list.page[piece]!);
    return piece;
  }
}
