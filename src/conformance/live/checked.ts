/** System calls whose errors are answers. */
import { errnoName } from '../../abi/errno.js';
import { errno } from '../../mm/process/libc.js';

export class CallFailed extends Error {
  constructor(readonly errno: number) {
    super(errnoName(errno));
  }
}

/** What a call returned. Throws CallFailed where that is -1. */
export function check(result: number): number {
  if (result === -1) throw new CallFailed(errno());
  return result;
}
