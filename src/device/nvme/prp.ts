import { PAGE_SIZE, READ } from '../../mm/address-space.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import type { DmaList } from '../dma-list.js';
import type { DmaPort } from '../dma-port.js';
import { Sqe } from './command.js';
import { BATCH_COMMANDS, TRANSFER_PAGES } from './limits.js';
import { Status } from './status.js';

const ENTRY_BYTES = 8;

/**
 * Where a command's data lies: physical region pages (NVM Express 1.4, 4.3). PRP1 names the first
 * page and where the data begins in it; PRP2 the second page, or where there are more, a list of
 * the others, whose last entry names the next page of the list if it does not fit.
 *
 * The lists of a batch of commands are fetched together (`prefetch`, one slot for each command),
 * then each command's is resolved.
 */
export class Prp {
  /** IOVA pages of the command resolved last. */
  readonly page = new Float64Array(TRANSFER_PAGES);
  /** Where the data begins in the first. */
  offset = 0;
  /** How many. */
  count = 0;
  private readonly words: Uint32Array;

  /** `lists`: PAGE_SIZE bytes for each command of a batch. */
  constructor(
    private readonly port: DmaPort,
    private readonly lists: DmaBuffer,
  ) {
    this.words = new Uint32Array(
      lists.bytes.buffer,
      lists.bytes.byteOffset,
      (BATCH_COMMANDS * PAGE_SIZE) / 4,
    );
  }

  /** Adds the fetch of a command's PRP list, if it has one, to `fetches`, tagged with its slot. */
  prefetch(command: Uint32Array, at: number, length: number, slot: number, fetches: DmaList): void {
    const pages = Math.ceil(((command[at + Sqe.PRP1]! & 0xfff) + length) / PAGE_SIZE);
    if (pages <= 2 || pages > TRANSFER_PAGES) return;
    const low = command[at + Sqe.PRP2]!;
    const offset = low & 0xff8;
    const bytes = Math.min((pages - 1) * ENTRY_BYTES, PAGE_SIZE - offset);
    const page = command[at + Sqe.PRP2 + 1]! * 2 ** 20 + (low >>> 12);
    fetches.append(page, offset, bytes, this.lists, slot * PAGE_SIZE, slot);
  }

  /** Finds the pages of `length` bytes (1 to TRANSFER_BYTES). Returns a status. */
  resolve(command: Uint32Array, at: number, length: number, slot: number): number {
    const low = command[at + Sqe.PRP1]!;
    if ((low & 3) !== 0) return Status.PRP_OFFSET_INVALID;
    this.offset = low & 0xfff;
    const count = Math.ceil((this.offset + length) / PAGE_SIZE);
    this.count = count;
    this.page[0] = command[at + Sqe.PRP1 + 1]! * 2 ** 20 + (low >>> 12);
    if (count === 1) return Status.SUCCESS;
    const second = command[at + Sqe.PRP2]!;
    if (count > 2) return this.list(second, slot);
    if ((second & 0xfff) !== 0) return Status.PRP_OFFSET_INVALID;
    this.page[1] = command[at + Sqe.PRP2 + 1]! * 2 ** 20 + (second >>> 12);
    return Status.SUCCESS;
  }

  private list(pointer: number, slot: number): number {
    if ((pointer & 7) !== 0) return Status.PRP_OFFSET_INVALID;
    const words = this.words;
    const start = (slot * PAGE_SIZE) / 4;
    let entry = start;
    /** Entries up to the end of this page of the list. */
    let left = (PAGE_SIZE - (pointer & 0xfff)) / ENTRY_BYTES;
    for (let index = 1; index < this.count; ) {
      const low = words[entry]!;
      if ((low & 0xfff) !== 0) return Status.PRP_OFFSET_INVALID;
      const page = words[entry + 1]! * 2 ** 20 + (low >>> 12);
      entry += 2;
      left--;
      if (left > 0 || index === this.count - 1) {
        this.page[index++] = page;
        continue;
      }
      const bytes = Math.min((this.count - index) * ENTRY_BYTES, PAGE_SIZE);
      if (this.port.ahead?.ask(page, READ) === false) return Status.DATA_TRANSFER_ERROR;
      if (!this.port.readRange(page * PAGE_SIZE, bytes, this.lists, slot * PAGE_SIZE)) {
        return Status.DATA_TRANSFER_ERROR;
      }
      entry = start;
      left = PAGE_SIZE / ENTRY_BYTES;
    }
    return Status.SUCCESS;
  }

  /** Whose memory the resolved data lies in: DmaPort.sides of all of it. */
  get sides(): number {
    let sides = 0;
    for (let index = 0; index < this.count; index++)
      sides |= this.port.own.sides(this.page[index]!, 1);
    return sides;
  }

  /**
   * Adds [skip, skip + length) of the resolved data to a list, from or to `bufferOffset` of
   * `buffer`.
   */
  append(
    list: DmaList,
    skip: number,
    length: number,
    buffer: DmaBuffer,
    bufferOffset: number,
    tag: number,
  ): void {
    let at = this.offset + skip;
    let target = bufferOffset;
    for (let left = length; left > 0; ) {
      const inPage = at & 0xfff;
      const piece = Math.min(PAGE_SIZE - inPage, left);
      list.append(this.page[(at - inPage) / PAGE_SIZE]!, inPage, piece, buffer, target, tag);
      at += piece;
      target += piece;
      left -= piece;
    }
  }
}
