/**
 * Takes a process's memory away from outside, as the host's reclaim does, again and again until it is gone or our stdin ends.
 *
 * Usage: page-out PID START LENGTH. Prints the bytes that it asked the host to take, at its end. process_madvise(2) is no system
 * call of the process, so nobody tells it, or us.
 */
import { IovecArray } from '../../../src/mm/process/iovec.js';
import { must, syscall } from '../../../src/mm/process/libc.js';

const SYS_pidfd_open = 434;
const SYS_process_madvise = 440;
const MADV_PAGEOUT = 21;
const PIECE_BYTES = 8 * 2 ** 20;
const PAUSE_MS = 2;

const [pid = 0, start = 0, length = 0] = process.argv.slice(2).map(Number);
const pidfd = must('pidfd_open', syscall(SYS_pidfd_open, pid, 0, 0, 0, 0, 0));
let taken = 0;
let isOver = false;
process.stdin.on('close', () => {
  isOver = true;
});
process.stdin.resume();
for (let at = 0; !isOver; at = at + PIECE_BYTES >= length ? 0 : at + PIECE_BYTES) {
  const piece = new IovecArray(1);
  piece.push(start + at, Math.min(PIECE_BYTES, length - at));
  const bytes = syscall(SYS_process_madvise, pidfd, piece.address, 1, MADV_PAGEOUT, 0, 0);
  if (bytes < 0) break;
  taken += bytes;
  await new Promise((later) => setTimeout(later, PAUSE_MS));
}
console.log(taken);
process.exit(taken > 0 ? 0 : 1);
