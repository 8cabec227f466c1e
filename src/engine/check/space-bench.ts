/** An address space on a bench: what its author lends of it, and what it told. */
import { runDirect } from '../../flow/direct.js';
import { type AddressSpace, PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';

/** An address space, and what happens to it from outside. */
export interface SpaceUnderTest {
  readonly space: AddressSpace;
  /** mmap(2) of private memory that reads as zeros, in pages; what was there goes. */
  mmap(first: number, count: number, access: number): void;
  munmap(first: number, count: number): void;
  /** mprotect(2); `access`: 0, READ, or READ and WRITE. */
  protect(first: number, count: number, access: number): void;
  /** MADV_DONTNEED: the pages read as zeros from then on. */
  discard(first: number, count: number): void;
  /** The process ends. */
  exit(): void;
}

/** @internal What an address space does that it must not. */
export class Broken extends Error {}

/** @internal */
export function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Broken(what);
}

/** @internal The first page that rules use, of `PAGES`. */
export const FIRST = 0x10200;
/** @internal */
export const PAGES = 16;
/** @internal */
export const RW = READ | WRITE;
/** @internal */
export const EFAULT = 14;

/** @internal */
export interface Told {
  readonly first: number;
  readonly count: number;
}

/** @internal Hears what a space tells. */
export class Listener {
  readonly told: Told[] = [];
  releases = 0;
  /** Called while it is told. */
  whenTold: (() => void) | null = null;
  readonly unsubscribe: () => void;

  constructor(space: AddressSpace) {
    this.unsubscribe = space.subscribe({
      invalidate: (first, count) => {
        this.told.push({ first, count });
        this.whenTold?.();
      },
      release: () => {
        this.releases++;
      },
    });
  }

  heardOf(page: number): boolean {
    return this.told.some(({ count, first }) => page >= first && page < first + count);
  }
}

/** @internal */
export class SpaceBench {
  readonly space: AddressSpace;
  readonly frames = new Float64Array(PAGES);

  constructor(readonly host: SpaceUnderTest) {
    this.space = host.space;
  }

  /** `AddressSpace.pageIn`, waited for. */
  pageIn(first: number, count: number, access: number): number {
    const { frames, space } = this;
    const got = space.pageIn(first, count, access, frames);
    if (got !== -1) return got;
    must(space.pageInFlow !== undefined, 'pageIn answers -1, and there is no pageInFlow');
    return runDirect(space.pageInFlow(first, count, access, frames));
  }

  /** The frame of one page; -1: there is none for this access. */
  frame(page: number, access: number): number {
    return this.pageIn(page, 1, access) === 1 ? this.frames[0]! : -1;
  }

  write(page: number, byte: number): boolean {
    return this.space.copyTo(page * PAGE_SIZE, new Uint8Array(PAGE_SIZE).fill(byte));
  }

  /** The byte that a page is full of; -1: it cannot be read, -2: it is not full of one. */
  read(page: number): number {
    const bytes = new Uint8Array(PAGE_SIZE);
    if (!this.space.copyFrom(page * PAGE_SIZE, bytes)) return -1;
    return bytes.every((byte) => byte === bytes[0]) ? bytes[0]! : -2;
  }
}
