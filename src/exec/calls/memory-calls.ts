/**
 * System calls that take memory away: our MMU notifier (R3.1). Each is told to the address space
 * before the kernel does it, so that no translation is left when the page goes; then the kernel
 * carries it out.
 */
import { Errno, VfioError } from '../../abi/errno.js';
import { copyFromProcess } from '../../mm/process/remote-memory.js';
import type { ProcessSpace } from '../../mm/process/space.js';
import type { Architecture } from '../arch/arch.js';
import type { ProcessTable } from '../process/process.js';
import type { Listener } from '../seccomp/listener.js';

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
  /** Handlers by system call number; each answers the current call. */
  readonly handlers: ReadonlyMap<number, () => void>;
  /** munmap, and mmap with MAP_FIXED: what lies there goes. */
  readonly unmap = this.on((space) => this.range(space), true);

  constructor(
    private readonly call: Listener,
    architecture: Architecture,
    private readonly processes: ProcessTable,
    /** Descriptors may be gone after the call. */
    private readonly mayClose: () => void,
  ) {
    const { nr } = architecture;
    this.handlers = new Map([
      [nr.munmap, this.unmap],
      [nr.mprotect, this.on((space) => this.range(space), false)],
      [nr.pkey_mprotect, this.on((space) => this.range(space), false)],
      [nr.remap_file_pages, this.on((space) => this.range(space), false)],
      [nr.madvise, this.on((space) => takingAdvice.has(call.int(2)) && this.range(space), false)],
      [nr.mremap, this.on((space) => this.mremap(space), true)],
      [nr.brk, this.on((space) => space.invalidateForBrk(call.argument(0)), false)],
      // Where the segment ends is not in the call.
      [nr.shmdt, this.on((space) => space.invalidateAll(), true)],
      [nr.fork, () => this.fork(true)],
      [nr.clone, () => this.fork(true)],
      [nr.clone3, () => this.clone3()],
      [nr.execve, () => this.leave()],
      [nr.execveat, () => this.leave()],
      [nr.exit_group, () => this.leave()],
      [nr.mlock, () => this.mlock()],
      [nr.mlock2, () => this.mlock()],
      [nr.exit, () => this.exit()],
    ]);
  }

  /** The memory of the caller, if VFIO knows it; that of others concerns nobody. */
  private get space(): ProcessSpace | undefined {
    return this.processes.known(this.call.tid)?.space;
  }

  private on(tell: (space: ProcessSpace) => unknown, closes: boolean): () => void {
    return () => {
      const { space } = this;
      if (space) tell(space);
      if (closes && space) this.mayClose();
      this.call.proceed();
    };
  }

  private leave(): void {
    const process = this.processes.known(this.call.tid);
    if (process !== null) this.processes.leave(process, this.call.tid);
    this.mayClose();
    this.call.proceed();
  }

  private range(space: ProcessSpace): void {
    space.invalidate(this.call.argument(0), this.call.argument(1));
  }

  private mremap(space: ProcessSpace): void {
    const { call } = this;
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
    const { tid } = this.call;
    const known = copyFromProcess(tid, this.call.argument(0), cloneFlags);
    this.fork(!known || (cloneFlags[1]! & (CLONE_VM >>> 8)) === 0);
  }

  private fork(isFork: boolean): void {
    if (isFork) {
      this.processes.noteFork(this.call.tid);
      this.space?.invalidateForFork();
    }
    this.call.proceed();
  }

  /** mlock counts what is pinned against the same limit; the kernel knows nothing of our pins. */
  private mlock(): void {
    const { space } = this;
    if (space && !space.mayLock(this.call.argument(0), this.call.argument(1)))
      throw new VfioError(Errno.ENOMEM);
    this.call.proceed();
  }

  private exit(): void {
    const { tid } = this.call;
    this.mayClose();
    this.processes.forgetThread(tid);
    this.call.proceed();
  }
}
