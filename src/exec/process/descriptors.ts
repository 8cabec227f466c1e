/**
 * Descriptor numbers of the program's processes: which VFIO file a number means, which numbers are
 * free, and new ones.
 */
import { Errno, VfioError } from '../../abi/errno.js';
import type { VfioFile } from '../../file/file.js';
import { close, SystemError } from '../../mm/process/libc.js';
import type { DeviceNodes } from '../machine/device-node.js';
import type { Found } from '../machine/shadow-node.js';
import type { DescriptorWindow } from '../seccomp/filter.js';
import type { Listener } from '../seccomp/listener.js';
import { type Backing, makeBacking, makeStreamBacking } from './backing.js';
import type { OpenFile, OpenFiles } from './open-files.js';
import type { Process } from './process.js';

/** A VFIO file that a process is to get. */
export interface NewDescriptor {
  readonly file: VfioFile;
  readonly number: number;
  readonly closeOnExec: boolean;
  /** As `OpenFile.node`. */
  readonly node: Found | null;
}

export class Descriptors {
  constructor(
    private readonly call: Listener,
    readonly window: DescriptorWindow,
    private readonly files: OpenFiles,
    private readonly nodes: DeviceNodes,
  ) {}

  /**
   * What a descriptor of a process means: a VFIO file, another, or null where it is not open.
   */
  lookUp(process: Process, fd: number): OpenFile | 'other' | null {
    const known = process.known.get(fd);
    if (known !== undefined) return known;
    const found = this.files.identify(process.task, fd);
    if (found !== null && found !== 'other' && this.inWindow(fd) && !process.uncertain.has(fd))
      process.known.set(fd, found);
    return found;
  }

  inWindow(fd: number): boolean {
    return fd >= this.window.first && fd < this.window.end;
  }

  /**
   * The lowest number of the window, from `least` on, that the process does not use. Throws EMFILE.
   */
  freeNumber(process: Process, least: number): number {
    for (let fd = Math.max(least, this.window.first); fd < this.window.end; fd++) {
      if (process.known.has(fd) || process.reserved.has(fd)) continue;
      if (this.files.identify(process.task, fd) === null) return fd;
    }
    throw new VfioError(Errno.EMFILE);
  }

  /** The number means this file from now on. */
  remember(process: Process, fd: number, opened: OpenFile): void {
    process.uncertain.delete(fd);
    process.known.set(fd, opened);
  }

  /** The number is about to mean nothing, or something else. */
  forget(process: Process | null, fd: number): void {
    process?.known.delete(fd);
    process?.uncertain.add(fd);
  }

  /**
   * Puts a file into the process that makes the current call, and answers the call: with the
   * number, or with `result` where the number stands in a struct. Before Linux 5.19 a signal
   * between the two steps of the latter repeats the call, and the first descriptor stays. Where the
   * process can take no descriptor the file is released and the call still waits: throws EMFILE.
   */
  giveOut(
    process: Process,
    { file, number, closeOnExec, node }: NewDescriptor,
    result: number | null,
  ): void {
    const { call, nodes } = this;
    const pciFunction = nodes.functionOf(file);
    let backing: Backing | null = null;
    try {
      backing = pciFunction === null ? backingOf(file) : nodes.backing(pciFunction);
      const { fd, lock } = this.files.describe(backing);
      const made =
        result === null
          ? call.answerWithFile(fd, number, closeOnExec)
          : call.addFile(fd, number, closeOnExec);
      if (made >= 0) {
        const opened = this.files.add({ file, node, pciFunction, backing }, lock);
        this.remember(process, made, opened);
      }
      close(fd);
      if (made >= 0) {
        if (result !== null) call.respond(result);
        return;
      }
    } catch (error) {
      // The engine's descriptors are used up: an errno for the program, not the end of the run.
      if (!(error instanceof SystemError || error instanceof VfioError)) throw error;
    }
    if (backing !== null && pciFunction === null) close(backing.fd);
    file.release();
    throw new VfioError(Errno.EMFILE);
  }
}

/** A new inode for a file that is no device's. */
function backingOf(file: VfioFile): Backing {
  if (file.watchReadable === undefined) return makeBacking(file.name, 0);
  const { backing, show } = makeStreamBacking(file.isReadOnly === true);
  file.watchReadable(show);
  return backing;
}
