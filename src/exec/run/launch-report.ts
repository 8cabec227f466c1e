/** What has become of the child that begins the program: its listener, or why there is none. */
import { Errno, errnoName } from '../../abi/errno.js';
import { UserError } from '../../input/user-error.js';
import { IovecArray } from '../../mm/process/iovec.js';
import {
  allocateNative,
  bytesAt,
  close,
  errno,
  processVmReadv,
  processVmWritev,
  syscall,
} from '../../mm/process/libc.js';
import type { Architecture } from '../arch/index.js';
import { DescriptorMessage } from './descriptor-message.js';
import { cannotRun } from './host-machine.js';
import { filterRefusal, type Launched } from './launch.js';
import { whoRefuses } from './refusal.js';

export class LaunchReport {
  constructor(private readonly launched: Launched) {}

  /**
   * Waits for the program's filter. Returns its listener as a descriptor of the engine's. Throws
   * UserError, also where the host would not let iopf serve that process.
   */
  takeListener(arch: Architecture): number {
    const { pid, reportFd, filterResultAt } = this.launched;
    const message = new DescriptorMessage();
    let received = message.receive(reportFd);
    while (received.result < 0 && errno() === Errno.EINTR) received = message.receive(reportFd);
    if (received.descriptor < 0) {
      const result = wordAt(filterResultAt);
      throw new UserError(
        result < 0
          ? filterRefusal(arch.nr.seccomp, -result)
          : 'the program’s process ended before the program began',
      );
    }
    checkProcessCanBeServed(arch, pid, filterResultAt);
    return received.descriptor;
  }

  /** Throws UserError where the program could not be run, which is there. */
  checkStarted(program: string): void {
    let result = wordAt(this.launched.execResultAt);
    if (result === -Errno.ENOEXEC) result = wordAt(this.launched.shellResultAt);
    if (result >= 0) return;
    const about = result === -Errno.ENOENT ? ' (is the interpreter missing that it names?)' : '';
    throw cannotRun(program, errnoName(-result), about);
  }
}

/** 32 bits of this process's memory. */
function wordAt(address: number): number {
  const { buffer, byteOffset } = bytesAt(address, 4);
  return new DataView(buffer, byteOffset, 4).getInt32(0, true);
}

/**
 * Whether iopf may do to a process what serving it takes, tried on a byte of its memory that may be
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
