/**
 * The path that a call names, and what of the shadow it means; answers in bytes.
 *
 * Paths are handled as bytes, in strings of one character each (latin1). A program could change the
 * string after it was read; then it sees its host's file and not the shadow's, which harms nobody.
 */

import { readlinkSync } from 'node:fs';
import { Errno, VfioError } from '../../abi/errno.js';
import { AT_FDCWD } from '../../abi/linux.js';
import { IovecArray } from '../../mm/process/iovec.js';
import { allocateNative } from '../../mm/process/libc.js';
import { copyString } from '../../mm/process/remote-memory.js';
import { processVmReadv, processVmWritev } from '../../mm/process/remote-transfer.js';
import type { ShadowTree } from '../machine/shadow.js';
import type { Found } from '../machine/shadow-node.js';
import type { Listener } from '../seccomp/listener.js';
import type { CallContext } from './context.js';

export const PATH_MAX = 4096;

const SLASH = 0x2f;
const PROC_LINK = /^\/proc\/(self|thread-self|\d+)\/(cwd|fd\/\d+)$/;

/** What is read and answered, and behind PATH_MAX a path. */
export const scratch = allocateNative(2 * PATH_MAX);
export const scratchView = new DataView(scratch.bytes.buffer);
const local = new IovecArray(1);
const remote = new IovecArray(1);

export class PathArguments {
  private readonly call: Listener;

  constructor(
    private readonly context: Pick<CallContext, 'call' | 'unreadable'>,
    private readonly tree: ShadowTree,
  ) {
    this.call = context.call;
  }

  /** The string that argument n points to; null: too long, or nowhere. */
  string(n: number): string | null {
    const { tid } = this.call;
    const text = copyString(tid, this.call.argument(n), PATH_MAX);
    if (text === null) this.context.unreadable.suspect(tid);
    return text;
  }

  /** What of the shadow the call means by its argument, or null where it means another file. */
  find(directory: number, pathArgument: number, follow: boolean): Found | null {
    return this.findNamed(directory, this.string(pathArgument), follow);
  }

  /** Throws ENOTDIR for a file whose name ends in a slash. */
  findNamed(directory: number, path: string | null, follow: boolean): Found | null {
    if (path === null || path === '') return null;
    const isFolder = path.charCodeAt(path.length - 1) === SLASH;
    const found =
      path.charCodeAt(0) === SLASH
        ? this.findAbsolute(path, follow)
        : this.findRelative(directory, path, follow);
    if (isFolder && found !== null && !['directory', 'outside'].includes(found.node.kind))
      throw new VfioError(Errno.ENOTDIR);
    return found;
  }

  private findAbsolute(path: string, follow: boolean): Found | null {
    return this.tree.mayName(path) ? this.tree.resolve(path, follow) : null;
  }

  private findRelative(directory: number, path: string, follow: boolean): Found | null {
    if (!this.tree.mayNameFrom(path)) return null;
    const host = this.hostDirectory(directory);
    if (host === null) return null;
    const ours = this.tree.program(host);
    if (ours !== null) return this.tree.resolve(`${ours}/${path}`, follow, true);
    return this.findAbsolute(`${host}/${path}`, follow);
  }

  /** Where a directory of the caller lies on the host; null: it is none. */
  private hostDirectory(directory: number): string | null {
    return this.processLink(directory === AT_FDCWD ? 'cwd' : `fd/${directory}`);
  }

  /** The path in the program's eyes of a shadow's directory that it has open, else null. */
  ownDirectory(directory: number): string | null {
    const host = this.hostDirectory(directory);
    return host === null ? null : this.tree.program(host);
  }

  /** The same of what a link in /proc leads to. */
  ownProcLink(path: string): string | null {
    const match = PROC_LINK.exec(path);
    if (match === null) return null;
    const host = this.processLink(match[2]!, /\d/.test(match[1]!) ? match[1] : undefined);
    return host === null ? null : this.tree.program(host);
  }

  private processLink(name: string, pid: string | number = this.call.tid): string | null {
    try {
      return readlinkSync(`/proc/${pid}/${name}`, 'latin1');
    } catch {
      return null;
    }
  }

  /** Runs a call of the engine's on the host's name of a path. */
  onHost(path: string, call: (name: number) => number): number {
    const bytes = Buffer.from(`${this.hostPath(path)}\0`, 'latin1');
    if (bytes.length > PATH_MAX) throw new VfioError(Errno.ENAMETOOLONG);
    scratch.bytes.set(bytes, PATH_MAX);
    return call(scratch.address + PATH_MAX);
  }

  /** Throws VfioError where what stands for a node cannot be made: mostly a disk that is full. */
  private hostPath(path: string): string {
    try {
      return this.tree.host(path);
    } catch (error) {
      const { errno } = error as NodeJS.ErrnoException;
      if (errno === undefined) throw error;
      throw new VfioError(-errno);
    }
  }

  /** Copies scratch bytes to the program and answers its call, with EFAULT where that cannot be. */
  answerBytes(address: number, length: number, value: number): void {
    pointAt(address, length);
    const { call } = this;
    const written = processVmWritev(call.tid, local.address, 1, remote.address, 1);
    if (written === length) call.respond(value);
    else throw new VfioError(Errno.EFAULT);
  }

  /** Reads bytes of the program into the scratch memory. */
  readBytes(address: number, length: number): boolean {
    pointAt(address, length);
    return processVmReadv(this.call.tid, local.address, 1, remote.address, 1) === length;
  }
}

/** Makes both vectors mean as many bytes: the scratch memory's first, and the program's. */
function pointAt(address: number, length: number): void {
  local.count = remote.count = 0;
  local.push(scratch.address, length);
  remote.push(address, length);
}
