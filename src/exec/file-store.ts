import { fstatSync } from 'node:fs';
import { Errno, errnoName } from '../abi/errno.js';
import { type BlockStore, CHUNK_BYTES } from '../device/index.js';
import { UserError } from '../input/user-error.js';
import type { DmaBuffer } from '../mm/frame-memory.js';
import {
  close,
  errno,
  fallocate,
  flock,
  ftruncate,
  mapShared,
  msync,
  O_CLOEXEC,
  O_CREAT,
  O_RDWR,
  open,
} from '../mm/process/libc.js';

const MS_SYNC = 4;
const SECTOR = 512;
const LOCK_EXCLUSIVE = 2;
const LOCK_NONBLOCK = 4;
const FALLOC_KEEP_SIZE = 1;
const FALLOC_PUNCH_HOLE = 2;

/** A file as a disk: mapped, so that DMA goes straight into and out of the page cache. */
export function openBlockFile(path: string, bytes: number | null): BlockStore {
  const fd = open(path, O_RDWR | O_CLOEXEC | (bytes === null ? 0 : O_CREAT), 0o644);
  if (fd < 0) {
    const hint = bytes === null && errno() === Errno.ENOENT ? '; size=… would make it' : '';
    throw new UserError(`cannot open ${path} as a disk: ${errnoName(errno())}${hint}`);
  }
  if (flock(fd, LOCK_EXCLUSIVE | LOCK_NONBLOCK) < 0)
    throw new UserError(`${path} is the disk of another run`);
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new UserError(`${path} is no regular file and cannot be a disk`);
  const size = Math.max(stat.size, bytes ?? 0);
  if (size > stat.size && ftruncate(fd, size) < 0)
    throw new UserError(`cannot grow ${path} to ${size} bytes: ${errnoName(errno())}`);
  if (size === 0 || size % SECTOR !== 0) {
    close(fd);
    throw new UserError(
      `${path} has ${size} bytes; a disk needs a multiple of ${SECTOR}, or give size=… to make one`,
    );
  }
  const chunks: DmaBuffer[] = [];
  for (let offset = 0; offset < size; offset += CHUNK_BYTES)
    chunks.push(mapShared(fd, offset, Math.min(CHUNK_BYTES, size - offset)));
  return {
    bytes: size,
    chunk: (index) => chunks[index]!,
    zero(offset, length) {
      if (fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, offset, length) === 0) return;
      for (let at = offset; at < offset + length; ) {
        const index = Math.floor(at / CHUNK_BYTES);
        const end = Math.min(offset + length, (index + 1) * CHUNK_BYTES);
        chunks[index]!.bytes.fill(0, at - index * CHUNK_BYTES, end - index * CHUNK_BYTES);
        at = end;
      }
    },
    flush: () => chunks.every((chunk) => msync(chunk.address, chunk.bytes.length, MS_SYNC) === 0),
  };
}
