/** What the launcher reports over its pipe: the listener of its filter, or why there is none. */
import { Errno, errnoName } from '../../abi/errno.js';
import { UserError } from '../../input/user-error.js';
import { allocateNative, close, errno, poll, read, syscall } from '../../mm/process/libc.js';
import type { Architecture } from '../arch/index.js';
import { cannotRun } from './host-machine.js';

const POLLIN = 1;
/** A pollfd, then what is read. */
const TEXT = 16;
const TEXT_BYTES = 2048;

export class LaunchReport {
  private readonly buffer = allocateNative(TEXT + TEXT_BYTES);
  private readonly pollWords = new Int32Array(this.buffer.bytes.buffer, 0, 2);
  private readonly pollShorts = new Int16Array(this.buffer.bytes.buffer, 0, 4);

  constructor(private readonly fd: number) {}

  /**
   * Waits for the launcher's filter. Returns its listener as a descriptor of ours, and the
   * launcher's process. Throws UserError.
   */
  takeListener({ nr }: Architecture): { fd: number; pid: number } {
    const report = this.read(true);
    const [word, pid, listener] = report.trim().split(' ');
    if (word !== 'listener')
      throw new UserError(
        report.startsWith('error ')
          ? report.slice(6).trim()
          : 'the launcher ended before the program began',
      );
    const pidfd = syscall(nr.pidfd_open, Number(pid), 0, 0, 0, 0, 0);
    if (pidfd < 0) throw new UserError(`cannot open the launched process: ${errnoName(errno())}`);
    const fd = syscall(nr.pidfd_getfd, pidfd, Number(listener), 0, 0, 0, 0);
    const error = errno();
    close(pidfd);
    if (fd < 0)
      throw new UserError(
        `cannot take the seccomp listener (${errnoName(error)}); a sandbox may forbid pidfd_getfd or tracing of children`,
      );
    return { fd, pid: Number(pid) };
  }

  /** Throws UserError where the launcher could not become the program, which is there. */
  checkStarted(program: string): void {
    const late = this.read(false);
    if (!late.startsWith('failed ')) return;
    const code = late.slice(7).trim();
    const about = code === 'ENOENT' ? ' (is the interpreter missing that it names?)' : '';
    throw cannotRun(program, code, about);
  }

  /** Up to a line's end; '' where the launcher is gone. `wait` false: only what is there. */
  private read(wait: boolean): string {
    const { buffer, pollShorts, pollWords } = this;
    let text = '';
    for (;;) {
      pollWords[0] = this.fd;
      pollShorts[2] = POLLIN;
      const ready = poll(buffer.address, 1, wait ? -1 : 0);
      if (ready < 0 && errno() === Errno.EINTR) continue;
      if (ready !== 1) return text;
      const got = read(this.fd, buffer.address + TEXT, TEXT_BYTES);
      if (got < 0 && errno() === Errno.EINTR) continue;
      if (got <= 0) return text;
      text += Buffer.from(buffer.bytes.slice(TEXT, TEXT + got)).toString();
      if (wait && text.endsWith('\n')) return text;
    }
  }
}
