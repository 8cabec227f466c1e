/** What the launcher reports over its socket: the listener of its filter, or why there is none. */
import { Errno } from '../../abi/errno.js';
import { UserError } from '../../input/user-error.js';
import { IovecArray } from '../../mm/process/iovec.js';
import {
  allocateNative,
  close,
  errno,
  poll,
  processVmReadv,
  processVmWritev,
  syscall,
} from '../../mm/process/libc.js';
import type { Architecture } from '../arch/index.js';
import { DescriptorMessage } from './descriptor-message.js';
import { cannotRun } from './host-machine.js';
import { whoRefuses } from './refusal.js';

const POLLIN = 1;
const TEXT_BYTES = 2048;

export class LaunchReport {
  private readonly buffer = allocateNative(8);
  private readonly pollWords = new Int32Array(this.buffer.bytes.buffer, 0, 2);
  private readonly pollShorts = new Int16Array(this.buffer.bytes.buffer, 0, 4);
  private readonly message = new DescriptorMessage(TEXT_BYTES);
  private listener = -1;

  constructor(private readonly fd: number) {}

  /**
   * Waits for the launcher's filter. Returns its listener as a descriptor of the engine's, and the
   * launcher's process. Throws UserError, also where the host would not let iopf serve that
   * process.
   */
  takeListener(arch: Architecture): { fd: number; pid: number } {
    const report = this.read(true);
    const [word, pid, address] = report.trim().split(' ');
    if (word !== 'listener' || this.listener < 0)
      throw new UserError(
        report.startsWith('error ')
          ? report.slice(6).trim()
          : 'the launcher ended before the program began',
      );
    checkProcessCanBeServed(arch, Number(pid), Number(address));
    return { fd: this.listener, pid: Number(pid) };
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
    const { buffer, message, pollShorts, pollWords } = this;
    let text = '';
    for (;;) {
      pollWords[0] = this.fd;
      pollShorts[2] = POLLIN;
      const ready = poll(buffer.address, 1, wait ? -1 : 0);
      if (ready < 0 && errno() === Errno.EINTR) continue;
      if (ready !== 1) return text;
      const { result, text: piece, descriptor } = message.receive(this.fd);
      if (result < 0 && errno() === Errno.EINTR) continue;
      if (result <= 0) return text;
      if (descriptor >= 0) this.listener = descriptor;
      text += piece;
      if (wait && text.endsWith('\n')) return text;
    }
  }
}

/**
 * Whether we may do to a process what serving it takes, tried on a byte of its memory that may be
 * written. Throws UserError.
 */
function checkProcessCanBeServed({ nr }: Architecture, pid: number, address: number): void {
  const check = (call: string, result: number, probe: () => number): void => {
    if (result >= 0) return;
    const code = errno();
    throw new UserError(`cannot serve the program: ${whoRefuses(call, code, probe)}`);
  };
  const openProcess = (which: number): number => syscall(nr.pidfd_open, which, 0, 0, 0, 0, 0);
  const pidfd = openProcess(pid);
  check('pidfd_open', pidfd, () => openProcess(-1));
  close(pidfd);
  const local = new IovecArray(1);
  local.push(allocateNative(1).address, 1);
  const remote = new IovecArray(1);
  remote.push(address, 1);
  for (const [call, copy] of [
    ['process_vm_readv', processVmReadv],
    ['process_vm_writev', processVmWritev],
  ] as const) {
    const copied = copy(pid, local.address, 1, remote.address, 1, 0);
    check(call, copied, () => copy(-1, 0, 0, 0, 0, 0));
  }
}
