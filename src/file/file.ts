import { fail } from '../abi/errno.js';
import type { Caller } from './caller.js';

/** An event counter that the program waits on (eventfd(2)); signalled by interrupts. */
export interface EventCounter {
  /** Adds to the counter; never waits. */
  signal(): void;
  /**
   * Calls back each time somebody adds to the counter, and takes what was added, until the returned
   * function is called (kernel: vfio_virqfd). Absent where a run cannot watch.
   */
  watch?(signalled: () => void): () => void;
  /** Drops the reference. */
  close(): void;
}

/**
 * A request to map a file (mmap(2)); offset and length in bytes, protection and flags as in the
 * call.
 */
export interface MmapRequest {
  readonly length: number;
  readonly protection: number;
  readonly flags: number;
  readonly offset: number;
}

/** A part of a mapping, in bytes from its start. */
export interface MappedPart {
  readonly offset: number;
  readonly size: number;
  /** It is memory of another file, from there on in bytes. Absent: each access traps. */
  readonly file?: { readonly fd: number; readonly offset: number };
}

/**
 * An open file of VFIO: container, group or device. Calls return what the system call returns or
 * throw VfioError with its errno. Numbers above 2^53 arrive rounded, which no valid argument is.
 */
export interface VfioFile {
  readonly kind: 'container' | 'group' | 'device' | 'fault-queue' | 'iommufd' | 'iommufd-test';
  /**
   * What readlink of /proc/self/fd/N shows, as in the kernel: `/dev/vfio/9`,
   * `anon_inode:[vfio-device]`.
   */
  readonly name: string;
  /**
   * Nothing else is behind it yet, so that calls on it may come in the middle of any other. Absent:
   * never.
   */
  readonly standsAlone?: boolean;
  ioctl(caller: Caller, request: number, argument: number): number;
  /** pread(2) at `offset` into the program's memory at `address`. */
  read(caller: Caller, address: number, count: number, offset: number): number;
  /** pwrite(2). */
  write(caller: Caller, address: number, count: number, offset: number): number;
  /**
   * A stream: it has no position, and poll(2) says whether a read would find something: `tell` is
   * told now and whenever that changes. Absent: it is as a regular file to both.
   */
  watchReadable?(tell: (readable: boolean) => void): void;
  /** A stream that poll(2) never says to be writable. Absent: it always is. */
  readonly isReadOnly?: boolean;
  /**
   * Checks an mmap(2) of this file; returns when the mapping may be made, else throws. Returns the
   * parts of the mapping, in bytes from its start, that are not memory of this file: each access to
   * those that trap comes to `load` or `store`.
   */
  mmap(caller: Caller, request: MmapRequest): readonly MappedPart[];
  /**
   * A load of 1, 2, 4 or 8 bytes from a mapping of the file, at an offset of the file. False:
   * nothing answers there, and the program gets SIGBUS. Absent: no mapping traps.
   */
  load?(offset: number, into: Uint8Array): boolean;
  /** A store; as `load`. */
  store?(offset: number, from: Uint8Array): boolean;
  /** The last reference (descriptor or mapping) is gone. */
  release(): void;
}

/** ioctl(2) of a file that has none (kernel: vfs_ioctl): ENOTTY. */
export function noIoctl(): number {
  return fail('ENOTTY');
}

/** read(2) or write(2) of a file that has none (kernel: vfs_read, vfs_write): EINVAL. */
export function noTransfer(): number {
  return fail('EINVAL');
}

/** mmap(2) of a file that has none (kernel: do_mmap): ENODEV. */
export function noMapping(): never {
  fail('ENODEV');
}
