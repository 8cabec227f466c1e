import { errnoName } from '../../abi/errno.js';
import type { Architecture } from '../arch/index.js';
import { callTitle } from '../live/call-text.js';
import type { FailedCall } from '../run/summary.js';
import type { FailedCallCount } from './incident-log.js';

/** Calls that failed, by name. */
export function namedCalls(
  calls: readonly FailedCallCount[],
  architecture: Architecture,
): FailedCall[] {
  return calls.map(({ count, errno, file, nr, request }) => ({
    call: callTitle(architecture, file, nr, request),
    error: errnoName(errno),
    count,
  }));
}
