/**
 * The loop of a run: answers trapped calls, lets devices look at their mapped registers, notices
 * who is gone.
 *
 * It spins while a device is at work and sleeps when none is; a trapped call wakes it at once. It
 * blocks its thread, which does nothing else.
 */

import { VfioError } from '../../abi/errno.js';
import { POLLHUP, POLLIN } from '../../abi/linux.js';
import { allocateNative, munmap, poll, ppoll, read } from '../../mm/process/libc.js';
import { Timespec } from '../../mm/process/timespec.js';
import type { FailedCalls } from '../incidents/failed-calls.js';
import type { CallLog } from '../live/call-log.js';
import { type Child, reapChildren } from '../process/child.js';
import type { GuardReport } from '../process/guard-report.js';
import type { OpenFiles } from '../process/open-files.js';
import type { ProcessTable } from '../process/process.js';
import type { Background } from '../run/background.js';
import type { EventSet } from './event-set.js';
import { Later } from './later.js';
import type { Listener, ReceivedCall } from './listener.js';
import { Pace } from './pace.js';

/** struct pollfd: int fd, short events, short revents; of the listener and the event set. */
const POLLED = 2;
const LISTENER_REVENTS = 3;
const EVENTS_REVENTS = 7;
/** While a page is waited for, whose descriptor says when it is there. */
const WAIT_MOST_MS = 2 ** 31 - 1;

/** Looks at devices between two looks at the clock and the listener. */
const LOOKS_PER_ROUND = 16;
/** How long files may take to be closed after the last task has left, and how often to look. */
const LAST_CLOSES_MS = 5000;
const LAST_CLOSES_LOOK_MS = 1;
/** While a child of a fork is looked for. */
const FORK_LOOK_MS = 2;

export interface SupervisorOptions {
  readonly listener: Listener;
  /**
   * Readable when a process has exited, when it is time to keep house, and when signals have come.
   */
  readonly events: EventSet;
  /** By system call number. */
  readonly handlers: readonly ((() => void) | undefined)[];
  readonly processes: ProcessTable;
  readonly files: OpenFiles;
  readonly guard: GuardReport;
  /** The first process, which is a child of this one, and whose exit `events` reports. */
  readonly program: Child;
  /** Takes signals; true: the run must end. */
  readonly signals: { take(): boolean };
  readonly nowMs: () => number;
  /** Called every 50 ms or so. */
  readonly housekeeping: () => void;
  readonly background: Background;
  readonly log: CallLog | null;
  readonly failed: FailedCalls;
  /** Puts the call that is being handled aside; the function takes it up again. */
  readonly setAside: () => () => void;
  /** Sees each call before its handler; true: the call has its answer. */
  readonly traps?: { take(): boolean } | null;
}

/** A descriptor, and what poll(2) is asked about it. */
export interface Waited {
  readonly fd: number;
  readonly events: number;
}

interface WaitingCall {
  readonly call: ReceivedCall;
  /** 0: until what is under way ends. */
  readonly untilMs: number;
}

/** The run must end while a page is waited for. */
class Stopped extends Error {}

export class Supervisor {
  /** Trapped calls answered. */
  interceptedCalls = 0;
  private readonly pause = new Timespec();
  private readonly doneCount = allocateNative(8);
  private readonly polls = allocateNative(POLLED * 8);
  private readonly revents = new Int16Array(this.polls.bytes.buffer, 0, POLLED * 4);
  private readonly pace = new Pace();
  /** Nobody is under the filter any more, and files are being closed. */
  private isEnding = false;
  private readonly listener: Listener;
  private readonly files: OpenFiles;
  private readonly handlers: SupervisorOptions['handlers'];
  private readonly log: CallLog | null;
  private readonly failed: FailedCalls;
  /** Calls on VFIO's files that came while a page was waited for, or that take a time. */
  private readonly later: WaitingCall[] = [];
  private readonly traps: { take(): boolean } | null;

  constructor(private readonly options: SupervisorOptions) {
    const { listener, events, files } = options;
    this.listener = listener;
    this.files = files;
    this.handlers = options.handlers;
    this.log = options.log;
    this.failed = options.failed;
    this.traps = options.traps ?? null;
    const fds = new Int32Array(this.polls.bytes.buffer, 0, POLLED * 2);
    [fds[0], fds[2]] = [listener.fd, events.fd];
    this.revents[2] = this.revents[6] = POLLIN;
  }

  /** Serves until every process under the filter is gone, or until told to stop. */
  run(): 'gone' | 'stopped' {
    this.pace.worked(this.options.nowMs());
    try {
      return this.loop();
    } catch (error) {
      if (error instanceof Stopped) return 'stopped';
      throw error;
    }
  }

  /**
   * Answers calls until a page has come that only the program can bring, for whatever waits for it
   * here: a device, or a call. Calls on VFIO's files have their turn afterwards, because what waits
   * is in the middle of them; a write to a device that waits is answered first, for it is posted.
   */
  serve(doneFd: number, isDone: () => boolean, isDevice: boolean): void {
    this.serveWhile([{ fd: doneFd, events: POLLIN }], isDevice, (isReady) => {
      if (isReady) read(doneFd, this.doneCount.address, 8);
      return isDone() ? -1 : WAIT_MOST_MS;
    });
  }

  /**
   * The same for a device that waits for somebody else, until a descriptor is ready for what
   * poll(2) is asked about it, or `untilMs`. False: everybody who could want that is gone.
   */
  serveUntil(waited: readonly Waited[], untilMs: number): boolean {
    const { nowMs } = this.options;
    let isWanted = true;
    this.serveWhile(waited, true, (isReady, isGone) => {
      isWanted = !isGone || this.isEnding;
      return isReady || !isWanted ? -1 : Math.ceil(untilMs - nowMs());
    });
    return isWanted;
  }

  /** `goOn` says for how many milliseconds at most to wait now; below 0: no more. */
  private serveWhile(
    waited: readonly Waited[],
    isDevice: boolean,
    goOn: (isReady: boolean, isGone: boolean) => number,
  ): void {
    const { listener } = this;
    const { setAside, events, signals } = this.options;
    if (isDevice) listener.answerPosted();
    const takeUp = setAside();
    const all = [
      { fd: listener.fd, events: POLLIN },
      { fd: events.signalFd, events: POLLIN },
      ...waited,
    ];
    const polls = allocateNative(all.length * 8);
    const fds = new Int32Array(polls.bytes.buffer, 0, all.length * 2);
    const revents = new Int16Array(polls.bytes.buffer, 0, all.length * 4);
    all.forEach((each, index) => {
      fds[2 * index] = each.fd;
      revents[4 * index + 2] = each.events;
    });
    const isReady = (): boolean =>
      all.some((_, index) => index > 1 && revents[4 * index + 3] !== 0);
    try {
      for (let ms = goOn(false, false); ms >= 0; ms = goOn(isReady(), fds[0] === -1)) {
        if (poll(polls.address, all.length, ms) <= 0) {
          for (let index = 0; index < all.length; index++) revents[4 * index + 3] = 0;
          continue;
        }
        if (revents[7] !== 0 && signals.take()) throw new Stopped();
        const asked = revents[LISTENER_REVENTS]!;
        if ((asked & POLLIN) !== 0) {
          if (listener.receive()) this.dispatch();
        } else if ((asked & POLLHUP) !== 0) fds[0] = -1;
      }
    } finally {
      takeUp();
      munmap(polls.address, all.length * 8);
    }
  }

  private loop(): 'gone' | 'stopped' {
    const { guard, nowMs } = this.options;
    for (;;) {
      if (this.later.length > 0) this.takeUpLater();
      const ready = this.files.openFunctions.length > 0 ? this.lookAndWait() : this.waitForEvent();
      if (ready <= 0) {
        if (guard.awaitsChildren) guard.lookForChildren(nowMs());
        continue;
      }
      const asked = this.revents[LISTENER_REVENTS]!;
      if ((asked & POLLIN) !== 0) {
        if (this.listener.receive()) this.dispatch();
      } else if ((asked & POLLHUP) !== 0) {
        this.end();
        return 'gone';
      }
      if (this.revents[EVENTS_REVENTS] !== 0 && this.handleEvents()) return 'stopped';
    }
  }

  /**
   * Nobody is under the filter any more. A task leaves its filter before it closes its files, so
   * those may take a moment; a file that somebody else holds is not waited for.
   */
  private end(): void {
    this.isEnding = true;
    this.files.reap();
    const { nowMs } = this.options;
    for (const beganMs = nowMs(); this.files.count > 0 && nowMs() - beganMs < LAST_CLOSES_MS; ) {
      ppoll(0, 0, this.pause.set(LAST_CLOSES_LOOK_MS), 0);
      this.files.reap();
    }
    for (const process of [...this.options.processes.all]) this.options.processes.exited(process);
  }

  /** Lets devices work, and waits as long as fits what they had to do. Returns what poll(2) did. */
  private lookAndWait(): number {
    if (this.files.isQuiet) {
      this.lookAtDevices();
      return this.waitForEvent();
    }
    let found = false;
    for (let look = 0; look < LOOKS_PER_ROUND && !found; look++) found = this.lookAtDevices();
    const nowMs = this.options.nowMs();
    if (found) this.pace.worked(nowMs);
    this.options.background.run(nowMs);
    const pauseMs = this.pace.pauseMs(nowMs);
    if (pauseMs === 0) return poll(this.polls.address, POLLED, 0);
    return ppoll(this.polls.address, POLLED, this.pause.set(pauseMs), 0);
  }

  private waitForEvent(): number {
    const ms = this.options.guard.awaitsChildren ? FORK_LOOK_MS : -1;
    return poll(this.polls.address, POLLED, ms);
  }

  private lookAtDevices(): boolean {
    let found = false;
    const { openFunctions } = this.files;
    for (let index = 0; index < openFunctions.length; index++)
      if (openFunctions[index]!.poll()) found = true;
    return found;
  }

  /** Those whose time has come, in their order. */
  private takeUpLater(): void {
    const nowMs = this.options.nowMs();
    for (const each of this.later.splice(0)) {
      if (each.untilMs > nowMs) {
        this.later.push(each);
        continue;
      }
      this.listener.takeUp(each.call);
      if (each.untilMs > 0) this.listener.hasWaited = true;
      if (this.listener.isWaiting) this.dispatch();
    }
  }

  private dispatch(): void {
    this.interceptedCalls++;
    if (this.traps?.take()) return;
    const handler = this.handlers[this.listener.nr];
    if (handler === undefined) return this.listener.proceed();
    if (this.log !== null) this.log.begin();
    this.failed.begin();
    try {
      handler();
    } catch (error) {
      if (error instanceof Later) {
        this.interceptedCalls--;
        const untilMs = error.ms > 0 ? this.options.nowMs() + error.ms : 0;
        this.later.push({ call: this.listener.setAside(), untilMs });
        return;
      }
      if (!(error instanceof VfioError) || !this.listener.pending) throw error;
      this.listener.refuse(error.errno);
    }
    this.failed.end();
    if (this.log !== null) this.log.end();
  }

  /** Exits, housekeeping and signals; true: the run must end. */
  private handleEvents(): boolean {
    const { events, processes, program, signals } = this.options;
    let stop = false;
    events.take((event) => {
      if (event === 'signal') stop = signals.take();
      else if (event === 'tick') this.keepHouse();
      else {
        if (event === program.pid) program.exited();
        processes.exitedPid(event);
        this.files.suspect();
      }
    });
    return stop;
  }

  /** What happens without notice: closed duplicates, execs, numbers used again. */
  private keepHouse(): void {
    const { guard, processes, program } = this.options;
    this.options.housekeeping();
    this.options.background.run(this.options.nowMs());
    if (this.files.count > 0) this.files.tick();
    else processes.recycleSpaces();
    processes.forgetStrangers();
    reapChildren(program);
    guard.tellOfChildren();
    for (const process of processes.all) if (process.leaving !== 0) processes.settle(process, 0);
  }
}
