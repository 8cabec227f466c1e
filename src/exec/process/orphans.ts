import { allocateNative, waitid, waitpid } from '../../mm/process/libc.js';

const P_ALL = 0;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x1000000;
/** siginfo_t; the word of si_pid. */
const childInfo = allocateNative(128);
const childWords = new Int32Array(childInfo.bytes.buffer, 0, 32);
const SI_PID = 4;

/**
 * Reaps orphans of the program, which are iopf's children: kernels before 6.11 keep a filter until
 * its last task is reaped. `reapedByNode`: children that Node waits for.
 */
export function reapOrphans(reapedByNode: readonly number[]): void {
  for (;;) {
    childWords[SI_PID] = 0;
    if (waitid(P_ALL, 0, childInfo.address, WEXITED | WNOHANG | WNOWAIT) !== 0) return;
    const pid = childWords[SI_PID]!;
    if (pid === 0 || reapedByNode.includes(pid)) return;
    waitpid(pid, 0, WNOHANG);
  }
}
