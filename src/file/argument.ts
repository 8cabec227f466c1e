import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import type { Caller } from './caller.js';
import type { EventCounter } from './file.js';

/**
 * Copies the first `bytes` of an ioctl's struct in and checks its argsz, which every such struct
 * begins with: EFAULT where a byte cannot be read, EINVAL where argsz is below `bytes`.
 */
export function copyIn(
  caller: Caller,
  argument: number,
  buffer: ArgumentBuffer,
  bytes: number,
): void {
  if (!caller.mm.copyFrom(argument, buffer.prefix(bytes))) fail('EFAULT');
  if (buffer.u32(0) < bytes) fail('EINVAL');
}

/** Bytes behind a struct that are looked at in one go: they lie in one page or end with it. */
const TAIL_BYTES = 4096;
const tail = new ArgumentBuffer(TAIL_BYTES);
const zeros = new Uint8Array(TAIL_BYTES);

/**
 * Copies a struct in that begins with its size in bytes, and returns that size (kernel:
 * copy_struct_from_user). What the program's struct lacks is 0. EFAULT where a byte cannot be read;
 * EINVAL below `least` bytes; E2BIG where a byte is not 0 behind those that `buffer` has room for.
 */
export function copyStruct(
  caller: Caller,
  argument: number,
  buffer: ArgumentBuffer,
  least: number,
): number {
  const size = readSize(caller, argument, buffer);
  if (size < least) fail('EINVAL');
  copySized(caller, argument, buffer, size);
  return size;
}

/** The size that a struct begins with, which nobody has checked. EFAULT. */
export function readSize({ mm }: Caller, argument: number, buffer: ArgumentBuffer): number {
  if (!mm.copyFrom(argument, buffer.prefix(4))) fail('EFAULT');
  return buffer.u32(0);
}

/** `copyStruct` of a struct whose size was read and is large enough. EFAULT, E2BIG. */
export function copySized(
  { mm }: Caller,
  argument: number,
  buffer: ArgumentBuffer,
  size: number,
): void {
  const known = Math.min(size, buffer.capacity);
  for (let at = argument + known; at < argument + size; ) {
    const piece = tail.prefix(Math.min(argument + size - at, TAIL_BYTES - (at % TAIL_BYTES)));
    if (!mm.copyFrom(at, piece)) fail('EFAULT');
    if (piece.some((byte) => byte !== 0)) fail('E2BIG');
    at += piece.length;
  }
  buffer.bytes.fill(0, known);
  if (!mm.copyFrom(argument, buffer.prefix(known))) fail('EFAULT');
}

/** Copies the first `bytes` of a struct back: EFAULT where a byte cannot be written. */
export function copyOut(
  caller: Caller,
  argument: number,
  buffer: ArgumentBuffer,
  bytes: number,
): void {
  if (!caller.mm.copyTo(argument, buffer.prefix(bytes))) fail('EFAULT');
}

/**
 * Copies `from` to the program, as much as it has room for, and zeros to the rest of the room, a
 * piece at a time: the room is as large as the program says (kernel: copy_to_user, clear_user).
 * EFAULT.
 */
export function copyOutCleared(
  { mm }: Caller,
  address: number,
  from: Uint8Array,
  room: number,
): void {
  const known = Math.min(from.length, room);
  if (known > 0 && !mm.copyTo(address, from.subarray(0, known))) fail('EFAULT');
  for (let at = known; at < room; at += TAIL_BYTES)
    if (!mm.copyTo(address + at, zeros.subarray(0, room - at))) fail('EFAULT');
}

/** eventfd_ctx_fdget: EBADF where the number is not open, EINVAL where it is no eventfd. */
export function takeEventfd(caller: Caller, fd: number): EventCounter {
  const file = caller.file(fd);
  if (!file) fail('EBADF');
  if (file.kind !== 'eventfd') fail('EINVAL');
  return file.take();
}
