/**
 * The VFIO files that the program holds: what stands behind its descriptors, and when the last
 * reference is gone.
 *
 * Each open file is a *description* (struct file) of a memfd, put into the program. Nothing here
 * counts closes: we hold an open-file-description lock on the description and probe it from another
 * one. The lock ends with the last descriptor or mapping, in whatever process: the kernel's own
 * rule for files (fcntl(2), F_OFD_SETLK).
 */
import { fstatSync, type Stats, statSync } from 'node:fs';
import type { VfioFile } from '../../file/file.js';
import {
  allocateNative,
  close,
  fcntl,
  ftruncate,
  memfdCreate,
  must,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  open,
  pipe2,
  read,
  write,
} from '../../mm/process/libc.js';
import { fileKey } from '../../mm/process/vmas.js';
import { functionOf } from '../../vfio/device-file.js';
import type { PciFunction } from '../../vfio/pci-function.js';

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const SEALS = 1 | 2 | 4; // SEAL, SHRINK, GROW: the program could otherwise take memory from under our mapping
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_WRLCK = 1;
const F_UNLCK = 2;

/** struct flock: type, whence, start, length. */
const flock = allocateNative(64);
const flockShorts = new Int16Array(flock.bytes.buffer, 0, 2);
const flockWords = new Uint32Array(flock.bytes.buffer, 0, 8);
/**
 * One byte is ours; what else is in a pipe the program has put there, by a number that does not
 * reach us.
 */
const STREAM_BYTES = 4096;
const streamMemory = allocateNative(STREAM_BYTES);

/** A sealed memfd: the inode that descriptors of one or several files share. */
export interface Backing {
  readonly fd: number;
  readonly device: number;
  readonly inode: number;
  /** As `fileKey`. */
  readonly key: string;
  /** Next byte to lock: each description locks one of its own. */
  nextLock: number;
}

export function makeBacking(name: string, bytes: number): Backing {
  const fd = must('memfd_create', memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // Neither can fail of a new memfd, for want of descriptors least of all.
  must('ftruncate', ftruncate(fd, bytes));
  must('F_ADD_SEALS', fcntl(fd, F_ADD_SEALS, SEALS));
  const { dev, ino } = fstatSync(fd);
  // Linux's 64-bit device numbers, as far as the file systems of the kernel itself use them.
  const key = fileKey((dev >>> 8) & 0xfff, (dev & 0xff) | ((dev >>> 12) & 0xfff00), ino);
  return { fd, device: dev, inode: ino, key, nextLock: 0 };
}

/**
 * The inode behind a stream: a pipe, so that poll(2) and epoll(7) see whether it can be read.
 * `show` puts a byte in, or takes it out; the program's own reads never reach it.
 */
export function makeStreamBacking(): { backing: Backing; show(readable: boolean): void } {
  must('pipe2', pipe2(streamMemory.address, O_CLOEXEC));
  const [readEnd, writeEnd] = new Int32Array(streamMemory.bytes.buffer, 0, 2) as unknown as [
    number,
    number,
  ];
  // One description for both directions, as the program's will be; but ours never waits, whatever
  // the program does to the pipe.
  const fd = open(`/proc/self/fd/${readEnd}`, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
  close(readEnd);
  close(writeEnd);
  must('open', fd);
  const { dev, ino } = fstatSync(fd);
  let shown = false;
  const show = (readable: boolean): void => {
    if (readable === shown) return;
    shown = readable;
    if (readable) write(fd, streamMemory.address, 1);
    else while (read(fd, streamMemory.address, STREAM_BYTES) === STREAM_BYTES);
  };
  return { backing: { fd, device: dev, inode: ino, key: '', nextLock: 0 }, show };
}

/** A file that the program has open. */
export interface OpenFile {
  readonly file: VfioFile;
  readonly backing: Backing;
  /** Byte of the backing that the program's description has locked. */
  readonly lock: number;
  /** Where read(2) and write(2) go on, in bytes. */
  position: number;
}

export class OpenFiles {
  private readonly files: OpenFile[] = [];
  /** The functions behind the open device files, each once. */
  readonly openFunctions: PciFunction[] = [];
  /** Something was closed, or may have been: the next `reap` must look. */
  suspect = false;

  get count(): number {
    return this.files.length;
  }

  /**
   * Our descriptor for a new description of the backing, locked; to be given to the program, then
   * closed here.
   */
  describe(backing: Backing): { fd: number; lock: number } {
    const fd = must('open', open(`/proc/self/fd/${backing.fd}`, O_RDWR | O_CLOEXEC, 0));
    const lock = backing.nextLock++;
    setLock(F_WRLCK, lock);
    must('F_OFD_SETLK', fcntl(fd, F_OFD_SETLK, flock.address));
    return { fd, lock };
  }

  add(file: VfioFile, backing: Backing, lock: number): OpenFile {
    const opened = { file, backing, lock, position: 0 };
    this.files.push(opened);
    this.findOpenFunctions();
    return opened;
  }

  /**
   * The file that a descriptor of a process means, by its inode; null where it is none of ours or
   * not open.
   */
  identify(tid: number, fd: number): OpenFile | 'other' | null {
    const stat = statOf(`/proc/${tid}/fd/${fd}`);
    if (stat === null) return null;
    for (const file of this.files)
      if (file.backing.inode === stat.ino && file.backing.device === stat.dev) return file;
    return 'other';
  }

  /** Releases every file that nobody refers to any more, oldest first. */
  reap(): void {
    this.suspect = false;
    for (let index = 0; index < this.files.length; ) {
      const opened = this.files[index]!;
      setLock(F_WRLCK, opened.lock);
      must('F_OFD_GETLK', fcntl(opened.backing.fd, F_OFD_GETLK, flock.address));
      if (flockShorts[0] !== F_UNLCK) {
        index++;
        continue;
      }
      this.files.splice(index, 1);
      opened.file.release();
      if (opened.file.kind !== 'device') close(opened.backing.fd);
      this.findOpenFunctions();
    }
  }

  private findOpenFunctions(): void {
    const functions = new Set<PciFunction>();
    for (const { file } of this.files) {
      const pciFunction = functionOf(file);
      if (pciFunction !== null) functions.add(pciFunction);
    }
    this.openFunctions.splice(0, this.openFunctions.length, ...functions);
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

function setLock(type: number, start: number): void {
  flockWords.fill(0);
  flockShorts[0] = type;
  flockWords[2] = start;
  flockWords[4] = 1;
}
