/**
 * process_vm_readv(2) and process_vm_writev(2) as the engine calls them: directly, or, where a page
 * may be one that only the program itself can bring (userfaultfd, FUSE), in a thread that may wait.
 *
 * Whoever waits for such a page must let the program go on, whose next call may be what brings the
 * page. So the engine hands the transfer to a thread and serves the program meanwhile.
 */

import { createRequire } from 'node:module';
import type { Worker } from 'node:worker_threads';
import { O_CLOEXEC, O_NONBLOCK } from '../../abi/linux.js';
import { setLong } from '../../abi/long.js';
import { PAGE_SIZE } from '../address-space.js';
import { IOVEC_BYTES, IOVEC_MAX, IovecArray } from './iovec.js';
import {
  allocateNative,
  eventfd,
  must,
  processVmReadv as readDirectly,
  processVmWritev as writeDirectly,
} from './libc.js';

export const TransferState = { IDLE: 0, BEGUN: 1, MOVING: 2, DONE: 3 } as const;

/** Words of the memory that the engine and a thread share; addresses take two. */
export const TransferWord = {
  STATE: 0,
  WRITE: 1,
  PID: 2,
  LOCALS: 3,
  REMOTES: 4,
  RESULT: 5,
  LOCAL: 6,
  REMOTE: 8,
  COUNT: 10,
} as const;

type NodeThreads = typeof import('node:worker_threads');

/** A page for each vector: what one call of the engine moves at most. */
const DATA_BYTES = IOVEC_MAX * PAGE_SIZE;
/** Looks at the answer before the engine turns to others; most pages are there. */
const LOOKS = 2000;
/**
 * Milliseconds for a new thread to start, and for what a call needs and is there. It must not wait
 * behind a later call: those end first, and the caller may be who brings their page.
 */
const START_MS = 2000;
const CALL_MS = 50;
/**
 * Transfers that wait at once: each holds a thread of the engine, and the program decides how many
 * of its calls need such pages.
 */
const WAITING_MOST = 16;

/** Serves the program until a transfer has ended. */
export interface Meanwhile {
  /**
   * Returns when `isDone`, which may be so once `doneFd` is readable. Throws where the run must
   * end. `isDevice`: a device's access waits, and not a copy for the current call.
   */
  serve(doneFd: number, isDone: () => boolean, isDevice: boolean): void;
}

let threads: TransferThreads | null = null;

/**
 * From now on pages may have to come from the program, for as long as this thread lives: each
 * transfer costs a change of threads. Idempotent.
 */
export function pagesMayWait(meanwhile: Meanwhile): void {
  threads ??= new TransferThreads(meanwhile);
}

/** Whether `pagesMayWait` was called. */
export function mayPagesWait(): boolean {
  return threads !== null;
}

/** Ends the threads. */
export function endTransfers(): void {
  threads?.end();
  threads = null;
}

type Transfer = typeof readDirectly;

/** As process_vm_readv(2), for a call of the program. */
export const processVmReadv: Transfer = (pid, local, locals, remote, remotes) =>
  transfer(false, false, pid!, local!, locals!, remote!, remotes!);
export const processVmWritev: Transfer = (pid, local, locals, remote, remotes) =>
  transfer(true, false, pid!, local!, locals!, remote!, remotes!);
/** The same for an access of a device. */
export const deviceReadv: Transfer = (pid, local, locals, remote, remotes) =>
  transfer(false, true, pid!, local!, locals!, remote!, remotes!);
export const deviceWritev: Transfer = (pid, local, locals, remote, remotes) =>
  transfer(true, true, pid!, local!, locals!, remote!, remotes!);

function transfer(
  isWrite: boolean,
  isDevice: boolean,
  pid: number,
  local: number,
  locals: number,
  remote: number,
  remotes: number,
): number {
  if (threads !== null)
    return threads.transfer(isWrite, isDevice, pid, local, locals, remote, remotes);
  const move = isWrite ? writeDirectly : readDirectly;
  return move(pid, local, locals, remote, remotes, 0);
}

/** Threads, one of which each transfer that waits has for itself; the last one began last. */
class TransferThreads {
  private readonly doneFd = must('eventfd', eventfd(0, O_CLOEXEC | O_NONBLOCK));
  private readonly all: TransferThread[] = [];
  private busy = 0;

  constructor(private readonly meanwhile: Meanwhile) {
    this.all.push(new TransferThread(this.doneFd));
  }

  /** As process_vm_*; -1, too, where too many wait. Only this thread touches the engine's side. */
  transfer(
    isWrite: boolean,
    isDevice: boolean,
    pid: number,
    local: number,
    locals: number,
    remote: number,
    remotes: number,
  ): number {
    if (this.busy === WAITING_MOST) return -1;
    if (this.busy === this.all.length) this.all.push(new TransferThread(this.doneFd));
    const thread = this.all[this.busy++]!;
    try {
      thread.begin(isWrite, pid, local, locals, remote, remotes);
      for (let look = 0; look < LOOKS && !thread.isDone; look++);
      if (!isDevice) thread.waitAMoment();
      if (!thread.isDone) this.meanwhile.serve(this.doneFd, () => thread.isDone, isDevice);
      return thread.take();
    } finally {
      this.busy--;
    }
  }

  end(): void {
    for (const thread of this.all) thread.end();
  }
}

class TransferThread {
  private readonly words = new Int32Array(new SharedArrayBuffer(4 * TransferWord.COUNT));
  private readonly unsignedWords = new Uint32Array(this.words.buffer);
  private readonly memory = allocateNative(2 * IOVEC_MAX * IOVEC_BYTES + DATA_BYTES);
  private readonly data = this.memory.address + 2 * IOVEC_MAX * IOVEC_BYTES;
  private readonly ours = new IovecArray(1);
  private readonly theirs = new IovecArray(1);
  private readonly worker: Worker;
  private locals = 0;
  private copiesBack = false;

  constructor(doneFd: number) {
    const { words } = this;
    // Loaded only here: few programs bring pages themselves.
    const threads = createRequire(import.meta.url)('node:worker_threads') as NodeThreads;
    this.worker = new threads.Worker(new URL('./transfer-thread.js', import.meta.url), {
      workerData: { words, doneFd },
      // Else Node opens stdout and stderr.
      stdout: true,
      stderr: true,
    });
    this.worker.unref();
  }

  get isDone(): boolean {
    return Atomics.load(this.words, TransferWord.STATE) === TransferState.DONE;
  }

  /** Returns when the transfer is done, or seems to wait for the program. */
  waitAMoment(): void {
    Atomics.wait(this.words, TransferWord.STATE, TransferState.BEGUN, START_MS);
    Atomics.wait(this.words, TransferWord.STATE, TransferState.MOVING, CALL_MS);
  }

  /** Begins a transfer. Its vectors and data are copied: others may use the caller's meanwhile. */
  begin(
    isWrite: boolean,
    pid: number,
    local: number,
    locals: number,
    remote: number,
    remotes: number,
  ): void {
    const { address } = this.memory;
    const vectors = IOVEC_MAX * IOVEC_BYTES;
    this.copy(address, local, locals * IOVEC_BYTES);
    this.copy(address + vectors, remote, remotes * IOVEC_BYTES);
    this.locals = locals;
    this.ours.count = 0;
    this.ours.push(this.data, DATA_BYTES);
    // What a write fault points at cannot be read, and goes as it is.
    const isCopied =
      !isWrite || readDirectly(process.pid, this.ours.address, 1, address, locals, 0) > 0;
    this.copiesBack = !isWrite;
    const { words } = this;
    setLong(this.unsignedWords, TransferWord.LOCAL, isCopied ? this.ours.address : address);
    setLong(this.unsignedWords, TransferWord.REMOTE, address + vectors);
    words[TransferWord.WRITE] = isWrite ? 1 : 0;
    words[TransferWord.PID] = pid;
    words[TransferWord.LOCALS] = isCopied ? 1 : locals;
    words[TransferWord.REMOTES] = remotes;
    Atomics.store(words, TransferWord.STATE, TransferState.BEGUN);
    Atomics.notify(words, TransferWord.STATE);
  }

  /** What a transfer that is done returned. */
  take(): number {
    const moved = this.words[TransferWord.RESULT]!;
    Atomics.store(this.words, TransferWord.STATE, TransferState.IDLE);
    if (this.copiesBack && moved > 0) {
      this.ours.count = 0;
      this.ours.push(this.data, moved);
      writeDirectly(process.pid, this.ours.address, 1, this.memory.address, this.locals, 0);
    }
    return moved;
  }

  end(): void {
    void this.worker.terminate();
  }

  /** Copies bytes of this process. */
  private copy(to: number, from: number, length: number): void {
    this.ours.count = this.theirs.count = 0;
    this.ours.push(to, length);
    this.theirs.push(from, length);
    readDirectly(process.pid, this.ours.address, 1, this.theirs.address, 1, 0);
  }
}
