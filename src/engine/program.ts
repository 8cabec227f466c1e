/** A simulated program's memory, in bytes. */
import { Errno } from '../abi/errno.js';
import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import { SimulatedSpace } from '../mm/simulated.js';
import { SimulatedMemory } from '../mm/simulated-memory.js';
import { answerOf, EngineError } from './engine-error.js';

export interface ProgramOptions {
  /** Memory of the host; where it is used up pages go to swap. No limit unless given. */
  readonly hostBytes?: number;
  /** RLIMIT_MEMLOCK; no limit unless given. */
  readonly lockLimitBytes?: number;
}

/**
 * What a program, or the host behind it, does with its memory. Addresses and sizes are bytes, whole
 * pages where pages change.
 */
export interface Program {
  /** mmap(2) of private anonymous memory; `access` is READ, WRITE or both, which is the default. */
  mmap(address: number, size: number, access?: number): void;
  munmap(address: number, size: number): void;
  mprotect(address: number, size: number, access: number): void;
  /** Throws `EngineError` EFAULT where the program would get SIGSEGV. */
  write(address: number, bytes: Uint8Array): void;
  read(address: number, size: number): Uint8Array;
  /** MADV_DONTNEED: reads as zeros from then on. */
  discard(address: number, size: number): void;
  /** MADV_PAGEOUT: goes to swap. */
  pageOut(address: number, size: number): void;
  /** Another frame behind each page, as compaction does. */
  migrate(address: number, size: number): void;
  /** Pages of the program that are in memory. */
  readonly presentBytes: number;
  /** In the process's account of locked memory (VmLck): an IOAS charges the user instead. */
  readonly lockedBytes: number;
}

/** @internal */
export function simulatedSpace({ hostBytes, lockLimitBytes }: ProgramOptions): SimulatedSpace {
  const frames = hostBytes === undefined ? Number.POSITIVE_INFINITY : pages(hostBytes, 'hostBytes');
  const memory = new SimulatedMemory(frames);
  if (lockLimitBytes === undefined) return new SimulatedSpace(memory);
  const lockLimitPages = Math.floor(lockLimitBytes / PAGE_SIZE);
  return new SimulatedSpace(memory, { ipcLock: false, lockLimitPages });
}

/** @internal */
export function programOf(space: SimulatedSpace): Program {
  const at = (address: number) => pages(address, 'an address');
  const of = (size: number) => pages(size, 'a size');
  return {
    mmap(address, size, access = READ | WRITE) {
      space.mmap(at(address), of(size), { kind: 'anon', protection: access });
    },
    munmap: (address, size) => space.munmap(at(address), of(size)),
    mprotect: (address, size, access) =>
      answerOf('mprotect', space.mprotect(at(address), of(size), access)),
    write(address, bytes) {
      if (!space.copyTo(address, bytes)) throw new EngineError('write', Errno.EFAULT);
    },
    read(address, size) {
      const bytes = new Uint8Array(size);
      if (!space.copyFrom(address, bytes)) throw new EngineError('read', Errno.EFAULT);
      return bytes;
    },
    discard: (address, size) => answerOf('discard', space.dontNeed(at(address), of(size))),
    pageOut: (address, size) => space.pageOut(at(address), of(size)),
    migrate: (address, size) => space.migrate(at(address), of(size)),
    get presentBytes() {
      return space.presentPages * PAGE_SIZE;
    },
    get lockedBytes() {
      return space.lockedPages * PAGE_SIZE;
    },
  };
}

/** Whole pages of so many bytes. Throws RangeError. */
function pages(bytes: number, what: string): number {
  if (Number.isSafeInteger(bytes) && bytes >= 0 && bytes % PAGE_SIZE === 0)
    return bytes / PAGE_SIZE;
  throw new RangeError(`${what} is ${bytes}, not a multiple of ${PAGE_SIZE}`);
}
