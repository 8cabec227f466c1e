import type { Asker, RefusalCause } from '../iommu/incidents.js';
import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import { type DmaBuffer, type FrameMemory, SegmentList } from '../mm/frame-memory.js';
import { AskedAhead } from './asked-ahead.js';
import { DmaList } from './dma-list.js';
import { OwnMemory } from './own-memory.js';
import type { DmaGate, StalledRequest, Translator } from './translator.js';

/** Is called with the pieces of a list that were refused. */
export interface DmaOwner {
  /**
   * The DMA with this tag was refused (by the IOMMU, or bus mastering is off); what is left of it
   * is skipped.
   */
  refused(tag: number): void;
  /** What asked for the DMA with this tag: see `DmaPort.asker`. */
  asking?(tag: number, access: number): string | null;
}

/**
 * How often one piece is faulted in, or found lost, before it counts as refused: a limit, not a
 * policy.
 */
const ATTEMPTS = 16;

/**
 * A function's way to the program's memory: translate, fault where there is no translation, copy in
 * few calls, in order.
 *
 * A fault may take other pages away (memory pressure), so no translation is held across one: what
 * is translated is copied first, then all that is missing is faulted in, then it is translated. A
 * copy that stops short has met a page that went away unannounced; its translation is dropped and
 * the page faulted in again.
 */
export class DmaPort {
  private isEnabled = false;
  /** Bus mastering is on, and no gate looks at transfers: one test for both. */
  private isOpen = false;
  /**
   * Says what of the device asks at the moment, for what is refused: a command, an entry of a ring.
   */
  asker: Asker | null = null;
  readonly own = new OwnMemory();
  /** Of a device that asks for pages before a transfer begins; null: a transfer may stall. */
  ahead: AskedAhead | null = null;
  private readonly iommu: Translator;
  private readonly frames: FrameMemory;
  private readonly segments = new SegmentList();
  private readonly range = new DmaList(64);
  /** `holdBack` has been told of. */
  private isHeld = false;
  private request: StalledRequest | null = null;
  private requestPage = -1;
  private requestAccess = 0;

  constructor(
    iommu: Translator,
    frames: FrameMemory,
    private readonly gate: DmaGate | null = null,
  ) {
    this.iommu = iommu;
    this.frames = frames;
  }

  /**
   * The last transfer of a range stopped at a page that only a program can bring: `stalledAt` bytes
   * of it are done, and the device continues from there when `ready`. Only devices that declare it
   * see this (PciDevice.stalls).
   */
  stalled = false;
  stalledAt = 0;

  /** Bus mastering. Off: every access is refused. */
  get enabled(): boolean {
    return this.isEnabled;
  }

  set enabled(isEnabled: boolean) {
    this.isEnabled = isEnabled;
    this.isOpen = isEnabled && this.gate === null;
  }

  /** What the last transfer stalled at has been answered; true also where it did not stall. */
  get ready(): boolean {
    return this.request === null || this.request.result !== null;
  }

  /**
   * The device would access an IOVA, in bytes, and does not, because bus mastering is off. Told of
   * once until the next reset.
   */
  holdBack(iova: number, access: number): void {
    if (this.isHeld) return;
    this.isHeld = true;
    this.iommu.refused?.(iova, access, 'bus mastering off', () => this.asker?.() ?? null);
  }

  /** The device was reset: it no longer waits for an answer. */
  forgetStall(): void {
    this.isHeld = false;
    this.request = null;
    this.stalled = false;
    this.ahead?.reset();
  }

  /** From now on the device asks ahead. */
  askAhead(): AskedAhead {
    this.ahead = new AskedAhead(this.iommu, this.own);
    return this.ahead;
  }

  /**
   * DMA read: copies the program's memory to the device. True if nothing was refused; the rest of
   * the list is done anyway.
   */
  read(list: DmaList, owner: DmaOwner | null): boolean {
    return this.run(list, READ, owner);
  }

  /** DMA write: copies from the device to the program's memory, in the list's order. */
  write(list: DmaList, owner: DmaOwner | null): boolean {
    return this.run(list, WRITE, owner);
  }

  /**
   * Reads `length` bytes at IOVA `address` (bytes, below 2^53) into the buffer; false: a part was
   * refused.
   */
  readRange(address: number, length: number, buffer: DmaBuffer, bufferOffset = 0): boolean {
    return this.runRange(address, length, buffer, bufferOffset, READ);
  }

  /**
   * Writes `length` bytes of the buffer at IOVA `address`; false: a part was refused, the rest is
   * written.
   */
  writeRange(address: number, length: number, buffer: DmaBuffer, bufferOffset = 0): boolean {
    return this.runRange(address, length, buffer, bufferOffset, WRITE);
  }

  private runRange(
    address: number,
    length: number,
    buffer: DmaBuffer,
    bufferOffset: number,
    access: number,
  ): boolean {
    const list = this.range;
    const step = (list.capacity - 1) * PAGE_SIZE;
    let whole = true;
    this.stalled = false;
    for (let done = 0; done < length && !this.stalled; done += step) {
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
      // Each page stands for itself here: one that is refused does not keep the others from being
      // copied.
      for (let piece = 0; piece < list.count; piece++) list.tag[piece] = piece;
      if (!this.run(list, access, null)) whole = false;
      if (this.stalled)
        this.stalledAt =
          list.page[this.stalledAt]! * PAGE_SIZE + list.offset[this.stalledAt]! - address;
    }
    return whole;
  }

  private run(list: DmaList, access: number, owner: DmaOwner | null): boolean {
    let whole = true;
    if (!this.isOpen) {
      if (!this.isEnabled) return this.refuseAll(list, access, owner);
      whole = this.passGate(this.gate!, list, access, owner);
    }
    const segments = this.segments;
    segments.clear();
    /** The first piece that is in `segments`. */
    let first = 0;
    /**
     * Pieces before this one have been faulted in already; one that is missing again says that
     * there is not room for all.
     */
    let faulted = 0;
    let ahead = true;
    let struggling = -1;
    let attempts = 0;
    const observer = this.iommu.observer?.accessed === undefined ? null : this.iommu.observer;
    for (let next = 0; next < list.count || segments.count > 0; ) {
      const atEnd = next === list.count;
      if (!atEnd && list.length[next] === 0) {
        next++;
        continue;
      }
      const page = atEnd ? -1 : list.page[next]!;
      const isGivenUp =
        (this.request !== null && this.givenUp(page, access)) || this.isRefusedAhead(page, access);
      const frame = atEnd || isGivenUp ? -1 : this.translate(page, access);
      if (frame >= 0 && !segments.full) {
        if (this.request !== null && this.requestPage === page) this.request = null;
        segments.append(
          frame,
          list.offset[next]!,
          list.length[next]!,
          list.buffer[next]!,
          list.bufferOffset[next]!,
        );
        if (next < list.together) segments.together = segments.count;
        if (observer !== null && !this.own.has(page)) this.record(page, access, false);
        next++;
        continue;
      }
      if (segments.count > 0) {
        const lost = this.copy(list, first, access);
        segments.clear();
        first = lost < 0 ? next : lost;
        if (lost < 0) continue;
        next = lost;
      } else {
        first = next;
        ahead &&= next >= faulted;
        faulted = ahead ? list.count : next + 1;
        if (!this.faultIn(list, next, faulted, access, owner)) whole = false;
        if (this.stalled) return false;
      }
      attempts = struggling === next ? attempts + 1 : 1;
      struggling = next;
      if (attempts === ATTEMPTS && list.length[next] !== 0) {
        whole = false;
        this.refuse(list, next, access, 'no translation', owner);
      }
    }
    return whole;
  }

  /** The frame behind a page, or -1. Hot. */
  private translate(page: number, access: number): number {
    return this.own.has(page) ? this.own.frameOf(page) : this.iommu.translate(page, access);
  }

  /** Faults in what is missing of pieces [from, end); `from` is. False: a page was refused. */
  private faultIn(
    list: DmaList,
    from: number,
    end: number,
    access: number,
    owner: DmaOwner | null,
  ): boolean {
    let whole = true;
    for (let piece = from; piece < end; piece++) {
      if (list.length[piece] === 0) continue;
      const page = list.page[piece]!;
      if (piece > from && this.translate(page, access) >= 0) continue;
      if (this.ahead === null && this.waits(page, access)) {
        // What lies before it is copied first; then it is the first that is missing.
        if (piece !== from) return whole;
        this.stalled = true;
        this.stalledAt = piece;
        return false;
      }
      const isRefused = this.isRefusedAhead(page, access);
      const isProgram = isRefused || this.request !== null;
      if (!isRefused && this.answer(page, access)) continue;
      whole = false;
      this.record(page, access, true);
      const cause = isProgram ? 'answered INVALID' : 'no translation';
      this.refuse(list, piece, access, cause, owner);
    }
    return whole;
  }

  /**
   * Recordings know the container's pages, which a replay can translate; an access that gets to
   * none is not in them.
   */
  private record(page: number, access: number, refused: boolean): void {
    const iommu = this.iommu;
    if (!iommu.observer?.accessed) return;
    const containerPage = iommu.stage2Page?.(page, access) ?? page;
    if (containerPage >= 0) iommu.observer.accessed(containerPage, access, refused);
  }

  /** Whether an access waits for a program's answer. */
  private waits(page: number, access: number): boolean {
    if (this.request === null || this.requestPage !== page || this.requestAccess !== access) {
      this.request = this.iommu.request?.(page, access) ?? null;
      this.requestPage = page;
      this.requestAccess = access;
    }
    return this.request !== null && this.request.result === null;
  }

  /** The program's answer, or else the container's: true: try again. */
  private answer(page: number, access: number): boolean {
    const request = this.request;
    if (request === null) return this.iommu.fault(page, access);
    this.request = null;
    return request.result!;
  }

  /** Whether the program has said that an access must be given up, whatever is mapped by now. */
  private givenUp(page: number, access: number): boolean {
    return (
      this.requestPage === page && this.requestAccess === access && this.request!.result === false
    );
  }

  private isRefusedAhead(page: number, access: number): boolean {
    return this.ahead?.isRefused(page, access) === true;
  }

  /** Drops a piece and those of the same tag that follow it. */
  private refuse(
    list: DmaList,
    piece: number,
    access: number,
    cause: RefusalCause,
    owner: DmaOwner | null,
  ): void {
    const tag = list.tag[piece]!;
    this.iommu.refused?.(
      list.page[piece]! * PAGE_SIZE + list.offset[piece]!,
      access,
      cause,
      () => owner?.asking?.(tag, access) ?? this.asker?.() ?? null,
    );
    for (let at = piece; at < list.count && list.tag[at] === tag; at++) list.length[at] = 0;
    owner?.refused(tag);
  }

  /** False: the gate refused a piece. */
  private passGate(gate: DmaGate, list: DmaList, access: number, owner: DmaOwner | null): boolean {
    let whole = true;
    for (let piece = 0; piece < list.count; piece++) {
      const page = list.page[piece]!;
      const length = list.length[piece]!;
      if (length === 0 || this.own.has(page)) continue;
      if (!gate.refuses(page * PAGE_SIZE + list.offset[piece]!, length, access)) continue;
      whole = false;
      this.record(page, access, true);
      this.refuse(list, piece, access, 'injected', owner);
    }
    return whole;
  }

  private refuseAll(list: DmaList, access: number, owner: DmaOwner | null): boolean {
    for (let piece = 0; piece < list.count; piece++)
      if (list.length[piece] !== 0) this.refuse(list, piece, access, 'bus mastering off', owner);
    return list.count === 0;
  }

  /**
   * Copies the segments, which are the pieces from `first` on; returns the piece that was lost on
   * the way, or -1.
   */
  private copy(list: DmaList, first: number, access: number): number {
    const segments = this.segments;
    const done = access === READ ? this.frames.read(segments) : this.frames.write(segments);
    const iommu = this.iommu;
    const moved = this.own.isThere ? this.busBytes(list, first, done) : done;
    if (access === READ) {
      iommu.counters.dmaBytesRead += moved;
      iommu.dmaBytesRead += moved;
    } else {
      iommu.counters.dmaBytesWritten += moved;
      iommu.dmaBytesWritten += moved;
    }
    if (done >= segments.bytes) return -1;
    let piece = first;
    let end = list.length[piece]!;
    while (end <= done) end += list.length[++piece]!;
    const page = list.page[piece]!;
    if (!this.own.has(page)) iommu.pageLost(page);
    return piece;
  }

  /** How many of the first `done` bytes of the pieces from `first` on went over the bus. */
  private busBytes(list: DmaList, first: number, done: number): number {
    let bytes = 0;
    let left = done;
    for (let piece = first; left > 0; piece++) {
      const length = Math.min(list.length[piece]!, left);
      if (!this.own.has(list.page[piece]!)) bytes += length;
      left -= length;
    }
    return bytes;
  }
}
