/**
 * The loop of a run: answers trapped calls, lets devices look at their mapped registers, notices who is gone.
 *
 * It polls while a device is at work and sleeps when none is; a trapped call wakes it at once. It runs in a thread of its own,
 * because it blocks.
 */
import { allocateNative, ppoll } from '../mm/process/libc.js';
import type { Listener } from './listener.js';
import type { OpenFiles } from './open-files.js';
import type { Process, ProcessTable } from './process.js';

const POLLIN = 1;
const POLLHUP = 0x10;
const POLLFD_BYTES = 8;
const MAX_DESCRIPTORS = 4096;
// Places in the poll array.
const LISTENER = 0;
const STOP = 1;
const FIRST_PROCESS = 2;

/** Milliseconds without work after which the loop stops spinning and sleeps between looks. */
const SPIN_MS = 0.3;
/** Looks at devices between two looks at the clock and the listener. */
const LOOKS_PER_ROUND = 16;
/** Sleeps between looks at devices grow from the first to the last of these. */
const SLEEP_LEAST_MS = 0.05;
const SLEEP_MOST_MS = 0.25;
/** How often files without a device are looked after: descriptors may be closed without notice through duplicates. */
const HOUSEKEEPING_MS = 50;

export class Supervisor {
  /** Trapped calls answered. */
  interceptedCalls = 0;
  private readonly timeout = allocateNative(16);
  private readonly timeoutWords = new Uint32Array(this.timeout.bytes.buffer, 0, 4);
  private readonly polls = allocateNative(MAX_DESCRIPTORS * POLLFD_BYTES);
  private readonly pollFds = new Int32Array(this.polls.bytes.buffer, 0, MAX_DESCRIPTORS * 2);
  private readonly pollEvents = new Int16Array(this.polls.bytes.buffer, 0, MAX_DESCRIPTORS * 4);
  private watched: Process[] = [];
  private watchedVersion = -1;

  constructor(
    private readonly listener: Listener,
    /** Readable when the main thread wants the loop to end. */
    private readonly stopFd: number,
    private readonly handlers: readonly (() => void)[],
    private readonly processes: ProcessTable,
    private readonly files: OpenFiles,
    private readonly now: () => number,
  ) {}

  /** Serves until every process under the filter is gone, or until told to stop. */
  run(): void {
    let lastWork = this.now();
    let sleep = SLEEP_LEAST_MS;
    let lastHousekeeping = lastWork;
    for (;;) {
      const polling = this.files.openFunctions.length > 0;
      let found = false;
      if (polling) {
        for (let look = 0; look < LOOKS_PER_ROUND && !found; look++) found = this.lookAtDevices();
      }
      const time = this.now();
      if (found) {
        lastWork = time;
        sleep = SLEEP_LEAST_MS;
      }
      let wait = this.files.count > 0 ? HOUSEKEEPING_MS : -1;
      if (polling) {
        if (time - lastWork < SPIN_MS) wait = 0;
        else {
          wait = sleep;
          sleep = Math.min(sleep * 1.2, SLEEP_MOST_MS);
        }
      }
      const ready = this.wait(wait);
      if (ready > 0) {
        if (this.happened(STOP) !== 0) return;
        const events = this.happened(LISTENER);
        if ((events & POLLIN) !== 0) {
          if (this.listener.receive()) this.dispatch();
        } else if ((events & POLLHUP) !== 0) {
          this.endAll();
          return;
        }
        this.noticeExits();
      }
      if (time - lastHousekeeping > HOUSEKEEPING_MS) {
        lastHousekeeping = time;
        this.housekeeping();
      }
    }
  }

  private lookAtDevices(): boolean {
    let found = false;
    const { openFunctions } = this.files;
    for (let index = 0; index < openFunctions.length; index++) if (openFunctions[index]!.poll()) found = true;
    return found;
  }

  private dispatch(): void {
    this.interceptedCalls++;
    const handler = this.handlers[this.listener.nr];
    if (handler === undefined) this.listener.proceed();
    else handler();
  }

  private housekeeping(): void {
    if (this.files.count > 0) this.files.reap();
    this.processes.forgetStrangers();
    for (const process of this.processes.all) if (process.leaving !== 0) this.processes.settle(process, 0);
    if (this.files.count === 0) this.processes.recycleSpaces();
  }

  private noticeExits(): void {
    for (let index = 0; index < this.watched.length; index++) {
      if (this.happened(FIRST_PROCESS + index) === 0) continue;
      this.processes.exited(this.watched[index]!);
      this.files.suspect = true;
    }
  }

  /** Everybody is gone: ends what is left, so that files release what they hold. */
  private endAll(): void {
    for (const process of [...this.processes.all]) this.processes.exited(process);
    this.files.reap();
  }

  /** Waits for the listener, the stop descriptor and the exit of processes. `milliseconds` -1: without end. */
  private wait(milliseconds: number): number {
    if (this.watchedVersion !== this.processes.version) this.watch();
    const { timeoutWords } = this;
    let timeout = 0;
    if (milliseconds >= 0) {
      timeoutWords[0] = milliseconds / 1000;
      timeoutWords[2] = (milliseconds % 1000) * 1e6;
      timeout = this.timeout.address;
    }
    return ppoll(this.polls.address, FIRST_PROCESS + this.watched.length, timeout, 0);
  }

  /** revents of an entry of the poll array (struct pollfd: int fd, short events, short revents). */
  private happened(index: number): number {
    return this.pollEvents[index * 4 + 3]!;
  }

  private watch(): void {
    this.watchedVersion = this.processes.version;
    this.watched = [...this.processes.all].slice(0, MAX_DESCRIPTORS - FIRST_PROCESS);
    const put = (index: number, fd: number): void => {
      this.pollFds[index * 2] = fd;
      this.pollEvents[index * 4 + 2] = POLLIN;
      this.pollEvents[index * 4 + 3] = 0;
    };
    put(LISTENER, this.listener.fd);
    put(STOP, this.stopFd);
    this.watched.forEach((process, index) => {
      put(FIRST_PROCESS + index, process.pidfd);
    });
  }
}
