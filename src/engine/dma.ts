/** What a device of an embedded engine does: accesses, page by page. */
import type { IommuDevice } from '../iommu/device.js';
import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';

/** How often a page is asked for, where it goes again at once. */
const ATTEMPTS = 16;

/** The bytes that frame numbers name. */
export interface Frames {
  /** Within one page. False: the frame's page is gone. */
  read(frame: number, offset: number, into: Uint8Array): boolean;
  write(frame: number, offset: number, from: Uint8Array): boolean;
}

/** Addresses are IOVAs, in bytes. */
export interface Dma {
  /** Reads memory; null where a page of it is refused. */
  read(iova: number, size: number): Uint8Array | null;
  /** Writes memory; false where a page of it is refused: what lies before that is written. */
  write(iova: number, bytes: Uint8Array): boolean;
  /**
   * The frame of one page for READ or WRITE, asked for where it is not mapped; null: refused. It
   * holds until the page is invalidated.
   */
  frame(iova: number, access: number): number | null;
}

/** @internal */
export function dmaOf(device: IommuDevice, frames: Frames): Dma {
  const frame = (iova: number, access: number): number | null => {
    const page = Math.floor(iova / PAGE_SIZE);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = device.translate(page, access);
      if (found >= 0) return found;
      if (!device.fault(page, access)) return null;
    }
    return null;
  };
  const move = (iova: number, bytes: Uint8Array, access: number): boolean => {
    for (let done = 0; done < bytes.length; ) {
      const offset = (iova + done) % PAGE_SIZE;
      const part = bytes.subarray(done, done + PAGE_SIZE - offset);
      const found = frame(iova + done, access);
      if (found === null) return false;
      const isMoved =
        access === READ ? frames.read(found, offset, part) : frames.write(found, offset, part);
      if (!isMoved) return false;
      done += part.length;
    }
    return true;
  };
  return {
    frame,
    read(iova, size) {
      const bytes = new Uint8Array(size);
      return move(iova, bytes, READ) ? bytes : null;
    },
    write: (iova, bytes) => move(iova, bytes, WRITE),
  };
}
