/** What several steps of a replay share. */
import { fail } from '../abi/errno.js';
import type { VfioFile } from '../file/file.js';
import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import type { Process } from './process.js';
import type { VectorStep } from './vectors.js';

const FIONBIO = 0x5421;
const FIONCLEX = 0x5450;
const FIOCLEX = 0x5451;

/** It has no position. */
export function isStream({ watchReadable }: VfioFile): boolean {
  return watchReadable !== undefined;
}

/** ioctl(2): a few requests are the VFS's own. */
export function callIoctl(
  process: Process,
  file: VfioFile,
  request: number,
  argument: number,
): number {
  if (request === FIOCLEX || request === FIONCLEX) return 0;
  if (request === FIONBIO)
    return process.mm.copyFrom(argument, new Uint8Array(4)) ? 0 : fail('EFAULT');
  return file.ioctl(process, request, argument);
}

/** O_RDONLY, O_WRONLY, O_RDWR. */
export function accessOf(flags: number): number {
  return [READ, WRITE, READ | WRITE][flags & 3]!;
}

export function kilobytes(pages: number): number {
  // The recorder read what is below 0 as the largest number.
  return pages < 0 ? 2 ** 63 : pages * (PAGE_SIZE / 1024);
}

export function unknownOperation(step: VectorStep): never {
  throw new Error(`operation ${step.op} is not known`);
}
