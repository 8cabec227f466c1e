/**
 * System calls that take memory away: the MMU notifier (R3.1). Each is told to the address space
 * before the kernel does it, so that no translation is left when the page goes; then the kernel
 * carries it out.
 */
import { CLONE_VM, MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE } from '../../abi/linux.js';
import { getLong } from '../../abi/long.js';
import { IOVEC_BYTES, IOVEC_MAX } from '../../mm/process/iovec.js';
import { textOf } from '../../mm/process/proc.js';
import { copyFromProcess } from '../../mm/process/remote-memory.js';
import type { ProcessSpace } from '../../mm/process/space.js';
import { Uffdio } from '../seccomp/filter.js';
import type { CallContext, Handlers } from './context.js';
import type { LockCalls } from './lock-calls.js';

/**
 * Advice that drops or moves pages: DONTNEED, FREE, REMOVE, HWPOISON, SOFT_OFFLINE, PAGEOUT,
 * DONTNEED_LOCKED, COLLAPSE, GUARD_INSTALL.
 */
const takingAdvice: ReadonlySet<number> = new Set([4, 8, 9, 100, 101, 21, 24, 25, 102]);

/** The first bytes of struct clone_args: the low half of its flags. */
const cloneFlags = new Uint8Array(4);
/** What struct uffdio_move and struct uffdio_writeprotect begin with: three 64-bit numbers. */
const request = new Uint8Array(24);
const requestWords = new Uint32Array(request.buffer);

export class MemoryCalls {
  readonly handlers: Handlers;
  /** munmap, and mmap with MAP_FIXED: what lies there goes. */
  readonly unmap = this.on((space) => this.range(space), true);

  constructor(
    private readonly context: CallContext,
    private readonly locks: LockCalls,
  ) {
    const { call } = context;
    this.handlers = {
      munmap: this.unmap,
      mprotect: this.on((space) => this.range(space), false),
      pkey_mprotect: this.on((space) => this.range(space), false),
      remap_file_pages: this.on((space) => this.range(space), false),
      madvise: this.on((space) => takingAdvice.has(call.int(2)) && this.range(space), false),
      process_madvise: () => this.adviseProcess(),
      mremap: this.on((space) => this.mremap(space), true),
      brk: this.on((space) => space.invalidateForBrk(call.argument(0)), false),
      // Where the segment ends is not in the call.
      shmdt: this.on((space) => space.invalidateAll(), true),
      shmat: this.on((space) => space.invalidateAll(), true),
      // Both as the kernel has it for files of all kinds: private copies go with a truncation, and
      // a hole leaves them.
      ftruncate: () => this.dropFile(call.argument(1), Number.POSITIVE_INFINITY),
      fallocate: () => this.dropFile(call.argument(2), call.argument(3)),
      userfaultfd: () => this.userfaultfd(),
      fork: () => this.fork(true),
      clone: () => this.fork((call.uint(0) & CLONE_VM) === 0),
      clone3: () => this.clone3(),
      execve: () => this.leave(),
      execveat: () => this.leave(),
      exit_group: () => this.leave(),
      exit: () => this.exit(),
    };
  }

  /** An ioctl takes pages away, if its descriptor is a userfaultfd. The call is not answered. */
  takeByUserfaultfd(code: number): void {
    const { call, processes } = this.context;
    if (processes.count === 0 || !copyFromProcess(call.tid, call.argument(2), request)) return;
    const first = getLong(requestWords, 0);
    const second = getLong(requestWords, 2);
    const third = getLong(requestWords, 4);
    const { space } = this;
    // Whose memory the userfaultfd is for cannot be seen: the caller's, or that of a process which
    // passed it on.
    for (const each of space ? [space] : processes.spaces)
      if (code === Uffdio.MOVE) {
        each.invalidate(first, third);
        each.invalidate(second, third);
      } else each.invalidate(first, second);
  }

  /** The caller's memory, if VFIO knows it. */
  private get space(): ProcessSpace | undefined {
    return this.context.processes.spaceOf(this.context.call.tid);
  }

  private on(tell: (space: ProcessSpace) => unknown, closes: boolean): () => void {
    return () => {
      const { space } = this;
      if (space) tell(space);
      if (closes && space) this.mayClose();
      this.context.call.proceed();
    };
  }

  private leave(): void {
    const { call, processes } = this.context;
    const process = processes.known(call.tid);
    if (process !== null) processes.leave(process, call.tid);
    this.mayClose();
    call.proceed();
  }

  private range(space: ProcessSpace): void {
    const { call } = this.context;
    space.invalidate(call.argument(0), call.argument(1));
  }

  private mremap(space: ProcessSpace): void {
    const { call } = this.context;
    const address = call.argument(0);
    const oldLength = call.argument(1);
    const newLength = call.argument(2);
    const flags = call.int(3);
    this.locks.checkGrowth(space, address, oldLength, newLength);
    const moves =
      (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0 ||
      ((flags & MREMAP_MAYMOVE) !== 0 && newLength > oldLength);
    if (moves) space.invalidate(address, oldLength);
    else if (newLength < oldLength) space.invalidate(address + newLength, oldLength - newLength);
    if ((flags & MREMAP_FIXED) !== 0) space.invalidate(call.argument(4), newLength);
  }

  /** process_madvise, of the caller itself or of another process. */
  private adviseProcess(): void {
    const { call, processes } = this.context;
    if (processes.count > 0 && takingAdvice.has(call.int(3))) {
      const fd = call.int(0);
      const named = /^Pid:\s+(\d+)$/m.exec(textOf(`/proc/${call.tid}/fdinfo/${fd}`));
      // Negative: PIDFD_SELF and its like.
      const space = fd < 0 ? this.space : processes.withPid(Number(named?.[1]))?.space;
      const count = Math.min(call.argument(2), IOVEC_MAX);
      const vectors = new Uint8Array(count * IOVEC_BYTES);
      if (space && copyFromProcess(call.tid, call.argument(1), vectors)) {
        const words = new Uint32Array(vectors.buffer);
        for (let at = 0; at < 4 * count; at += 4)
          space.invalidate(getLong(words, at), getLong(words, at + 2));
      }
    }
    call.proceed();
  }

  /** Bytes of a file go, wherever they are mapped. */
  private dropFile(offset: number, length: number): void {
    const { call, processes } = this.context;
    if (processes.count > 0) {
      // fdinfo asks no file system: the program may be the one that would have to answer.
      const ino = /^ino:\s+(\d+)$/m.exec(textOf(`/proc/${call.tid}/fdinfo/${call.int(0)}`));
      if (ino !== null)
        for (const space of processes.spaces) space.invalidateFile(Number(ino[1]), offset, length);
    }
    call.proceed();
  }

  private userfaultfd(): void {
    this.context.pagesMayWait();
    this.context.call.proceed();
  }

  /**
   * Unlike clone's, its flags are in memory: most of these make threads, which take nothing away.
   */
  private clone3(): void {
    const { call } = this.context;
    const known = copyFromProcess(call.tid, call.argument(0), cloneFlags);
    this.fork(!known || (cloneFlags[1]! & (CLONE_VM >>> 8)) === 0);
  }

  private fork(isFork: boolean): void {
    const { call, guard } = this.context;
    if (isFork) {
      guard.noteFork(call.tid);
      this.space?.invalidateForFork();
    }
    call.proceed();
  }

  /** Descriptors may be gone after the call. */
  private mayClose(): void {
    this.context.files.mayClose(this.context.call.tid);
  }

  private exit(): void {
    const { call, processes } = this.context;
    this.mayClose();
    processes.threadExits(call.tid);
    call.proceed();
  }
}
