/**
 * The processes of a run, as far as we must know them: by thread, with their memory and the
 * descriptors we gave them.
 */
import { readFileSync } from 'node:fs';
import { allocateNative, close, syscall, waitid, waitpid } from '../../mm/process/libc.js';
import type { ProcessMemory } from '../../mm/process/memory.js';
import { ProcessSpace, type ProcessSpaceOptions } from '../../mm/process/space.js';
import type { Architecture } from '../arch/arch.js';
import type { ResidentMemory } from '../reclaim/resident-memory.js';
import type { EventSet } from '../seccomp/event-set.js';
import type { OpenFile } from './open-files.js';

const SPACES_MAX = 4096;
/** On a busy machine a fork may be carried out long after we let it go on. */
const FORK_TICKS = 40;
const P_ALL = 0;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x1000000;
/** siginfo_t; the word of si_pid. */
const childInfo = allocateNative(128);
const childWords = new Int32Array(childInfo.bytes.buffer, 0, 32);
const SI_PID = 4;
/** Threads of processes that never spoke to VFIO, remembered only to spare look-ups. */
const STRANGERS_MAX = 4096;

/** A process that has spoken to VFIO. */
export class Process {
  /**
   * Descriptors known to be ours by number; checked once, because every change of a number in the
   * window is trapped.
   */
  readonly known = new Map<number, OpenFile>();
  /**
   * Numbers under which something was closed while another thread might have looked: ask the kernel
   * each time.
   */
  readonly uncertain = new Set<number>();
  readonly threads = new Set<number>();
  /**
   * The thread in execve or exit_group, 0 where none is: its next call means that execve failed.
   */
  leaving = 0;

  constructor(
    readonly pid: number,
    /** Readable once the process has exited. */
    readonly pidfd: number,
    /** Another one after each exec. */
    public space: ProcessSpace,
  ) {}
}

export class ProcessTable {
  private readonly byThread = new Map<number, Process>();
  private readonly byPid = new Map<number, Process>();
  private readonly strangers = new Set<number>();
  /** Processes that the guard knows, with their start times. */
  private readonly told = new Map<number, string>();
  /**
   * Threads that were about to fork, and for how many ticks their children are still looked for.
   */
  private readonly forking = new Map<number, number>();
  private readonly freeSpaces = Array.from(
    { length: SPACES_MAX },
    (_, index) => SPACES_MAX - 1 - index,
  );
  private readonly retiredSpaces: number[] = [];

  constructor(
    private readonly architecture: Architecture,
    private readonly memory: ProcessMemory,
    private readonly events: EventSet,
    private readonly spaceOptions: ProcessSpaceOptions,
    /**
     * The program itself and the guard: Node reaps them. Others that end up as our children we
     * reap.
     */
    private readonly reapedByNode: readonly number[],
    /** Takes `process PID STARTTIME` of every process that makes a trapped call, VFIO's or not. */
    private readonly tellGuard: (line: string) => void,
    private readonly residentMemory: ResidentMemory,
  ) {}

  get all(): Iterable<Process> {
    return this.byPid.values();
  }

  get count(): number {
    return this.byPid.size;
  }

  /** The process with this id if VFIO knows it, else null. */
  withPid(pid: number): Process | null {
    return this.byPid.get(pid) ?? null;
  }

  /** The process of a thread if VFIO knows it, else null. Hot. */
  known(tid: number): Process | null {
    const process = this.byThread.get(tid);
    if (process !== undefined) return this.settled(process, tid);
    return this.strangers.has(tid) ? null : this.meet(tid, this.threadGroup(tid));
  }

  /**
   * The process of a thread that speaks to VFIO; null where it is gone, or we have no room for it.
   */
  enter(tid: number): Process | null {
    const bound = this.byThread.get(tid);
    if (bound !== undefined) return this.settled(bound, tid);
    const pid = this.threadGroup(tid);
    const known = this.meet(tid, pid);
    if (known !== null || pid === 0) return known;
    const space = this.newSpace(pid);
    if (space === null) return null;
    const pidfd = syscall(this.architecture.nr.pidfd_open, pid, 0, 0, 0, 0, 0);
    if (pidfd < 0) {
      this.endSpace(space);
      return null;
    }
    const process = new Process(pid, pidfd, space);
    this.byPid.set(pid, process);
    this.events.addProcess(pidfd, pid);
    this.strangers.clear();
    this.bind(tid, process);
    if (this.byPid.size === 1) this.residentMemory.sample(this.all);
    return process;
  }

  forgetThread(tid: number): void {
    this.strangers.delete(tid);
    const process = this.byThread.get(tid);
    if (process === undefined) return;
    process.threads.delete(tid);
    this.byThread.delete(tid);
  }

  /** Lets the thread names of strangers expire: a number may be another's by now. */
  forgetStrangers(): void {
    this.strangers.clear();
  }

  /**
   * The process is about to exec or exit in this thread: its memory may be another's at any moment
   * from now on.
   */
  leave(process: Process, tid: number): void {
    if (this.byPid.size === 1) this.residentMemory.sample(this.all);
    process.leaving = tid;
    process.space.suspect = true;
  }

  private settled(process: Process, tid: number): Process {
    if (process.leaving !== 0) this.settle(process, tid);
    return process;
  }

  /**
   * Finds out what became of a process that was leaving, now that its thread `tid` (0: nobody)
   * makes a call.
   */
  settle(process: Process, tid: number): void {
    if (!process.space.alive) {
      this.execed(process);
      if (tid !== 0) this.bind(tid, process);
    } else if (tid === process.leaving) {
      process.space.suspect = false;
      process.leaving = 0;
    }
  }

  /** Every thread but the leader is gone, close-on-exec has run, and the memory is new. */
  private execed(process: Process): void {
    this.unbindThreads(process);
    process.known.clear();
    process.uncertain.clear();
    process.leaving = 0;
    this.endSpace(process.space);
    const space = this.newSpace(process.pid);
    if (space === null) this.forget(process);
    else process.space = space;
  }

  /** The process has exited: its memory ends, its numbers mean nothing any more. */
  exited(process: Process): void {
    this.endSpace(process.space);
    this.forget(process);
  }

  exitedPid(pid: number): void {
    const process = this.byPid.get(pid);
    if (process !== undefined) this.exited(process);
  }

  /**
   * A thread is about to fork: its child may make no trapped call for long, so that nobody but its
   * parent knows of it.
   */
  noteFork(tid: number): void {
    this.forking.set(tid, FORK_TICKS);
  }

  /** Tells the guard of the children of those that forked. */
  tellOfChildren(): void {
    for (const [tid, ticks] of this.forking) {
      for (const pid of childrenOf(tid)) this.tell(pid);
      if (ticks === 1) this.forking.delete(tid);
      else this.forking.set(tid, ticks - 1);
    }
  }

  /**
   * Reaps orphans of the program, which are our children: kernels before 6.11 keep a filter until
   * its last task is reaped.
   */
  reapOrphans(): void {
    for (;;) {
      childWords[SI_PID] = 0;
      if (waitid(P_ALL, 0, childInfo.address, WEXITED | WNOHANG | WNOWAIT) !== 0) return;
      const pid = childWords[SI_PID]!;
      if (pid === 0 || this.reapedByNode.includes(pid)) return;
      waitpid(pid, 0, WNOHANG);
    }
  }

  private forget(process: Process): void {
    this.unbindThreads(process);
    this.byPid.delete(process.pid);
    close(process.pidfd);
  }

  private endSpace(space: ProcessSpace): void {
    space.end();
    this.memory.remove(space);
    // Frames of an ended space may still stand in tables of pinned mappings: then its number is not
    // used again yet.
    (space.hasPinned ? this.retiredSpaces : this.freeSpaces).push(space.id);
  }

  /**
   * No VFIO file is open: frames of ended spaces stand in no table any more, so their numbers can
   * be used again.
   */
  recycleSpaces(): void {
    this.freeSpaces.push(...this.retiredSpaces);
    this.retiredSpaces.length = 0;
  }

  private threadGroup(tid: number): number {
    const pid = threadGroup(tid);
    if (pid !== 0) this.tell(pid);
    return pid;
  }

  /** The process of a thread that is new to us if VFIO knows it, else null. */
  private meet(tid: number, pid: number): Process | null {
    const process = this.byPid.get(pid);
    if (process === undefined) {
      if (this.strangers.size >= STRANGERS_MAX) this.strangers.clear();
      this.strangers.add(tid);
      return null;
    }
    this.bind(tid, process);
    return this.settled(process, tid);
  }

  private tell(pid: number): void {
    const start = startTime(pid);
    if (this.told.get(pid) === start) return;
    this.told.set(pid, start);
    this.tellGuard(`process ${pid} ${start}`);
  }

  private bind(tid: number, process: Process): void {
    this.byThread.set(tid, process);
    process.threads.add(tid);
  }

  private unbindThreads(process: Process): void {
    for (const tid of process.threads) this.byThread.delete(tid);
    process.threads.clear();
  }

  private newSpace(pid: number): ProcessSpace | null {
    const id = this.freeSpaces.pop();
    if (id === undefined) return null;
    const space = new ProcessSpace(id, pid, this.spaceOptions);
    this.memory.add(space);
    return space;
  }
}

/** The thread group (process) of a thread, or 0 where it is gone. */
function threadGroup(tid: number): number {
  try {
    const match = /^Tgid:\s+(\d+)/m.exec(readFileSync(`/proc/${tid}/status`, 'latin1'));
    return match === null ? 0 : Number(match[1]);
  } catch {
    return 0;
  }
}

/** The processes that a thread has forked and that live. */
function childrenOf(tid: number): number[] {
  try {
    const text = readFileSync(`/proc/${tid}/task/${tid}/children`, 'latin1');
    return text.trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/**
 * When a process started, in clock ticks since boot: together with its id it means one process for
 * ever.
 */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Fields 3 and up follow the name, which may contain anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[22 - 3] ?? '0';
  } catch {
    return '0';
  }
}
