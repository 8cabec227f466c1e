import { fstatSync, type Stats } from 'node:fs';
import { Errno, errnoName } from '../../abi/errno.js';
import {
  O_CLOEXEC,
  O_CREAT,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from '../../abi/linux.js';
import { type BlockFileOptions, type BlockStore, CHUNK_BYTES } from '../../device/index.js';
import { notAFile, statNamed } from '../../input/named-file.js';
import { UserError } from '../../input/user-error.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import {
  allocateNative,
  close,
  errno,
  fallocate,
  fdatasync,
  flock,
  ftruncate,
  mapShared,
  open,
  pread,
  pwrite,
} from '../../mm/process/libc.js';

const SECTOR = 512;
const LOCK_SHARED = 1;
const LOCK_EXCLUSIVE = 2;
const LOCK_NONBLOCK = 4;
const FALLOC_KEEP_SIZE = 1;
const FALLOC_PUNCH_HOLE = 2;
const ZEROS_BYTES = 2 ** 20;

/**
 * A file as a disk: mapped, so that DMA goes straight into and out of the page cache. Where it is
 * not DMA but the engine that touches the bytes, it reads and writes the file: its end may have
 * been cut off, and then the mapping would kill the engine.
 */
export function openBlockFile(path: string, { bytes, readOnly }: BlockFileOptions): BlockStore {
  const { fd, size } = openDisk(path, bytes, readOnly);
  const chunks: DmaBuffer[] = [];
  const protection = readOnly ? PROT_READ : PROT_READ | PROT_WRITE;
  for (let offset = 0; offset < size; offset += CHUNK_BYTES)
    chunks.push(mapShared(fd, offset, Math.min(CHUNK_BYTES, size - offset), protection));
  let zeros: DmaBuffer | null = null;
  return {
    bytes: size,
    readOnly,
    chunk: (index) => chunks[index]!,
    read: (offset, length, into, intoOffset = 0) =>
      whole(length, (done) =>
        pread(fd, into.address + intoOffset + done, length - done, offset + done),
      ),
    write: (offset, length, from) =>
      whole(length, (done) => pwrite(fd, from.address + done, length - done, offset + done)),
    zero(offset, length) {
      if (fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, offset, length) === 0) return true;
      zeros ??= allocateNative(ZEROS_BYTES);
      const { address } = zeros;
      return whole(length, (done) =>
        pwrite(fd, address, Math.min(ZEROS_BYTES, length - done), offset + done),
      );
    },
    flush: () => fdatasync(fd) === 0,
  };
}

/** Repeats a transfer until `length` bytes are through; false: it stopped short. */
function whole(length: number, transfer: (done: number) => number): boolean {
  for (let done = 0; done < length; ) {
    const got = transfer(done);
    if (got < 0 && errno() === Errno.EINTR) continue;
    if (got <= 0) return false;
    done += got;
  }
  return true;
}

/** Throws UserError where there is something else than a file. */
function checkRegular(path: string, look: () => Stats | null): void {
  let stat: Stats | null = null;
  try {
    stat = look();
  } catch {
    // Why it cannot be reached is said where it is opened.
  }
  const kind = stat === null ? null : notAFile(stat);
  if (kind !== null)
    throw new UserError(`${path} is not a regular file but ${kind}, so it cannot be a disk`);
}

/** Opens, locks and grows the file. Throws UserError. */
function openDisk(
  path: string,
  bytes: number | null,
  readOnly: boolean,
): { fd: number; size: number } {
  // Opening alone waits for a pipe's other end, and does something to some devices.
  checkRegular(path, () => statNamed(path));
  const create = bytes === null || readOnly ? 0 : O_CREAT;
  const flags = (readOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | create;
  const fd = open(path, flags, 0o644);
  if (fd < 0) {
    const code = errno();
    let hint = '';
    if (code === Errno.ENOENT && create === 0 && !readOnly) hint = '; size=… makes it';
    if ((code === Errno.EACCES || code === Errno.EROFS) && !readOnly)
      hint = '; readonly=on needs read permission only';
    throw new UserError(`cannot open ${path} as a disk: ${errnoName(code)}${hint}`);
  }
  try {
    if (flock(fd, (readOnly ? LOCK_SHARED : LOCK_EXCLUSIVE) | LOCK_NONBLOCK) < 0)
      throw new UserError(`${path} is the disk of another run`);
    const stat = fstatSync(fd);
    checkRegular(path, () => stat);
    const size = Math.max(stat.size, bytes ?? 0);
    if (size > stat.size) {
      if (readOnly)
        throw new UserError(
          `${path} has ${stat.size} bytes, and with readonly=on cannot grow to ${size}`,
        );
      if (ftruncate(fd, size) < 0)
        throw new UserError(`cannot grow ${path} to ${size} bytes: ${errnoName(errno())}`);
    }
    if (size === 0 || size % SECTOR !== 0)
      throw new UserError(
        `${path} has ${size} bytes; a disk needs a multiple of ${SECTOR}; size=… grows it to one`,
      );
    return { fd, size };
  } catch (error) {
    close(fd);
    throw error;
  }
}
