/**
 * process_madvise(MADV_PAGEOUT) in another thread than the engine's: the engine asks for it, the
 * main thread carries it out.
 */
import { Errno, errnoName } from '../../abi/errno.js';
import { IovecArray } from '../../mm/process/iovec.js';
import { close, errno, syscall } from '../../mm/process/libc.js';
import type { Architecture } from '../arch/index.js';
import { profileRefusal } from '../run/refusal.js';

const MADV_PAGEOUT = 21;
/** Wait for what is being written, write what is dirty, wait for that. */
const SYNC_FILE_RANGE_ALL = 1 | 2 | 4;

export interface PageOutRequest {
  readonly kind: 'pageout';
  readonly pidfd: number;
  readonly address: number;
  readonly bytes: number;
  /** The file behind the memory and where in it, or -1: dirty pages of a file do not leave. */
  readonly fileFd: number;
  readonly offset: number;
  /** Where to answer: 1 when done, and the errno. */
  readonly answer: Int32Array;
}

/** The engine's side. */
export class PageOut {
  private readonly answer = new Int32Array(new SharedArrayBuffer(8));

  constructor(private readonly post: (request: PageOutRequest) => void) {}

  /**
   * Pages out [address, address + bytes) of a process; `isDone` tells when that is over. One at a
   * time.
   */
  begin(pidfd: number, address: number, bytes: number, fileFd: number, offset: number): void {
    const { answer } = this;
    Atomics.store(answer, 0, 0);
    this.post({ kind: 'pageout', pidfd, address, bytes, fileFd, offset, answer });
  }

  get isDone(): boolean {
    return Atomics.load(this.answer, 0) === 1;
  }

  /** Why the last one ended early, or 0. */
  get errno(): number {
    return this.answer[1]!;
  }
}

const vector = new IovecArray(1);

/** The main thread's side. */
export function carryOut(request: PageOutRequest, { nr }: Architecture): void {
  const { pidfd, address, bytes, fileFd, offset, answer } = request;
  if (fileFd >= 0) syscall(nr.sync_file_range, fileFd, offset, bytes, SYNC_FILE_RANGE_ALL, 0, 0);
  vector.count = 0;
  vector.push(address, bytes);
  const done = syscall(nr.process_madvise, pidfd, vector.address, 1, MADV_PAGEOUT, 0, 0);
  answer[1] = done === -1 ? errno() : 0;
  Atomics.store(answer, 0, 1);
}

/** Why the host does not let iopf take memory of a process away; null: it does. */
export function pageOutRefusal(pid: number, { nr }: Architecture): string | null {
  const pidfd = syscall(nr.pidfd_open, pid, 0, 0, 0, 0, 0);
  const pageOut = (fd: number): number =>
    // Without a vector only the rights are checked.
    syscall(nr.process_madvise, fd, 0, 0, MADV_PAGEOUT, 0, 0);
  const code = pidfd >= 0 && pageOut(pidfd) === 0 ? 0 : errno();
  close(pidfd);
  if (code === 0) return null;
  const byProfile = profileRefusal('process_madvise', code, () => pageOut(-1));
  if (byProfile !== null) return byProfile;
  const why = code === Errno.EPERM ? ': it needs CAP_SYS_NICE: run iopf as root' : '';
  return `process_madvise: ${errnoName(code)}${why}`;
}
