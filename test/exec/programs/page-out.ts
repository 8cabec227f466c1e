/**
 * Takes a process's memory away from outside, as the host's reclaim does, again and again until it
 * is gone or our stdin ends.
 *
 * Usage: page-out PID START LENGTH. Prints the bytes of resident memory that went, at its end.
 * process_madvise(2) is no system call of the process, so nobody tells it, or us. Without
 * CAP_SYS_NICE it is refused: exit code 1.
 */
import { readFileSync } from 'node:fs';
import { Errno } from '../../../src/abi/errno.js';
import { IovecArray } from '../../../src/mm/process/iovec.js';
import { errno, must, syscall } from '../../../src/mm/process/libc.js';

const SYS_pidfd_open = 434;
const SYS_process_madvise = 440;
const MADV_PAGEOUT = 21;
const PAGE_BYTES = 4096;
const PIECE_BYTES = 8 * 2 ** 20;
const PAUSE_MS = 2;

const [pid = 0, start = 0, length = 0] = process.argv.slice(2).map(Number);
const pidfd = must('pidfd_open', syscall(SYS_pidfd_open, pid, 0, 0, 0, 0, 0));
/** Resident bytes of the process; 0 where it is gone. */
function residentBytes(): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * PAGE_BYTES;
  } catch {
    return 0;
  }
}

let taken = 0;
let isOver = false;
process.stdin.on('end', () => {
  isOver = true;
});
process.stdin.resume();
for (let at = 0; !isOver; at = at + PIECE_BYTES >= length ? 0 : at + PIECE_BYTES) {
  const piece = new IovecArray(1);
  piece.push(start + at, Math.min(PIECE_BYTES, length - at));
  const before = residentBytes();
  const advised = syscall(SYS_process_madvise, pidfd, piece.address, 1, MADV_PAGEOUT, 0, 0);
  const error = errno();
  const after = residentBytes();
  if (advised < 0 && error === Errno.EPERM) process.exit(1);
  if (advised < 0 || after === 0) break;
  taken += Math.max(0, before - after);
  await new Promise((later) => setTimeout(later, PAUSE_MS));
}
console.log(taken);
process.exit(0);
