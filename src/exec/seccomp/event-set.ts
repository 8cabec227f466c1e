import { O_CLOEXEC } from '../../abi/linux.js';
import { IovecArray } from '../../mm/process/iovec.js';
import {
  allocateNative,
  close,
  epollCreate1,
  epollCtl,
  epollWait,
  must,
  preadv2,
  read,
  timerfdCreate,
  timerfdSettime,
} from '../../mm/process/libc.js';
import type { Architecture } from '../arch/index.js';

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const CLOCK_MONOTONIC = 1;
const TFD_NONBLOCK = 0o4000;
const EVENTS_AT_ONCE = 32;
/** Room for as many of the longest struct epoll_event, and for what else is asked for. */
const EVENTS_BYTES = 16 * EVENTS_AT_ONCE + 32;
/** Bytes that are taken from a pipe at once. */
const TEXT_BYTES = 256;
const RWF_NOWAIT = 8;
// Keys: process ids are above these, watched counters below.
const SIGNAL = 0;
const TICK = -1;
const LAST_WATCH = -2;

/**
 * Everything the loop waits for besides trapped calls, behind one descriptor, so that waiting costs
 * the same for any number.
 */
export class EventSet {
  readonly fd = must('epoll_create1', epollCreate1(O_CLOEXEC));
  private readonly timer = must(
    'timerfd_create',
    timerfdCreate(CLOCK_MONOTONIC, O_CLOEXEC | TFD_NONBLOCK),
  );
  private readonly memory = allocateNative(EVENTS_BYTES);
  private readonly view = new DataView(this.memory.bytes.buffer);
  private readonly watches = new Map<number, { fd: number; signalled: () => void }>();
  private readonly pipes = new Map<number, { fd: number; take: (text: string) => void }>();
  private readonly readers = new Map<number, () => void>();
  private nextWatch = LAST_WATCH;
  private readonly layout: Architecture['epollEvent'];
  private readonly counter = new IovecArray(1);

  /** `signalFd` readable: signals have come. A tick comes every `tickMs` milliseconds. */
  constructor(
    { epollEvent }: Architecture,
    readonly signalFd: number,
    tickMs: number,
  ) {
    this.layout = epollEvent;
    this.add(signalFd, SIGNAL);
    this.add(this.timer, TICK);
    // struct itimerspec: interval and first expiry, each seconds and nanoseconds.
    this.memory.bytes.fill(0, 0, 32);
    this.view.setBigInt64(8, BigInt(tickMs) * 1_000_000n, true);
    this.view.setBigInt64(24, BigInt(tickMs) * 1_000_000n, true);
    must('timerfd_settime', timerfdSettime(this.timer, 0, this.memory.address, 0));
  }

  /** The process's descriptor becomes readable when it has exited. Closing it takes it out. */
  addProcess(pidfd: number, pid: number): void {
    this.add(pidfd, pid);
  }

  /**
   * Calls back each time an eventfd was signalled, and takes what it counted, until the returned
   * function is called.
   */
  watchEventfd(fd: number, signalled: () => void): () => void {
    const key = this.nextWatch--;
    this.add(fd, key);
    this.watches.set(key, { fd, signalled });
    return () => {
      // Closing is not enough: the program holds the same description.
      if (this.watches.delete(key)) epollCtl(this.fd, EPOLL_CTL_DEL, fd, 0);
    };
  }

  /**
   * Hands over what is written to a pipe, of which `fd` is the non-blocking reading end, until
   * nobody can write any more; then closes it. Throws SystemError, and `fd` stays the caller's.
   */
  watchPipe(fd: number, take: (text: string) => void): void {
    const key = this.nextWatch--;
    this.add(fd, key);
    this.pipes.set(key, { fd, take });
  }

  /**
   * Calls back while a descriptor is readable, or its other end is gone, until the returned
   * function is called; who is called reads.
   */
  watchReadable(fd: number, readable: () => void): () => void {
    const key = this.nextWatch--;
    this.add(fd, key);
    this.readers.set(key, readable);
    return () => {
      if (this.readers.delete(key)) epollCtl(this.fd, EPOLL_CTL_DEL, fd, 0);
    };
  }

  /**
   * Hands over what has happened: the pid of each process that exited, a tick, signals.
   */
  take(handle: (event: number | 'tick' | 'signal') => void): void {
    const count = epollWait(this.fd, this.memory.address, EVENTS_AT_ONCE, 0);
    const { bytes, data } = this.layout;
    const keys = Array.from({ length: Math.max(count, 0) }, (_, index) =>
      this.view.getInt32(index * bytes + data, true),
    );
    for (const key of keys) {
      if (key === TICK) {
        read(this.timer, this.memory.address, 8);
        handle('tick');
      } else if (this.pipes.has(key)) this.takeText(key);
      else if (this.readers.has(key)) this.readers.get(key)!();
      else if (key <= LAST_WATCH) this.takeCount(key);
      else handle(key === SIGNAL ? 'signal' : key);
    }
  }

  private takeCount(key: number): void {
    const watch = this.watches.get(key);
    if (watch === undefined) return;
    this.counter.count = 0;
    this.counter.push(this.memory.address, 8);
    // The program may have taken it meanwhile: do not wait.
    if (preadv2(watch.fd, this.counter.address, 1, -1, RWF_NOWAIT) === 8) watch.signalled();
  }

  private takeText(key: number): void {
    const { fd, take } = this.pipes.get(key)!;
    // Less than none: a reader that the program made was faster.
    const length = read(fd, this.memory.address, TEXT_BYTES);
    if (length > 0) take(Buffer.from(this.memory.bytes.slice(0, length)).toString('latin1'));
    if (length !== 0) return;
    this.pipes.delete(key);
    close(fd);
  }

  private add(fd: number, key: number): void {
    this.view.setUint32(0, EPOLLIN, true);
    this.view.setInt32(this.layout.data, key, true);
    this.view.setInt32(this.layout.data + 4, 0, true);
    must('epoll_ctl', epollCtl(this.fd, EPOLL_CTL_ADD, fd, this.memory.address));
  }
}
