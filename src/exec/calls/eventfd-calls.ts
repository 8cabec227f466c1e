import { VfioError } from '../../abi/errno.js';
import { O_CLOEXEC, O_NONBLOCK } from '../../abi/linux.js';
import type { CallContext, Handlers } from './context.js';

const EFD_SEMAPHORE = 1;
const EFD_NONBLOCK = O_NONBLOCK;
const EFD_CLOEXEC = O_CLOEXEC;

/** eventfd and eventfd2: the engine makes the eventfd, so that devices can signal it. */
export class EventfdCalls {
  readonly handlers: Handlers;

  constructor(private readonly context: CallContext) {
    const { call } = context;
    this.handlers = {
      eventfd: () => this.make(0),
      eventfd2: () => this.make(call.int(1)),
    };
  }

  private make(flags: number): void {
    const { call, eventfds } = this.context;
    // The kernel says what is wrong with flags.
    if ((flags & ~(EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC)) !== 0) return call.proceed();
    const made = eventfds.make(call.tid, call.uint(0), flags, (fd) =>
      call.answerWithFile(fd, -1, (flags & EFD_CLOEXEC) !== 0),
    );
    if (made === null) call.proceed();
    else if (made < 0) throw new VfioError(-made);
  }
}
