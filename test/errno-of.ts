import { VfioError } from '../src/abi/errno.js';

/** The errno that a call fails with, 0 where it does not. */
export function errnoOf(call: () => unknown): number {
  try {
    call();
  } catch (error) {
    if (error instanceof VfioError) return error.errno;
    throw error;
  }
  return 0;
}
