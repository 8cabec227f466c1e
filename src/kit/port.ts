/** The engine's objects, seen through what `device.ts` allows: nothing of theirs is handed out. */

import { DmaList } from '../device/dma-list.js';
import type { DmaPort } from '../device/dma-port.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import type { DmaBuffer } from '../mm/frame-memory.js';
import type { DeviceBuffer, Dma, DmaPiece } from './device.js';

const PIECES_MOST = 1024;
const ADDRESS_MOST = Number.MAX_SAFE_INTEGER;

/** Buffers that were made here: an address of the engine's own memory comes from nowhere else. */
export class Buffers {
  private readonly known = new WeakMap<DeviceBuffer, DmaBuffer>();

  wrap(memory: DmaBuffer): DeviceBuffer {
    const { buffer, byteLength, byteOffset } = memory.bytes;
    const view = new DataView(buffer, byteOffset, byteLength);
    const wrapped = Object.freeze({ bytes: memory.bytes, view });
    this.known.set(wrapped, memory);
    return wrapped;
  }

  /** Throws an Error for a buffer that is none of these, or does not have that part. */
  find(buffer: DeviceBuffer, offset: number, length: number): DmaBuffer {
    const memory = this.known.get(buffer);
    if (memory === undefined) throw new Error('DMA needs a buffer that device.allocate has made');
    const size = memory.bytes.length;
    if (!(Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length >= 0))
      throw new Error(
        `DMA of ${length} bytes at ${offset} of a buffer: no whole numbers from 0 on`,
      );
    if (offset + length > size)
      throw new Error(`DMA of ${length} bytes at ${offset} of a buffer that has ${size}`);
    return memory;
  }
}

/** Counts what is under way, so that somebody can tell a wait in here from one in the device. */
export interface DmaCount {
  begun: number;
  ended: number;
}

/** Errors of the engine's own pass through handlers, whatever those catch: the last is here. */
export class KitDma {
  private asker: (() => string | null) | null = null;
  engineError: { readonly error: unknown } | null = null;
  private readonly list = new DmaList(PIECES_MOST);

  constructor(
    private readonly port: DmaPort,
    private readonly buffers: Buffers,
    private readonly count: DmaCount,
  ) {
    port.asker = () => this.asker?.() ?? null;
  }

  /** What the author gets. */
  face(): Dma {
    const { port } = this;
    const all = this;
    return Object.freeze({
      get enabled(): boolean {
        return port.enabled;
      },
      get stalled(): boolean {
        return port.stalled;
      },
      get stalledAt(): number {
        return port.stalledAt;
      },
      get ready(): boolean {
        return port.ready;
      },
      get asker(): (() => string | null) | null {
        return all.asker;
      },
      set asker(asker: (() => string | null) | null) {
        all.asker = asker;
      },
      read: this.read.bind(this),
      write: this.write.bind(this),
      gather: this.gather.bind(this),
      scatter: this.scatter.bind(this),
    });
  }

  private read(address: number, length: number, buffer: DeviceBuffer, offset = 0): boolean {
    const memory = this.check(address, length, buffer, offset);
    return this.engine(() => this.port.readRange(address, length, memory, offset));
  }

  private write(address: number, length: number, buffer: DeviceBuffer, offset = 0): boolean {
    const memory = this.check(address, length, buffer, offset);
    return this.engine(() => this.port.writeRange(address, length, memory, offset));
  }

  private gather(pieces: readonly DmaPiece[], buffer: DeviceBuffer, offset = 0): boolean {
    return this.runPieces(pieces, buffer, offset, (list) => this.port.read(list, null));
  }

  private scatter(pieces: readonly DmaPiece[], buffer: DeviceBuffer, offset = 0): boolean {
    return this.runPieces(pieces, buffer, offset, (list) => this.port.write(list, null));
  }

  private check(address: number, length: number, buffer: DeviceBuffer, offset: number): DmaBuffer {
    const memory = this.buffers.find(buffer, offset, length);
    if (!(Number.isInteger(address) && address >= 0 && address + length <= ADDRESS_MOST))
      throw new Error(`DMA at ${address}: no IOVA in bytes, from 0 to 2^53`);
    return memory;
  }

  /** As many at once as the list takes: most devices have no more. */
  private runPieces(
    pieces: readonly DmaPiece[],
    buffer: DeviceBuffer,
    offset: number,
    run: (list: DmaList) => boolean,
  ): boolean {
    const { list } = this;
    let isWhole = true;
    const flush = (): void => {
      if (list.count > 0 && !this.engine(() => run(list))) isWhole = false;
      list.clear();
    };
    let at = offset;
    list.clear();
    for (const { address, length } of pieces) {
      const memory = this.check(address, length, buffer, at);
      for (let done = 0; done < length; ) {
        if (list.room === 0) flush();
        const inPage = (address + done) % PAGE_SIZE;
        const piece = Math.min(PAGE_SIZE - inPage, length - done);
        const page = (address + done - inPage) / PAGE_SIZE;
        // Each stands for itself: one that is refused does not keep the others from being copied.
        list.append(page, inPage, piece, memory, at + done, list.count);
        done += piece;
      }
      at += length;
    }
    flush();
    return isWhole;
  }

  private engine<Result>(work: () => Result): Result {
    this.count.begun++;
    try {
      return work();
    } catch (error) {
      this.engineError = { error };
      throw error;
    } finally {
      this.count.ended++;
    }
  }
}
