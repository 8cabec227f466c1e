/**
 * The processes of a run that use VFIO: by thread, with their memory and the descriptors that they
 * were given.
 */

import type { OwnSpaces } from '../../mm/process/file-memory.js';
import { close, syscall } from '../../mm/process/libc.js';
import type { ProcessMemory } from '../../mm/process/memory.js';
import { ProcessSpace } from '../../mm/process/space.js';
import type { ProcessSpaceOptions } from '../../mm/process/space-options.js';
import type { Architecture } from '../arch/index.js';
import type { ResidentMemory } from '../reclaim/resident-memory.js';
import type { EventSet } from '../seccomp/event-set.js';
import type { GuardReport } from './guard-report.js';
import type { OpenFile } from './open-files.js';
import { sharesMemory } from './same-memory.js';
import { SpaceIds } from './space-ids.js';
import { isAlive, livingTask, parentOf, threadGroup } from './tasks.js';

/** Threads of processes that never spoke to VFIO, remembered only to spare look-ups. */
const STRANGERS_MAX = 4096;

/** A process that has spoken to VFIO. */
export class Process {
  /**
   * VFIO files known by descriptor number; checked once, because every change of a number in the
   * window is trapped.
   */
  readonly known = new Map<number, OpenFile>();
  /**
   * Numbers under which something was closed while another thread might have looked: ask the kernel
   * each time.
   */
  readonly uncertain = new Set<number>();
  /** Numbers that calls which are not answered yet will give to files. */
  readonly reserved = new Set<number>();
  readonly threads = new Set<number>();
  /** Threads that have begun to end. */
  readonly ending = new Set<number>();
  /**
   * The thread in execve or exit_group, 0 where none is: its next call means that execve failed.
   */
  leaving = 0;

  constructor(
    readonly pid: number,
    /** Readable once the process has exited. */
    readonly pidfd: number,
    /** A thread of it that is alive, by which its descriptors are reached. */
    public task: number,
    /** Another one after each exec; several processes may have the same (CLONE_VM). */
    public space: ProcessSpace,
  ) {}
}

export interface ProcessTableOptions {
  readonly architecture: Architecture;
  readonly memory: ProcessMemory;
  /** Where exits are seen. */
  readonly events: Pick<EventSet, 'addProcess'>;
  readonly space: ProcessSpaceOptions;
  readonly guard: GuardReport;
  /** Sampled when the first process speaks to VFIO, and before the last leaves. */
  readonly residentMemory: ResidentMemory;
  /** The last process is about to exec or exit. */
  readonly lastLeaves?: () => void;
}

export class ProcessTable {
  private readonly byThread = new Map<number, Process>();
  private readonly byPid = new Map<number, Process>();
  private readonly strangers = new Set<number>();
  private readonly spaceIds = new SpaceIds();

  /** Spaces of this process itself, for files that it maps. */
  readonly ownSpaces: OwnSpaces = {
    take: () => {
      const id = this.spaceIds.take();
      if (id === undefined) return null;
      const space = new ProcessSpace(id, process.pid, this.options.space);
      this.options.memory.add(space);
      return space;
    },
    giveBack: (space) => {
      space.end();
      this.options.memory.remove(space);
      this.spaceIds.giveBack(space.id, space.hasPinned);
    },
  };

  constructor(private readonly options: ProcessTableOptions) {}

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

  /** The address spaces that there are, each once. */
  get spaces(): ReadonlySet<ProcessSpace> {
    return new Set([...this.byPid.values()].map(({ space }) => space));
  }

  /**
   * The address space of a thread if VFIO knows it, also that of a process which VFIO does not know
   * but whose memory it does, as between vfork and exec.
   */
  spaceOf(tid: number): ProcessSpace | undefined {
    const process = this.known(tid);
    if (process !== null) return process.space;
    return this.strangers.has(tid) ? undefined : (this.sharedSpace(tid) ?? undefined);
  }

  /** The process of a thread if VFIO knows it, else null. Hot. */
  known(tid: number): Process | null {
    const process = this.byThread.get(tid);
    if (process !== undefined) return this.settled(process, tid);
    return this.strangers.has(tid) ? null : this.meet(tid, this.threadGroup(tid));
  }

  /**
   * The process of a thread that speaks to VFIO; null where it is gone, or there is no room for it.
   */
  enter(tid: number): Process | null {
    const bound = this.byThread.get(tid);
    if (bound !== undefined) return this.settled(bound, tid);
    const pid = this.threadGroup(tid);
    const known = this.meet(tid, pid);
    if (known !== null || pid === 0) return known;
    const task = isAlive(pid) ? pid : tid;
    const pidfd = syscall(this.options.architecture.nr.pidfd_open, pid, 0, 0, 0, 0, 0);
    if (pidfd < 0) return null;
    const space = this.sharedSpace(tid) ?? this.newSpace(pid, task);
    if (space === null) {
      close(pidfd);
      return null;
    }
    const process = new Process(pid, pidfd, task, space);
    this.byPid.set(pid, process);
    this.options.events.addProcess(pidfd, pid);
    this.strangers.clear();
    this.bind(tid, process);
    if (this.byPid.size === 1) this.options.residentMemory.sample(this.all);
    return process;
  }

  /** The process of a thread, VFIO's or not; 0: it is gone. */
  processOf(tid: number): number {
    return this.byThread.get(tid)?.pid ?? threadGroup(tid);
  }

  /** A thread is about to end: from now on its process is reached through another one. */
  threadExits(tid: number): void {
    const process = this.known(tid);
    this.strangers.delete(tid);
    if (process === null) return;
    process.threads.delete(tid);
    this.byThread.delete(tid);
    process.ending.add(tid);
    if (process.task === tid) process.task = livingTask(process.pid, process.ending) || tid;
    if (process.task === tid) this.handOn(process);
    else if (process.space.task === tid) process.space.task = process.task;
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
    if (this.byPid.size === 1) {
      this.options.residentMemory.sample(this.all);
      this.options.lastLeaves?.();
    }
    process.leaving = tid;
    process.space.suspect = true;
    this.handOn(process);
  }

  /**
   * A process is about to go: its memory is reached through another that has the same, which may be
   * its parent that VFIO does not know.
   */
  private handOn(process: Process): void {
    if (this.otherUser(process) === undefined) {
      const parent = parentOf(process.pid);
      if (sharesMemory(this.options.architecture, process.pid, parent)) this.enter(parent);
    }
    const other = this.otherUser(process);
    if (other !== undefined) process.space.task = other.task;
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
    if (!this.hasItsSpace(process)) {
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
    process.ending.clear();
    process.leaving = 0;
    process.task = process.pid;
    const other = this.otherUser(process);
    if (other === undefined) this.endSpace(process.space);
    else this.stayWith(other);
    const space = this.newSpace(process.pid, process.pid);
    if (space === null) this.forget(process);
    else process.space = space;
  }

  /** The process has exited: its memory ends, its numbers mean nothing any more. */
  exited(process: Process): void {
    const other = this.otherUser(process);
    if (other === undefined) this.endSpace(process.space);
    else this.stayWith(other);
    this.forget(process);
  }

  exitedPid(pid: number): void {
    const process = this.byPid.get(pid);
    if (process !== undefined) this.exited(process);
  }

  private forget(process: Process): void {
    this.unbindThreads(process);
    this.byPid.delete(process.pid);
    close(process.pidfd);
  }

  /** Another process that had the same memory has it no more. */
  private stayWith({ space, task, leaving }: Process): void {
    space.task = task;
    space.suspect = leaving !== 0;
  }

  private endSpace(space: ProcessSpace): void {
    space.end();
    this.options.memory.remove(space);
    this.spaceIds.giveBack(space.id, space.hasPinned);
  }

  /** No VFIO file is open: the numbers of ended spaces can be used again. */
  recycleSpaces(): void {
    this.spaceIds.recycle();
  }

  /** Another process with the same memory, preferably one that is not about to exec or exit. */
  private otherUser(process: Process): Process | undefined {
    let found: Process | undefined;
    for (const user of this.byPid.values())
      if (user.space === process.space && user !== process && (!found || user.leaving === 0))
        found = user;
    return found;
  }

  /** Whether a process that was about to exec still has its memory. */
  private hasItsSpace(process: Process): boolean {
    if (!process.space.alive) return false;
    const other = this.otherUser(process);
    const { architecture } = this.options;
    return other === undefined || sharesMemory(architecture, process.pid, other.task);
  }

  /**
   * The address space that a thread of a process not seen before shares with another; null: none.
   */
  private sharedSpace(tid: number): ProcessSpace | null {
    for (const { space } of this.byPid.values())
      if (sharesMemory(this.options.architecture, tid, space.task)) return space;
    return null;
  }

  private threadGroup(tid: number): number {
    const pid = threadGroup(tid);
    if (pid !== 0) this.options.guard.process(pid);
    return pid;
  }

  /** The process of a thread not seen before, if VFIO knows it, else null. */
  private meet(tid: number, pid: number): Process | null {
    const process = this.byPid.get(pid);
    if (process === undefined) {
      if (this.strangers.size >= STRANGERS_MAX) this.strangers.clear();
      if (this.sharedSpace(tid) === null) this.strangers.add(tid);
      return null;
    }
    this.bind(tid, process);
    return this.settled(process, tid);
  }

  private bind(tid: number, process: Process): void {
    this.byThread.set(tid, process);
    process.threads.add(tid);
    process.ending.delete(tid);
  }

  private unbindThreads(process: Process): void {
    for (const tid of process.threads) this.byThread.delete(tid);
    process.threads.clear();
  }

  private newSpace(pid: number, task: number): ProcessSpace | null {
    const id = this.spaceIds.take();
    if (id === undefined) return null;
    const space = new ProcessSpace(id, pid, this.options.space, task);
    this.options.memory.add(space);
    return space;
  }
}
