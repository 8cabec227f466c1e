/** What the guard (run/guard.ts) is told: what it must end and remove if iopf is killed. */
import { readFileSync } from 'node:fs';
import { allocateNative, write } from '../../mm/process/libc.js';

/** On a busy machine a fork may be carried out long after it was let go on. */
const FORK_TICKS = 40;
/** The first looks for a child are this far apart, and so many. */
const FIRST_LOOKS_MS = 2;
const FIRST_LOOKS = 30;
/** Room for the longest path. */
const LINE_BYTES = 8192;

export class GuardReport {
  /** Processes that the guard knows, with their start times. */
  private readonly told = new Map<number, string>();
  /**
   * Threads that were about to fork, and for how many ticks their children are still looked for.
   */
  private readonly forking = new Map<number, number>();
  private readonly line = allocateNative(LINE_BYTES);
  private firstLooks = 0;
  private lastLookMs = 0;

  /** `fd`: the pipe on which the guard listens. */
  constructor(private readonly fd: number) {}

  /** A directory that goes with the run. */
  directory(path: string): void {
    this.say(`directory ${path}`);
  }

  /** A process that makes a trapped call, VFIO's or not. */
  process(pid: number): void {
    const start = startTime(pid);
    if (this.told.get(pid) === start) return;
    this.told.set(pid, start);
    this.say(`process ${pid} ${start}`);
  }

  /**
   * A thread is about to fork: its child may make no trapped call for long, so that nobody but its
   * parent knows of it.
   */
  noteFork(tid: number): void {
    this.forking.set(tid, FORK_TICKS);
    this.firstLooks = FIRST_LOOKS;
  }

  /** A fork was let go on a moment ago: `lookForChildren` wants to be called every 2 ms or so. */
  get awaitsChildren(): boolean {
    return this.firstLooks > 0;
  }

  /**
   * Tells of children as soon as they are there: if iopf is killed before the guard knows of one
   * whose parent has ended, nobody finds it.
   */
  lookForChildren(nowMs: number): void {
    if (nowMs - this.lastLookMs < FIRST_LOOKS_MS) return;
    this.lastLookMs = nowMs;
    this.firstLooks--;
    this.tellOfForked();
  }

  /** Tells of the children of those that forked. */
  tellOfChildren(): void {
    this.tellOfForked();
    for (const [tid, ticks] of this.forking) {
      if (ticks === 1) this.forking.delete(tid);
      else this.forking.set(tid, ticks - 1);
    }
  }

  private tellOfForked(): void {
    for (const tid of this.forking.keys()) for (const pid of childrenOf(tid)) this.process(pid);
  }

  private say(text: string): void {
    const bytes = Buffer.from(`${text}\n`);
    this.line.bytes.set(bytes);
    write(this.fd, this.line.address, bytes.length);
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
