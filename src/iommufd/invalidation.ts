/** What a program wants invalidated, entry by entry. */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import type { StructLayout } from '../abi/layout.js';
import { copySized } from '../file/argument.js';
import type { Caller } from '../file/caller.js';

/** Its entries (kernel: struct iommu_user_data_array). */
export interface InvalidationArray {
  readonly caller: Caller;
  readonly type: number;
  readonly address: number;
  readonly entryBytes: number;
  readonly count: number;
  /** Entries that were carried out. */
  done: number;
}

/** What has caches. */
export interface Invalidated {
  /** Carries entries out, in order, up to one that it refuses. */
  invalidate(array: InvalidationArray): void;
}

export function isInvalidated(object: object): object is Invalidated {
  return 'invalidate' in object;
}

/** Carries entries out one by one. EINVAL: too small, too large; EFAULT; and its own errors. */
export function invalidateEach(
  array: InvalidationArray,
  { size }: StructLayout<string>,
  least: number,
  carryOut: (entry: ArgumentBuffer) => void,
): void {
  const { caller, address, entryBytes, count } = array;
  const entry = new ArgumentBuffer(size);
  for (; array.done < count; array.done++) {
    if (entryBytes < least || entryBytes > size) fail('EINVAL');
    copySized(caller, address + array.done * entryBytes, entry, entryBytes);
    carryOut(entry);
  }
}
