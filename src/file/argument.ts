import type { ArgumentBuffer } from '../abi/argument-buffer.js';
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

/** Copies the first `bytes` of a struct back: EFAULT where a byte cannot be written. */
export function copyOut(
  caller: Caller,
  argument: number,
  buffer: ArgumentBuffer,
  bytes: number,
): void {
  if (!caller.mm.copyTo(argument, buffer.prefix(bytes))) fail('EFAULT');
}

/** eventfd_ctx_fdget: EBADF where the number is not open, EINVAL where it is no eventfd. */
export function takeEventfd(caller: Caller, fd: number): EventCounter {
  const file = caller.file(fd);
  if (!file) fail('EBADF');
  if (file.kind !== 'eventfd') fail('EINVAL');
  return file.take();
}
