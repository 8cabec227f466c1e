/**
 * System calls that take memory away: our MMU notifier (R3.1). Each is told to the address space
 * before the kernel does it, so that no translation is left when the page goes; then the kernel
 * carries it out.
 */
import { Errno, VfioError } from '../../abi/errno.js';
import { copyFromProcess } from '../../mm/process/remote-memory.js';
import type { ProcessSpace } from '../../mm/process/space.js';
import type { CallContext, Handlers } from './context.js';

const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;
const MREMAP_DONTUNMAP = 4;
const CLONE_VM = 0x100;
/**
 * Advice that drops or moves pages: DONTNEED, FREE, REMOVE, HWPOISON, SOFT_OFFLINE, PAGEOUT,
 * DONTNEED_LOCKED, COLLAPSE.
 */
const takingAdvice = new Set([4, 8, 9, 100, 101, 21, 24, 25]);

/** The first bytes of struct clone_args: the low half of its flags. */
const cloneFlags = new Uint8Array(4);

export class MemoryCalls {
  readonly handlers: Handlers;
  /** munmap, and mmap with MAP_FIXED: what lies there goes. */
  readonly unmap = this.on((space) => this.range(space), true);

  constructor(private readonly context: CallContext) {
    const { call } = context;
    this.handlers = {
      munmap: this.unmap,
      mprotect: this.on((space) => this.range(space), false),
      pkey_mprotect: this.on((space) => this.range(space), false),
      remap_file_pages: this.on((space) => this.range(space), false),
      madvise: this.on((space) => takingAdvice.has(call.int(2)) && this.range(space), false),
      mremap: this.on((space) => this.mremap(space), true),
      brk: this.on((space) => space.invalidateForBrk(call.argument(0)), false),
      // Where the segment ends is not in the call.
      shmdt: this.on((space) => space.invalidateAll(), true),
      fork: () => this.fork(true),
      clone: () => this.fork((call.uint(0) & CLONE_VM) === 0),
      clone3: () => this.clone3(),
      execve: () => this.leave(),
      execveat: () => this.leave(),
      exit_group: () => this.leave(),
      mlock: () => this.mlock(),
      mlock2: () => this.mlock(),
      exit: () => this.exit(),
    };
  }

  /** The memory of the caller, if VFIO knows it; that of others concerns nobody. */
  private get space(): ProcessSpace | undefined {
    return this.context.processes.known(this.context.call.tid)?.space;
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
    const moves =
      (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0 ||
      ((flags & MREMAP_MAYMOVE) !== 0 && newLength > oldLength);
    if (moves) space.invalidate(address, oldLength);
    else if (newLength < oldLength) space.invalidate(address + newLength, oldLength - newLength);
    if ((flags & MREMAP_FIXED) !== 0) space.invalidate(call.argument(4), newLength);
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

  /** mlock counts what is pinned against the same limit; the kernel knows nothing of our pins. */
  private mlock(): void {
    const { space } = this;
    const { call } = this.context;
    if (space && !space.mayLock(call.argument(0), call.argument(1)))
      throw new VfioError(Errno.ENOMEM);
    call.proceed();
  }

  /** Descriptors may be gone after the call. */
  private mayClose(): void {
    this.context.files.suspect = true;
  }

  private exit(): void {
    const { call, processes } = this.context;
    this.mayClose();
    processes.forgetThread(call.tid);
    call.proceed();
  }
}
