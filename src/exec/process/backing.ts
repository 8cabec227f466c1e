/** The inodes behind VFIO's files: what the descriptors that a program gets are descriptions of. */

import { fstatSync } from 'node:fs';
import { MFD_CLOEXEC, O_CLOEXEC, O_NONBLOCK, O_RDWR } from '../../abi/linux.js';
import { UserError } from '../../input/user-error.js';
import {
  allocateNative,
  close,
  fcntl,
  ftruncate,
  memfdCreate,
  must,
  open,
  pipe2,
  read,
  write,
} from '../../mm/process/libc.js';
import { getLimit, RLIMIT_FSIZE, setLimit } from '../../mm/process/limits.js';
import { fileKey } from '../../mm/process/vmas.js';

const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
/** SEAL, SHRINK, GROW: the program could otherwise take memory from under the engine's mapping. */
const SEALS = 1 | 2 | 4;
/**
 * One byte is the engine's; what else is in a pipe the program has put there, by a number that is
 * not intercepted.
 */
const STREAM_BYTES = 4096;
const streamMemory = allocateNative(STREAM_BYTES);

/** A sealed memfd or a pipe: the inode that descriptors of one or several files share. */
export interface Backing {
  readonly fd: number;
  readonly device: number;
  readonly inode: number;
  /** As `fileKey`. */
  readonly key: string;
  /** The program's descriptions are open for reading alone. */
  readonly isReadOnly: boolean;
  /** Next byte to lock: each description locks one of its own. */
  nextLock: number;
}

export function makeBacking(name: string, bytes: number): Backing {
  const fd = must('memfd_create', memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  grow(fd, bytes);
  must('F_ADD_SEALS', fcntl(fd, F_ADD_SEALS, SEALS));
  const { dev, ino } = fstatSync(fd);
  // Linux's 64-bit device numbers, as far as the file systems of the kernel itself use them.
  const key = fileKey((dev >>> 8) & 0xfff, (dev & 0xff) | ((dev >>> 12) & 0xfff00), ino);
  return { fd, device: dev, inode: ino, key, isReadOnly: false, nextLock: 0 };
}

/**
 * Gives a new memfd its size, which is sparse: RLIMIT_FSIZE counts it all the same, and is out of
 * the way meanwhile. Throws UserError where it may not be.
 */
function grow(fd: number, bytes: number): void {
  const limit = getLimit(RLIMIT_FSIZE);
  const raised = limit.soft < bytes;
  if (raised) {
    const enough = { soft: bytes, hard: Math.max(limit.hard, bytes) };
    if (setLimit(RLIMIT_FSIZE, enough) < 0)
      throw new UserError(
        `the limit of ${limit.hard} bytes on file sizes (RLIMIT_FSIZE) is too low for a device's memory, which is sparse; start iopf without it (ulimit -f unlimited)`,
      );
  }
  // It cannot fail of a new memfd, for want of descriptors least of all.
  must('ftruncate', ftruncate(fd, bytes));
  if (raised) setLimit(RLIMIT_FSIZE, limit);
}

/**
 * The inode behind a stream: a pipe, so that poll(2) and epoll(7) see whether it can be read.
 * `show` puts a byte in, or takes it out; the program's own reads never reach it.
 */
export function makeStreamBacking(isReadOnly: boolean): {
  backing: Backing;
  show(readable: boolean): void;
} {
  must('pipe2', pipe2(streamMemory.address, O_CLOEXEC));
  const [readEnd, writeEnd] = new Int32Array(streamMemory.bytes.buffer, 0, 2) as unknown as [
    number,
    number,
  ];
  // One description for both directions, as the program's may be; but the engine's never waits,
  // whatever the program does to the pipe.
  const fd = open(`/proc/self/fd/${readEnd}`, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
  close(readEnd);
  close(writeEnd);
  must('open', fd);
  const { dev, ino } = fstatSync(fd);
  let shown = false;
  const show = (readable: boolean): void => {
    if (readable === shown) return;
    shown = readable;
    if (readable) write(fd, streamMemory.address, 1);
    else while (read(fd, streamMemory.address, STREAM_BYTES) === STREAM_BYTES);
  };
  const backing = { fd, device: dev, inode: ino, key: '', isReadOnly, nextLock: 0 };
  return { backing, show };
}
