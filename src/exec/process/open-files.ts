/**
 * The VFIO files that the program holds: what stands behind its descriptors, and when the last
 * reference is gone.
 *
 * Each open file is a *description* (struct file) of a memfd, put into the program. Nothing here
 * counts closes: an open-file-description lock is taken on the description and probed from another
 * one. The lock ends with the last descriptor or mapping, in whatever process: the kernel's own
 * rule for files (fcntl(2), F_OFD_SETLK).
 */

import { readFileSync, readlinkSync, type Stats, statSync } from 'node:fs';
import { basename } from 'node:path';
import { O_CLOEXEC, O_RDONLY, O_RDWR } from '../../abi/linux.js';
import type { VfioFile } from '../../file/file.js';
import { allocateNative, close, fcntl, must, open } from '../../mm/process/libc.js';
import type { PciFunction } from '../../vfio/pci-function.js';
import type { Found } from '../machine/shadow-node.js';
import type { Backing } from './backing.js';

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

/**
 * Ticks in which every call looks, whosever it is, while a thread that may have closed something
 * has not called again.
 */
const DOUBTFUL_TICKS = 20;

/** struct flock: type, whence, start, length. */
const flock = allocateNative(64);
const flockShorts = new Int16Array(flock.bytes.buffer, 0, 2);
const flockWords = new Uint32Array(flock.bytes.buffer, 0, 8);

/** A file that the program has open. */
export interface OpenFile {
  readonly file: VfioFile;
  /** The node that it was opened by; null: a call made it. */
  readonly node: Found | null;
  /** The function behind a device's file. */
  readonly pciFunction: PciFunction | null;
  readonly backing: Backing;
  /** Bytes of the backing that the program's descriptions, one per open and dup, have locked. */
  readonly locks: number[];
  /** Where read(2) and write(2) go on, in bytes. */
  position: number;
}

export class OpenFiles {
  private readonly files: OpenFile[] = [];
  /** Files that were ever opened, and those of them that are devices. */
  opens = 0;
  deviceOpens = 0;
  /** The program whose process opened one first. */
  firstUser: string | null = null;
  /** The functions behind the open device files, each once. */
  readonly openFunctions: PciFunction[] = [];
  /** All of them are (PciFunction.isQuiet). */
  isQuiet = true;
  /** Something was closed, or may have been, and nobody has looked since. */
  private isSuspect = false;
  /** Threads that are in a call which may close something: it has when they call again. */
  private readonly closing = new Set<number>();
  /** Looks that are due at the least: a thread may be slow to close what another asks for. */
  private looksDue = 0;
  /** A call or a device is in the middle of its work on them: nothing is released meanwhile. */
  isBusy = false;

  get count(): number {
    return this.files.length;
  }

  /**
   * The engine's descriptor for a new description of the backing, locked; to be given to the
   * program, then closed here.
   */
  describe(backing: Backing): { fd: number; lock: number } {
    const access = backing.isReadOnly ? O_RDONLY : O_RDWR;
    const fd = must('open', open(`/proc/self/fd/${backing.fd}`, access | O_CLOEXEC, 0));
    const lock = backing.nextLock++;
    setLock(backing.isReadOnly ? F_RDLCK : F_WRLCK, lock);
    must('F_OFD_SETLK', fcntl(fd, F_OFD_SETLK, flock.address));
    return { fd, lock };
  }

  /** `lock`: the byte that the file's first description has locked. */
  add(file: Omit<OpenFile, 'locks' | 'position'>, lock: number): OpenFile {
    const opened = { ...file, locks: [lock], position: 0 };
    this.files.push(opened);
    this.opens++;
    if (file.pciFunction !== null) this.deviceOpens++;
    this.findOpenFunctions();
    return opened;
  }

  /**
   * The file that a descriptor of a process means, by its inode; null where it is no VFIO
   * file, or not open.
   */
  identify(tid: number, fd: number): OpenFile | 'other' | null {
    const stat = statOf(`/proc/${tid}/fd/${fd}`);
    if (stat === null) return null;
    for (const file of this.files)
      if (file.backing.inode === stat.ino && file.backing.device === stat.dev) return file;
    return 'other';
  }

  /** A process opens a file by its path. */
  openedBy(pid: number): void {
    this.firstUser ??= programOf(pid);
  }

  /** Something was closed, or may have been. */
  suspect(): void {
    this.isSuspect = true;
  }

  /**
   * A thread's call may close something. It goes on in the kernel, and whoever looks before it has
   * got there finds nothing.
   */
  mayClose(tid: number): void {
    this.isSuspect = true;
    this.looksDue = DOUBTFUL_TICKS;
    this.closing.add(tid);
  }

  /** A thread makes a call that can tell whether a file is open: `reap`, where that may matter. */
  settle(tid: number): void {
    const { closing } = this;
    // Once each of those has called again, what they closed was looked for.
    if (closing.delete(tid) || this.isSuspect || (this.looksDue > 0 && closing.size > 0))
      this.reap();
  }

  /** Housekeeping: what is closed without notice. */
  tick(): void {
    if (this.looksDue > 0) this.looksDue--;
    this.reap();
  }

  /** Releases every file that nobody refers to any more, oldest first. */
  reap(): void {
    if (this.isBusy) return;
    this.isSuspect = false;
    for (let index = 0; index < this.files.length; ) {
      const opened = this.files[index]!;
      const { backing, locks } = opened;
      while (locks.length > 0 && !isHeld(backing, locks[0]!)) locks.shift();
      if (locks.length > 0) {
        index++;
        continue;
      }
      this.files.splice(index, 1);
      opened.file.release();
      if (opened.pciFunction === null) close(opened.backing.fd);
      this.findOpenFunctions();
    }
    if (this.files.length === 0) this.closing.clear();
  }

  /** A file of a device; null: none is open. */
  deviceFile(pciFunction: PciFunction): VfioFile | null {
    for (const opened of this.files) if (opened.pciFunction === pciFunction) return opened.file;
    return null;
  }

  private findOpenFunctions(): void {
    const functions = new Set<PciFunction>();
    for (const { pciFunction } of this.files) if (pciFunction !== null) functions.add(pciFunction);
    this.openFunctions.splice(0, this.openFunctions.length, ...functions);
    this.isQuiet = this.openFunctions.every(({ isQuiet }) => isQuiet === true);
  }
}

/** Null where there is no such descriptor, or the process lets nobody look (it is not dumpable). */
function statOf(path: string): Stats | null {
  try {
    return statSync(path, { throwIfNoEntry: false }) ?? null;
  } catch {
    return null;
  }
}

/** Whether anybody still has the description that locked this byte. */
function isHeld({ fd }: Backing, lock: number): boolean {
  setLock(F_WRLCK, lock);
  must('F_OFD_GETLK', fcntl(fd, F_OFD_GETLK, flock.address));
  return flockShorts[0] !== F_UNLCK;
}

function setLock(type: number, start: number): void {
  flockWords.fill(0);
  flockShorts[0] = type;
  flockWords[2] = start;
  flockWords[4] = 1;
}

/** A script has its own name, not its interpreter's; null: it has gone, or may not be read. */
function programOf(pid: number): string | null {
  const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8');
  try {
    const name = read('comm').trim();
    const script = basename(read('cmdline').split('\0')[1] ?? '');
    if (name !== '' && script.startsWith(name)) return script;
    return basename(readlinkSync(`/proc/${pid}/exe`));
  } catch {
    return null;
  }
}
