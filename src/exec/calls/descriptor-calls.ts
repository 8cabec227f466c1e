/** System calls that change what descriptor numbers mean: close, dup, and their like. */

import { Errno, VfioError } from '../../abi/errno.js';
import { F_DUPFD_CLOEXEC } from '../../abi/linux.js';
import { close, SystemError } from '../../mm/process/libc.js';
import type { OpenFile } from '../process/open-files.js';
import type { CallContext, Handlers } from './context.js';

export class DescriptorCalls {
  readonly handlers: Handlers;

  constructor(private readonly context: CallContext) {
    const { call } = context;
    this.handlers = {
      close: () => this.close(),
      close_range: () => this.closeRange(),
      dup: () => this.duplicate(0, false),
      fcntl: () => this.duplicate(call.int(2), call.int(1) === F_DUPFD_CLOEXEC),
      dup2: () => this.replaceNumber(),
      dup3: () => this.replaceNumber(),
    };
  }

  private close(): void {
    const { call, log, processes } = this.context;
    if (log !== null) {
      const process = processes.known(call.tid);
      const opened = process?.known.get(call.int(0));
      if (process && opened) log.noteFile(process.pid, call.int(0), opened);
    }
    this.forget(call.int(0));
    call.proceed();
  }

  private closeRange(): void {
    const { first, end } = this.context.descriptors.window;
    for (let fd = first; fd < end; fd++) this.forget(fd);
    this.context.call.proceed();
  }

  /** dup2 and dup3: the number they take over means something else afterwards. */
  private replaceNumber(): void {
    const { call } = this.context;
    this.forget(call.int(1));
    call.proceed();
  }

  private forget(fd: number): void {
    const { call, descriptors, files, processes } = this.context;
    descriptors.forget(processes.known(call.tid), fd);
    files.mayClose(call.tid);
  }

  /**
   * dup and F_DUPFD: the duplicate gets a number in the window too, where its calls are
   * intercepted. It is a new description of the same file: taking the program's own would need a
   * privilege.
   */
  private duplicate(least: number, closeOnExec: boolean): void {
    const { call, caller, descriptors, log } = this.context;
    const process = caller.enter();
    const fd = call.int(0);
    const opened = descriptors.lookUp(process, fd);
    if (opened === null || opened === 'other') return call.proceed();
    log?.noteFile(process.pid, fd, opened);
    if (least < 0 || least >= descriptors.window.end) return call.proceed();
    const number = descriptors.freeNumber(process, least);
    if (this.giveDuplicate(opened, number, closeOnExec) < 0) throw new VfioError(Errno.EMFILE);
    descriptors.remember(process, number, opened);
  }

  /** Answers the call with `number`; minus an errno: the engine or the program has none left. */
  private giveDuplicate(opened: OpenFile, number: number, closeOnExec: boolean): number {
    const { call, files } = this.context;
    try {
      const { fd, lock } = files.describe(opened.backing);
      const made = call.answerWithFile(fd, number, closeOnExec);
      if (made >= 0) opened.locks.push(lock);
      close(fd);
      return made;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return -error.errno;
    }
  }
}
