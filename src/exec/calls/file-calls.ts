/**
 * System calls on VFIO's files: opening, ioctl, read and write, mapping, and what happens to their
 * descriptor numbers.
 */
import { readlinkSync } from 'node:fs';
import { Errno, VfioError } from '../../abi/errno.js';
import type { Caller, CallerFile } from '../../file/caller.js';
import type { EventCounter, VfioFile } from '../../file/file.js';
import {
  close,
  errno,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  SystemError,
  syscall,
} from '../../mm/process/libc.js';
import type { ProcessSpace } from '../../mm/process/space.js';
import { functionOf } from '../../vfio/device-file.js';
import type { PciFunction } from '../../vfio/pci-function.js';
import type { Architecture } from '../arch/arch.js';
import type { CallLog } from '../live/call-log.js';
import { eventCounter } from '../process/eventfd.js';
import {
  type Backing,
  makeBacking,
  makeStreamBacking,
  type OpenFile,
  type OpenFiles,
} from '../process/open-files.js';
import type { Process, ProcessTable } from '../process/process.js';
import type { EventSet } from '../seccomp/event-set.js';
import { type DescriptorWindow, F_DUPFD_CLOEXEC } from '../seccomp/filter.js';
import type { Listener } from '../seccomp/listener.js';
import type { MemoryCalls } from './memory-calls.js';

const IOVEC_BYTES = 16;
const IOVEC_MAX = 1024;
const HIGH = 2 ** 32;
const SIGN = 2 ** 31;

/** Requests that the kernel answers for any file: FIONCLEX, FIOCLEX, FIONBIO, FIOASYNC. */
const vfsRequests = new Set([0x5450, 0x5451, 0x5421, 0x5452]);

/** Where the files of the run come from. */
export interface VfioDoor {
  openContainer(): VfioFile;
  openGroup(number: number): VfioFile;
  /** The memory behind a device's descriptors: its regions at index << 40. */
  backing(pciFunction: PciFunction): Backing;
}

type Direction = 'read' | 'write';

/** Handlers throw VfioError for an errno; whoever calls them answers with it. */
export class FileCalls implements Caller {
  /** Handlers by system call number; each answers the current call, or throws VfioError. */
  readonly handlers: ReadonlyMap<number, () => void>;
  /** Who makes the current call. */
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
    private readonly log: CallLog | null = null,
  ) {
    const { nr } = architecture;
    this.handlers = new Map([
      [nr.ioctl, () => this.ioctl()],
      [nr.read, () => this.transfer('read', -1)],
      [nr.write, () => this.transfer('write', -1)],
      [nr.pread64, () => this.transfer('read', this.positionArgument())],
      [nr.pwrite64, () => this.transfer('write', this.positionArgument())],
      [nr.readv, () => this.transferVector('read', -1)],
      [nr.writev, () => this.transferVector('write', -1)],
      [nr.preadv, () => this.transferVector('read', this.positionArgument())],
      [nr.pwritev, () => this.transferVector('write', this.positionArgument())],
      // -1 means the file's position to these two.
      [nr.preadv2, () => this.transferVector('read', call.offset(3))],
      [nr.pwritev2, () => this.transferVector('write', call.offset(3))],
      [nr.lseek, () => this.lseek()],
      [nr.mmap, () => this.mmap()],
      [nr.close, () => this.close()],
      [nr.close_range, () => this.closeRange()],
      [nr.dup, () => this.duplicate(window.first, false)],
      [nr.fcntl, () => this.duplicate(call.int(2), call.int(1) === F_DUPFD_CLOEXEC)],
      [nr.dup2, () => this.replaceNumber()],
      [nr.dup3, () => this.replaceNumber()],
    ]);
  }

  /**
   * Opens a container (`group` null) or a group for the caller of the current open of `path`.
   * Throws VfioError.
   */
  open(group: number | null, closeOnExec: boolean, path: string): void {
    this.enterProcess();
    this.log?.note(this.process!.pid, -1, path);
    this.files.reap();
    const file = group === null ? this.door.openContainer() : this.door.openGroup(group);
    this.giveOut(file, closeOnExec);
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
      if (readlinkSync(`/proc/${process.pid}/fd/${fd}`) !== 'anon_inode:[eventfd]')
        return { kind: 'other' };
    } catch {
      return null;
    }
    return { kind: 'eventfd', take: () => this.takeEventfd(process, fd) };
  }

  install(file: VfioFile): number {
    const number = this.freeNumber(this.process!, this.window.first);
    this.made = file;
    return number;
  }

  /**
   * What a descriptor of a process means: a file of ours, another, or null where it is not open.
   */
  lookUp(process: Process, fd: number): OpenFile | 'other' | null {
    const known = process.known.get(fd);
    if (known !== undefined) return known;
    const found = this.files.identify(process.pid, fd);
    if (found !== null && found !== 'other' && this.inWindow(fd) && !process.uncertain.has(fd))
      process.known.set(fd, found);
    return found;
  }

  private ioctl(): void {
    const { call } = this;
    const opened = this.enter(call.int(0));
    if (opened === null) return;
    const request = call.uint(1);
    if (vfsRequests.has(request)) return call.proceed();
    if (this.files.suspect) this.files.reap();
    this.made = null;
    const result = opened.file.ioctl(this, request, call.argument(2));
    if (this.made === null) call.respond(result);
    else this.giveOut(this.made, true);
  }

  /** The offset of pread and its like, which may not be negative. */
  private positionArgument(): number {
    const position = this.call.offset(3);
    if (position < 0) throw new VfioError(Errno.EINVAL);
    return position;
  }

  /** read, write, pread, pwrite. `position` -1: the file's own, which then moves. */
  private transfer(direction: Direction, position: number): void {
    const { call } = this;
    const opened = this.enter(call.int(0));
    if (opened === null) return;
    const at = position < 0 ? opened.position : position;
    const moved = opened.file[direction](this, call.argument(1), call.argument(2), at);
    if (position < 0) moveOn(opened, moved);
    call.respond(moved);
  }

  /** The same with vectors: one after the other, up to the first that fails or is short. */
  private transferVector(direction: Direction, position: number): void {
    const { call } = this;
    const opened = this.enter(call.int(0));
    if (opened === null) return;
    const count = call.argument(2);
    if (count > IOVEC_MAX) throw new VfioError(Errno.EINVAL);
    const vectors = new Uint8Array(count * IOVEC_BYTES);
    if (!this.mm.copyFrom(call.argument(1), vectors)) throw new VfioError(Errno.EFAULT);
    const words = new Uint32Array(vectors.buffer);
    for (let index = 0; index < count; index++)
      if (words[index * 4 + 3]! >= SIGN) throw new VfioError(Errno.EINVAL);
    const at = position < 0 ? opened.position : position;
    let done = 0;
    for (let index = 0; index < count; index++) {
      const address = words[index * 4 + 1]! * HIGH + words[index * 4]!;
      const length = words[index * 4 + 3]! * HIGH + words[index * 4 + 2]!;
      if (length === 0) continue;
      const offset = at + (isStream(opened.file) ? 0 : done);
      const moved = this.transferPiece(opened.file, direction, address, length, offset, done > 0);
      done += moved;
      if (moved < length) break;
    }
    if (position < 0) moveOn(opened, done);
    call.respond(done);
  }

  /** Moves one vector; an errno behind bytes that went already is 0 bytes more. */
  private transferPiece(
    file: VfioFile,
    direction: Direction,
    address: number,
    length: number,
    offset: number,
    isLater: boolean,
  ): number {
    try {
      return file[direction](this, address, length, offset);
    } catch (error) {
      if (isLater && error instanceof VfioError) return 0;
      throw error;
    }
  }

  private lseek(): void {
    if (this.enter(this.call.int(0)) !== null) throw new VfioError(Errno.ESPIPE);
  }

  private mmap(): void {
    const { call } = this;
    const flags = call.int(3);
    if ((flags & MAP_ANONYMOUS) === 0 && this.inWindow(call.int(4))) {
      this.enterProcess();
      const opened = this.lookUp(this.process!, call.int(4));
      if (opened !== null && opened !== 'other') {
        this.note(call.int(4), opened);
        opened.file.mmap(this, {
          length: call.argument(1),
          protection: call.int(2),
          flags,
          offset: call.argument(5),
        });
      }
    }
    if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) === MAP_FIXED) this.memoryCalls.unmap();
    else call.proceed();
  }

  private close(): void {
    if (this.log !== null) this.noteClose();
    this.forgetNumber(this.call.int(0));
    this.call.proceed();
  }

  private closeRange(): void {
    for (let fd = this.window.first; fd < this.window.end; fd++) this.forgetNumber(fd);
    this.call.proceed();
  }

  /** dup2 and dup3: the number they take over means something else afterwards. */
  private replaceNumber(): void {
    this.forgetNumber(this.call.int(1));
    this.call.proceed();
  }

  /** A number of the caller is about to mean nothing, or something else. */
  private forgetNumber(fd: number): void {
    const process = this.processes.known(this.call.tid);
    process?.known.delete(fd);
    process?.uncertain.add(fd);
    this.files.suspect = true;
  }

  /** dup and F_DUPFD: the duplicate gets a number in the window too, where its calls reach us. */
  private duplicate(least: number, closeOnExec: boolean): void {
    const { call } = this;
    const opened = this.enter(call.int(0));
    if (opened === null) return;
    if (least < 0 || least >= this.window.end) return call.proceed();
    const process = this.process!;
    const number = this.freeNumber(process, Math.max(least, this.window.first));
    const source = syscall(
      this.architecture.nr.pidfd_getfd,
      process.pidfd,
      call.int(0),
      0,
      0,
      0,
      0,
    );
    if (source < 0) return call.proceed();
    const made = call.answerWithFile(source, number, closeOnExec);
    close(source);
    if (made < 0) throw new VfioError(Errno.EMFILE);
    this.remember(process, made, opened);
  }

  /**
   * The VFIO file that a descriptor of the caller means; where it means none, the kernel answers
   * and this is null.
   */
  private enter(fd: number): OpenFile | null {
    this.enterProcess();
    const opened = this.lookUp(this.process!, fd);
    if (opened !== null && opened !== 'other') {
      if (this.log !== null) this.note(fd, opened);
      return opened;
    }
    this.call.proceed();
    return null;
  }

  private note(fd: number, { file }: OpenFile): void {
    if (this.log === null) return;
    const address = functionOf(file)?.address;
    const name = address === undefined ? file.name : `${file.name}<${address}>`;
    this.log.note(this.process!.pid, fd, name);
  }

  private noteClose(): void {
    const process = this.processes.known(this.call.tid);
    const opened = process?.known.get(this.call.int(0));
    if (process === null || opened === undefined) return;
    this.process = process;
    this.note(this.call.int(0), opened);
  }

  private enterProcess(): void {
    this.process = this.processes.enter(this.call.tid);
    // No room for it, or it was killed, and then nobody reads this.
    if (this.process === null) throw new VfioError(Errno.EMFILE);
  }

  private giveOut(file: VfioFile, closeOnExec: boolean): void {
    const process = this.process!;
    const pciFunction = functionOf(file);
    let backing: Backing | null = null;
    try {
      const number = this.freeNumber(process, this.window.first);
      backing = pciFunction === null ? backingOf(file) : this.door.backing(pciFunction);
      const { fd, lock } = this.files.describe(backing);
      const made = this.call.answerWithFile(fd, number, closeOnExec);
      if (made >= 0) this.remember(process, made, this.files.add(file, backing, lock));
      close(fd);
      if (made >= 0) return;
    } catch (error) {
      // Our own descriptors are used up: an errno for the program, not our end.
      if (!(error instanceof SystemError || error instanceof VfioError)) throw error;
    }
    if (backing !== null && pciFunction === null) close(backing.fd);
    file.release();
    throw new VfioError(Errno.EMFILE);
  }

  private remember(process: Process, fd: number, opened: OpenFile): void {
    process.uncertain.delete(fd);
    process.known.set(fd, opened);
  }

  private inWindow(fd: number): boolean {
    return fd >= this.window.first && fd < this.window.end;
  }

  /**
   * The lowest number of the window, from `least` on, that the process does not use. Throws EMFILE.
   */
  private freeNumber(process: Process, least: number): number {
    for (let fd = least; fd < this.window.end; fd++) {
      if (process.known.has(fd)) continue;
      if (this.files.identify(process.pid, fd) === null) return fd;
    }
    throw new VfioError(Errno.EMFILE);
  }

  private takeEventfd(process: Process, fd: number): EventCounter {
    const ours = syscall(this.architecture.nr.pidfd_getfd, process.pidfd, fd, 0, 0, 0, 0);
    if (ours < 0) throw new VfioError(errno() === Errno.EMFILE ? Errno.EMFILE : Errno.EBADF);
    return eventCounter(ours, this.events);
  }
}

/** A new inode for a file that is no device's. */
function backingOf(file: VfioFile): Backing {
  if (!isStream(file)) return makeBacking(file.name, 0);
  const { backing, show } = makeStreamBacking();
  file.watchReadable!(show);
  return backing;
}

function isStream(file: VfioFile): boolean {
  return file.watchReadable !== undefined;
}

/** Where read(2) and write(2) go on: a stream has no such place. */
function moveOn(opened: OpenFile, bytes: number): void {
  if (!isStream(opened.file)) opened.position += bytes;
}
