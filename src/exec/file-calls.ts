/** System calls on VFIO's files: opening, ioctl, read and write, mapping, and what happens to their descriptor numbers. */
import { readlinkSync } from 'node:fs';
import { Errno, VfioError } from '../abi/errno.js';
import {
  allocateNative,
  close,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  poll,
  SystemError,
  syscall,
  write,
} from '../mm/process/libc.js';
import type { ProcessSpace } from '../mm/process/space.js';
import type { Caller, CallerFile, EventCounter, VfioFile } from '../vfio/file.js';
import type { PciFunction } from '../vfio/pci-function.js';
import type { Architecture } from './arch.js';
import type { EventSet } from './event-set.js';
import type { DescriptorWindow } from './filter.js';
import type { Listener } from './listener.js';
import type { MemoryCalls } from './memory-calls.js';
import { type Backing, makeBacking, type OpenFile, type OpenFiles } from './open-files.js';
import type { Process, ProcessTable } from './process.js';

const F_DUPFD_CLOEXEC = 1030;
const POLLOUT = 4;
const IOVEC_BYTES = 16;
const IOVEC_MAX = 1024;

/** Requests that the kernel answers for any file: FIONCLEX, FIOCLEX, FIONBIO, FIOASYNC. */
const vfsRequests = new Set([0x5450, 0x5451, 0x5421, 0x5452]);

/** One counter tick for write(2), and a pollfd. */
const signalMemory = allocateNative(16);
new Uint32Array(signalMemory.bytes.buffer, 0, 1)[0] = 1;
const pollWords = new Int32Array(signalMemory.bytes.buffer, 8, 2);

/** Where the files of the run come from. */
export interface VfioDoor {
  openContainer(): VfioFile;
  openGroup(number: number): VfioFile;
  /** The memory behind a device's descriptors: its regions at index << 40. */
  backing(pciFunction: PciFunction): Backing;
}

export class FileCalls implements Caller {
  /** Handlers by system call number; each answers the current call. */
  readonly handlers: ReadonlyMap<number, () => void>;
  private process: Process | null = null;
  /** A file that the running ioctl made, to be given out as its result. */
  private made: VfioFile | null = null;

  constructor(
    private readonly call: Listener,
    private readonly architecture: Architecture,
    private readonly window: DescriptorWindow,
    private readonly processes: ProcessTable,
    private readonly files: OpenFiles,
    private readonly door: VfioDoor,
    private readonly memoryCalls: MemoryCalls,
    private readonly events: EventSet,
  ) {
    const { nr } = architecture;
    this.handlers = new Map([
      [nr.ioctl, () => this.ioctl()],
      [nr.read, () => this.transfer('read', false, 0)],
      [nr.write, () => this.transfer('write', false, 0)],
      [nr.pread64, () => this.transfer('read', false, call.offset(3))],
      [nr.pwrite64, () => this.transfer('write', false, call.offset(3))],
      [nr.readv, () => this.transfer('read', true, 0)],
      [nr.writev, () => this.transfer('write', true, 0)],
      [nr.preadv, () => this.transfer('read', true, call.offset(3))],
      [nr.pwritev, () => this.transfer('write', true, call.offset(3))],
      [nr.lseek, () => this.onFile(() => call.refuse(Errno.ESPIPE))],
      [nr.fstat, () => call.proceed()],
      [nr.mmap, () => this.mmap()],
      [nr.close, () => this.close()],
      [nr.close_range, () => this.closeRange()],
      [nr.dup, () => this.duplicate(window.first, false)],
      [nr.fcntl, () => this.duplicate(call.int(2), call.int(1) === F_DUPFD_CLOEXEC)],
      [nr.dup2, () => this.replaceNumber()],
      [nr.dup3, () => this.replaceNumber()],
    ]);
  }

  /** Opens a container (`group` null) or a group for the caller of the current open. */
  open(group: number | null, closeOnExec: boolean): void {
    this.run(() => {
      this.files.reap();
      const file = group === null ? this.door.openContainer() : this.door.openGroup(group);
      this.giveOut(file, closeOnExec);
    });
  }

  // The process that makes the current call, as VFIO sees it.

  get mm(): ProcessSpace {
    return this.process!.space;
  }

  file(fd: number): CallerFile | null {
    const process = this.process!;
    const found = this.lookUp(process, fd);
    if (found === null) return null;
    if (found !== 'other') return { kind: 'vfio', file: found.file };
    try {
      if (readlinkSync(`/proc/${process.pid}/fd/${fd}`) !== 'anon_inode:[eventfd]') return { kind: 'other' };
    } catch {
      return null;
    }
    return { kind: 'eventfd', take: () => this.takeEventfd(process, fd) };
  }

  install(file: VfioFile): number {
    const number = this.freeNumber(this.process!);
    this.made = file;
    return number;
  }

  private ioctl(): void {
    this.onFile((opened) => {
      const request = this.call.uint(1);
      if (vfsRequests.has(request)) return this.call.proceed();
      if (this.files.suspect) this.files.reap();
      this.made = null;
      const result = opened.file.ioctl(this, request, this.call.argument(2));
      if (this.made === null) this.call.respond(result);
      else this.giveOut(this.made, true);
    });
  }

  private transfer(direction: 'read' | 'write', isVector: boolean, offset: number): void {
    this.onFile((opened) => {
      const { call } = this;
      if (!isVector) {
        call.respond(opened.file[direction](this, call.argument(1), call.argument(2), offset));
        return;
      }
      const count = call.argument(2);
      if (count > IOVEC_MAX) throw new VfioError(Errno.EINVAL);
      const vectors = new Uint8Array(count * IOVEC_BYTES);
      if (!this.mm.copyFrom(call.argument(1), vectors)) throw new VfioError(Errno.EFAULT);
      const view = new DataView(vectors.buffer);
      let done = 0;
      for (let index = 0; index < count; index++) {
        const address = Number(view.getBigUint64(index * IOVEC_BYTES, true));
        const length = Number(view.getBigUint64(index * IOVEC_BYTES + 8, true));
        if (length === 0) continue;
        const moved = opened.file[direction](this, address, length, offset + done);
        done += moved;
        if (moved < length) break;
      }
      call.respond(done);
    });
  }

  private mmap(): void {
    const { call } = this;
    const flags = call.int(3);
    const fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) === MAP_FIXED;
    const ours = (flags & MAP_ANONYMOUS) === 0 && this.inWindow(call.int(4));
    if (!ours) {
      if (fixed) this.memoryCalls.mapFixed();
      else call.proceed();
      return;
    }
    this.onFile((opened) => {
      const request = { length: call.argument(1), protection: call.int(2), flags, offset: call.argument(5) };
      opened.file.mmap(this, request);
      if (fixed) this.memoryCalls.mapFixed();
      else call.proceed();
    });
  }

  private close(): void {
    const fd = this.call.int(0);
    const process = this.processes.known(this.call.tid);
    process?.known.delete(fd);
    process?.uncertain.add(fd);
    this.files.suspect = true;
    this.call.proceed();
  }

  private closeRange(): void {
    const process = this.processes.known(this.call.tid);
    if (process !== null) this.forgetNumbers(process);
    this.files.suspect = true;
    this.call.proceed();
  }

  /** dup and F_DUPFD: the duplicate gets a number in the window too, where its calls reach us. */
  private duplicate(least: number, closeOnExec: boolean): void {
    this.onFile((opened, process) => {
      if (least >= this.window.end) return this.call.proceed();
      const number = this.freeNumber(process, Math.max(least, this.window.first));
      const source = syscall(this.architecture.nr.pidfd_getfd, process.pidfd, this.call.int(0), 0, 0, 0, 0);
      if (source < 0) return this.call.proceed();
      const made = this.call.answerWithFile(source, number, closeOnExec);
      close(source);
      if (made < 0) throw new VfioError(Errno.EMFILE);
      this.remember(process, made, opened);
    });
  }

  /** dup2 and dup3: the number they take over means something else afterwards. */
  private replaceNumber(): void {
    const { call } = this;
    const target = call.int(1);
    const process = this.processes.known(call.tid);
    if (process !== null) {
      process.known.delete(target);
      process.uncertain.add(target);
    }
    this.files.suspect = true;
    call.proceed();
  }

  /** Runs `handle` with the VFIO file that the call's descriptor means; where it means none, the kernel answers. */
  private onFile(handle: (opened: OpenFile, process: Process) => void): void {
    const { call } = this;
    const fd = call.nr === this.architecture.nr.mmap ? call.int(4) : call.int(0);
    this.run((process) => {
      const opened = this.lookUp(process, fd);
      if (opened === null || opened === 'other') call.proceed();
      else handle(opened, process);
    });
  }

  /** Runs a call of the current thread's process; a VfioError is its answer. */
  private run(handle: (process: Process) => void): void {
    const process = this.processes.enter(this.call.tid);
    if (process === null) return this.call.refuse(Errno.EMFILE); // or it was killed, and nobody reads this
    this.process = process;
    try {
      handle(process);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      this.call.refuse(error.errno);
    } finally {
      this.process = null;
    }
  }

  private giveOut(file: VfioFile, closeOnExec: boolean): void {
    const process = this.process!;
    let number: number;
    let described: { fd: number; lock: number };
    let backing: Backing;
    try {
      number = this.freeNumber(process);
      backing =
        file.pciFunction === undefined ? makeBacking(file.name, 0) : this.door.backing(file.pciFunction);
      described = this.files.describe(backing);
    } catch (error) {
      // Our own descriptors are used up: an errno for the program, not our end.
      file.release();
      if (error instanceof SystemError) throw new VfioError(Errno.EMFILE);
      throw error;
    }
    const made = this.call.answerWithFile(described.fd, number, closeOnExec);
    const opened = this.files.add(file, backing, described.lock);
    close(described.fd);
    if (made >= 0) return this.remember(process, made, opened);
    this.files.reap();
    throw new VfioError(Errno.EMFILE);
  }

  /** What a descriptor of a process means: a file of ours, another, or null where it is not open. */
  lookUp(process: Process, fd: number): OpenFile | 'other' | null {
    const known = process.known.get(fd);
    if (known !== undefined) return known;
    const found = this.files.identify(process.pid, fd);
    if (found !== null && found !== 'other' && this.inWindow(fd) && !process.uncertain.has(fd))
      process.known.set(fd, found);
    return found;
  }

  private remember(process: Process, fd: number, opened: OpenFile): void {
    process.uncertain.delete(fd);
    process.known.set(fd, opened);
  }

  private forgetNumbers(process: Process): void {
    process.known.clear();
    for (let fd = this.window.first; fd < this.window.end; fd++) process.uncertain.add(fd);
  }

  private inWindow(fd: number): boolean {
    return fd >= this.window.first && fd < this.window.end;
  }

  /** The lowest number of the window, from `least` on, that the process does not use. Throws EMFILE. */
  private freeNumber(process: Process, least = this.window.first): number {
    for (let fd = least; fd < this.window.end; fd++) {
      if (process.known.has(fd)) continue;
      if (this.files.identify(process.pid, fd) === null) return fd;
    }
    throw new VfioError(Errno.EMFILE);
  }

  private takeEventfd(process: Process, fd: number): EventCounter {
    const ours = syscall(this.architecture.nr.pidfd_getfd, process.pidfd, fd, 0, 0, 0, 0);
    if (ours < 0) throw new VfioError(Errno.EBADF);
    return {
      signal() {
        pollWords[0] = ours;
        pollWords[1] = POLLOUT;
        // A full counter would make write(2) wait; an interrupt that is pending already needs no second one.
        if (poll(signalMemory.address + 8, 1, 0) === 1) write(ours, signalMemory.address, 8);
      },
      watch: (signalled) => this.events.watchEventfd(ours, signalled),
      close: () => void close(ours),
    };
  }
}
