import { type ErrnoName, errnoName, VfioError } from '../abi/errno.js';

/** What a call is answered with: `EINVAL`, as Linux does; it has changed nothing. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly errno: ErrnoName;

  constructor(call: string, errno: number) {
    super(`${call}: ${errnoName(errno)}`);
    this.errno = errnoName(errno) as ErrnoName;
  }
}

/** @internal Throws `EngineError` unless a call's errno is 0. */
export function answerOf(call: string, errno: number): void {
  if (errno !== 0) throw new EngineError(call, errno);
}

/** @internal Does a call; what it is answered with comes out as an `EngineError`. */
export function called<T>(call: string, does: () => T): T {
  try {
    return does();
  } catch (error) {
    if (error instanceof VfioError) throw new EngineError(call, error.errno);
    throw error;
  }
}
