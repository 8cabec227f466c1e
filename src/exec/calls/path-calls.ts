/**
 * System calls that name a path: those that name our devices are answered from the shadow tree, all
 * others go on.
 *
 * Paths are handled as bytes, in strings of one character each (latin1). A program could change the
 * string after we looked; then it sees its host's file instead of ours, which harms nobody.
 */
import { readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Errno, VfioError } from '../../abi/errno.js';
import { IovecArray } from '../../mm/process/iovec.js';
import {
  allocateNative,
  close,
  errno,
  memfdCreate,
  O_CLOEXEC,
  O_RDONLY,
  open,
  syscall,
} from '../../mm/process/libc.js';
import { copyString } from '../../mm/process/remote-memory.js';
import { processVmReadv, processVmWritev } from '../../mm/process/remote-transfer.js';
import { type DeviceNode, encodeDeviceNumber } from '../machine/device-node.js';
import type { ShadowTree } from '../machine/shadow.js';
import type { ProcFiles } from '../process/proc-files.js';
import type { CallContext, Handlers } from './context.js';

const PATH_MAX = 4096;
const MFD_CLOEXEC = 1;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const O_ACCMODE = 3;
const STATX_BYTES = 256;
const S_IFCHR_RW = 0o020666;

/** Who opens these may have to bring pages of the program's memory. */
const bringsPages: ReadonlySet<string> = new Set(['/dev/fuse', '/dev/userfaultfd']);

type Found = NonNullable<ReturnType<ShadowTree['resolve']>>;

/**
 * Opens a node for the calling program and answers its call, or throws VfioError. `path` as the
 * program wrote it.
 */
export type OpenNode = (node: DeviceNode, closeOnExec: boolean, path: string) => void;

const scratch = allocateNative(2 * PATH_MAX);
const scratchView = new DataView(scratch.bytes.buffer);
const local = new IovecArray(1);
const remote = new IovecArray(1);

export class PathCalls {
  readonly handlers: Handlers;

  constructor(
    private readonly context: CallContext,
    private readonly tree: ShadowTree,
    private readonly openNode: OpenNode,
    private readonly procFiles: ProcFiles,
    /**
     * Makes a pipe for addresses of devices that are to be taken from VFIO, and returns its writing
     * end.
     */
    private readonly openUnbind: () => number,
  ) {
    const { call } = context;
    const follows = (n: number): boolean => (call.int(n) & AT_SYMLINK_NOFOLLOW) === 0;
    this.handlers = {
      open: () => this.open(AT_FDCWD, 0, call.int(1)),
      openat: () => this.open(call.int(0), 1, call.int(2)),
      openat2: () => this.openat2(),
      stat: () => this.stat(AT_FDCWD, 0, call.argument(1), true),
      lstat: () => this.stat(AT_FDCWD, 0, call.argument(1), false),
      newfstatat: () => this.stat(call.int(0), 1, call.argument(2), follows(3)),
      statx: () => this.statx(follows(2)),
      access: () => this.access(AT_FDCWD, 0, call.int(1)),
      faccessat: () => this.access(call.int(0), 1, call.int(2)),
      faccessat2: () => this.access(call.int(0), 1, call.int(2)),
      readlink: () => this.readlink(AT_FDCWD, 0, call.argument(1), call.int(2)),
      readlinkat: () => this.readlink(call.int(0), 1, call.argument(2), call.int(3)),
      getxattr: () => this.noAttribute(true),
      lgetxattr: () => this.noAttribute(false),
      listxattr: () => this.noAttributes(true),
      llistxattr: () => this.noAttributes(false),
      mkdir: () => this.refuseOurs(AT_FDCWD, 0, Errno.EEXIST),
      mkdirat: () => this.refuseOurs(call.int(0), 1, Errno.EEXIST),
      rmdir: () => this.refuseOurs(AT_FDCWD, 0, Errno.EPERM),
      unlink: () => this.refuseOurs(AT_FDCWD, 0, Errno.EPERM),
      unlinkat: () => this.refuseOurs(call.int(0), 1, Errno.EPERM),
      chmod: () => this.refuseOurs(AT_FDCWD, 0, Errno.EPERM),
      fchmodat: () => this.refuseOurs(call.int(0), 1, Errno.EPERM),
    };
  }

  private open(directory: number, path: number, flags: number): void {
    const { nr, openFlags } = this.context.architecture;
    const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_TRUNC, O_WRONLY } = openFlags;
    const closeOnExec = (flags & O_CLOEXEC) !== 0;
    const name = this.path(path);
    const status = name === null ? null : this.procFiles.status(name, this.context.call.tid);
    if (status !== null) return this.answerWithText(status, closeOnExec);
    if (name !== null && bringsPages.has(name)) this.context.pagesMayWait();
    const found = this.findNamed(directory, name, (flags & O_NOFOLLOW) === 0);
    if (found === null) return this.context.call.proceed();
    if ((flags & (O_CREAT | O_EXCL)) === (O_CREAT | O_EXCL)) throw new VfioError(Errno.EEXIST);
    if (found.node.kind === 'device' && (flags & (O_PATH | O_DIRECTORY)) === 0) {
      this.openNode(found.node.device, closeOnExec, name!);
      return;
    }
    if (found.node.kind === 'unbind' && (flags & O_ACCMODE) === O_WRONLY)
      return this.answerWithOpened(this.openUnbind(), closeOnExec);
    if ((flags & (O_ACCMODE | O_TRUNC)) !== 0)
      throw new VfioError(found.node.kind === 'directory' ? Errno.EISDIR : Errno.EACCES);
    const fd = this.onHost(found.path, (host) =>
      syscall(nr.openat, AT_FDCWD, host, (flags & ~O_PATH) | O_CLOEXEC, 0, 0, 0),
    );
    this.answerWithOpened(fd, closeOnExec);
  }

  /** Answers an open with a file that has this text and begins at its start. */
  private answerWithText(text: string, closeOnExec: boolean): void {
    const fd = memfdCreate('status', MFD_CLOEXEC);
    if (fd < 0) throw new VfioError(Errno.EMFILE);
    writeFileSync(fd, text);
    const fromStart = open(`/proc/self/fd/${fd}`, O_RDONLY | O_CLOEXEC, 0);
    close(fd);
    this.answerWithOpened(fromStart, closeOnExec);
  }

  /**
   * Answers an open with a file of ours, which is closed here; a negative number is a failed open.
   */
  private answerWithOpened(fd: number, closeOnExec: boolean): void {
    if (fd < 0) throw new VfioError(errno());
    const made = this.context.call.answerWithFile(fd, -1, closeOnExec);
    close(fd);
    if (made < 0) throw new VfioError(-made);
  }

  private openat2(): void {
    const { call } = this.context;
    // struct open_how: the low half of flags holds all that concerns us.
    if (!readBytes(call.tid, call.argument(2), 8)) return call.proceed();
    this.open(call.int(0), 1, scratchView.getInt32(0, true));
  }

  private stat(directory: number, path: number, buffer: number, follow: boolean): void {
    const found = this.findNamed(directory, this.path(path), follow, true);
    if (found === null) return this.context.call.proceed();
    const flags = followFlag(found, follow);
    const { nr, stat } = this.context.architecture;
    const result = this.onHost(found.path, (name) =>
      syscall(nr.newfstatat, AT_FDCWD, name, scratch.address, flags, 0, 0),
    );
    if (result < 0) throw new VfioError(errno());
    if (found.node.kind === 'device') {
      scratchView.setUint32(stat.mode, S_IFCHR_RW, true);
      scratchView.setUint32(stat.rdev, encodeDeviceNumber(found.node.device), true);
    }
    this.answerBytes(buffer, stat.bytes, 0);
  }

  private statx(follow: boolean): void {
    const { call } = this.context;
    const found = this.findNamed(call.int(0), this.path(1), follow, true);
    if (found === null) return call.proceed();
    const flags = followFlag(found, follow);
    const result = this.onHost(found.path, (name) =>
      syscall(
        this.context.architecture.nr.statx,
        AT_FDCWD,
        name,
        flags,
        call.uint(3),
        scratch.address,
        0,
      ),
    );
    if (result < 0) throw new VfioError(errno());
    if (found.node.kind === 'device') {
      scratchView.setUint16(28, S_IFCHR_RW, true);
      const { major, minor } = found.node.device;
      scratchView.setUint32(128, major, true);
      scratchView.setUint32(132, minor, true);
    }
    this.answerBytes(call.argument(4), STATX_BYTES, 0);
  }

  private access(directory: number, path: number, mode: number): void {
    const found = this.find(directory, path, true);
    if (found === null) return this.context.call.proceed();
    const W_OK = 2;
    if (found.node.kind === 'file' && (mode & W_OK) !== 0) throw new VfioError(Errno.EACCES);
    this.context.call.respond(0);
  }

  /** The shadow cannot be changed, and no folder be made in its place on the host. */
  private refuseOurs(directory: number, path: number, error: number): void {
    if (this.find(directory, path, false) !== null) throw new VfioError(error);
    this.context.call.proceed();
  }

  private noAttribute(follow: boolean): void {
    if (this.find(AT_FDCWD, 0, follow) === null) this.context.call.proceed();
    else throw new VfioError(Errno.ENODATA);
  }

  private noAttributes(follow: boolean): void {
    if (this.find(AT_FDCWD, 0, follow) === null) this.context.call.proceed();
    else this.context.call.respond(0);
  }

  private readlink(directory: number, path: number, buffer: number, size: number): void {
    const name = this.path(path);
    let target = name === null ? null : this.procFiles.link(name, this.context.call.tid);
    if (target === null) {
      const found = this.findNamed(directory, name, false);
      if (found === null) return this.context.call.proceed();
      if (found.node.kind !== 'link') throw new VfioError(Errno.EINVAL);
      target = found.node.target;
    }
    if (size <= 0) throw new VfioError(Errno.EINVAL);
    const bytes = Buffer.from(target, 'latin1').subarray(0, size);
    scratch.bytes.set(bytes);
    this.answerBytes(buffer, bytes.length, bytes.length);
  }

  /** The shadow's node that the call means, or null where it means another file. */
  private find(directory: number, pathArgument: number, follow: boolean): Found | null {
    return this.findNamed(directory, this.path(pathArgument), follow);
  }

  private path(pathArgument: number): string | null {
    return copyString(this.context.call.tid, this.context.call.argument(pathArgument), PATH_MAX);
  }

  /**
   * `outside`: also a file of the host behind a directory of ours, which only `stat` may look at.
   */
  private findNamed(
    directory: number,
    path: string | null,
    follow: boolean,
    outside = false,
  ): Found | null {
    const { call } = this.context;
    if (path === null || path === '') return null;
    if (path.charCodeAt(0) === 0x2f) {
      if (!this.tree.mayName(path)) return null;
      const isFolder = path.endsWith('/');
      const found = this.tree.resolve(path, follow || isFolder);
      if (isFolder && (found?.node.kind === 'device' || found?.node.kind === 'file'))
        throw new VfioError(Errno.ENOTDIR);
      return found?.node.kind === 'outside' && !outside ? null : found;
    }
    // A relative path means ours only below a directory of ours, and there only a device file needs
    // us.
    if (!this.tree.mayNameDevice(path)) return null;
    try {
      const base = readlinkSync(
        directory === AT_FDCWD ? `/proc/${call.tid}/cwd` : `/proc/${call.tid}/fd/${directory}`,
      );
      const found = this.tree.resolve(join(this.tree.program(base), path), follow);
      return found?.node.kind === 'device' ? found : null;
    } catch {
      return null;
    }
  }

  /**
   * Runs a call of ours on the host's name of a shadow path, which is put behind the scratch bytes.
   */
  private onHost(path: string, call: (name: number) => number): number {
    const bytes = Buffer.from(`${this.tree.host(path)}\0`, 'latin1');
    if (bytes.length > PATH_MAX) throw new VfioError(Errno.ENAMETOOLONG);
    scratch.bytes.set(bytes, PATH_MAX);
    return call(scratch.address + PATH_MAX);
  }

  /** Copies scratch bytes to the program and answers its call, with EFAULT where that cannot be. */
  private answerBytes(address: number, length: number, value: number): void {
    local.count = remote.count = 0;
    local.push(scratch.address, length);
    remote.push(address, length);
    const { call } = this.context;
    const written = processVmWritev(call.tid, local.address, 1, remote.address, 1);
    if (written === length) call.respond(value);
    else throw new VfioError(Errno.EFAULT);
  }
}

/**
 * A link of ours has been followed as far as it should be; the host's own is followed by the host.
 */
function followFlag(found: Found, follow: boolean): number {
  return found.node.kind === 'outside' && follow ? 0 : AT_SYMLINK_NOFOLLOW;
}

/** Reads bytes of the program into the scratch memory. */
function readBytes(tid: number, address: number, length: number): boolean {
  local.count = remote.count = 0;
  local.push(scratch.address, length);
  remote.push(address, length);
  return processVmReadv(tid, local.address, 1, remote.address, 1) === length;
}
