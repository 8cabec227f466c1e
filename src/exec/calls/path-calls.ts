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
  O_CREAT,
  O_RDONLY,
  open,
  processVmReadv,
  processVmWritev,
  syscall,
} from '../../mm/process/libc.js';
import { copyString } from '../../mm/process/remote-memory.js';
import type { Architecture } from '../arch/arch.js';
import type { ShadowTree } from '../machine/shadow.js';
import type { ProcFiles } from '../process/proc-files.js';
import type { Listener } from '../seccomp/listener.js';

const PATH_MAX = 4096;
const MFD_CLOEXEC = 1;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_NOFOLLOW = 0o400000;
const O_DIRECTORY = 0o200000;
const O_TRUNC = 0o1000;
const O_EXCL = 0o200;
const O_PATH = 0o10000000;
const STAT_BYTES = 144;
const STATX_BYTES = 256;
const S_IFCHR_RW = 0o020666;
const VFIO_MAJOR = 511;
const MISC_MAJOR = 10;
const VFIO_MINOR = 196;

type Found = NonNullable<ReturnType<ShadowTree['resolve']>>;

/**
 * Opens a VFIO file for the calling program and answers its call, or throws VfioError. `group`
 * null: the container. `path` as the program wrote it.
 */
export type OpenVfio = (group: number | null, closeOnExec: boolean, path: string) => void;

const scratch = allocateNative(2 * PATH_MAX);
const scratchView = new DataView(scratch.bytes.buffer);
const local = new IovecArray(1);
const remote = new IovecArray(1);

export class PathCalls {
  /** Handlers by system call number; each answers the current call, or throws VfioError. */
  readonly handlers: ReadonlyMap<number, () => void>;

  constructor(
    private readonly listener: Listener,
    private readonly architecture: Architecture,
    private readonly tree: ShadowTree,
    private readonly openVfio: OpenVfio,
    private readonly procFiles: ProcFiles,
    /**
     * Makes a pipe for addresses of devices that are to be taken from VFIO, and returns its writing
     * end.
     */
    private readonly openUnbind: () => number,
  ) {
    const { nr } = architecture;
    const call = listener;
    const follows = (n: number): boolean => (call.int(n) & AT_SYMLINK_NOFOLLOW) === 0;
    this.handlers = new Map([
      [nr.open, () => this.open(AT_FDCWD, 0, call.int(1))],
      [nr.openat, () => this.open(call.int(0), 1, call.int(2))],
      [nr.openat2, () => this.openat2()],
      [nr.stat, () => this.stat(AT_FDCWD, 0, call.argument(1), true)],
      [nr.lstat, () => this.stat(AT_FDCWD, 0, call.argument(1), false)],
      [nr.newfstatat, () => this.stat(call.int(0), 1, call.argument(2), follows(3))],
      [nr.statx, () => this.statx(follows(2))],
      [nr.access, () => this.access(AT_FDCWD, 0, call.int(1))],
      [nr.faccessat, () => this.access(call.int(0), 1, call.int(2))],
      [nr.faccessat2, () => this.access(call.int(0), 1, call.int(2))],
      [nr.readlink, () => this.readlink(AT_FDCWD, 0, call.argument(1), call.int(2))],
      [nr.getxattr, () => this.noAttribute(true)],
      [nr.lgetxattr, () => this.noAttribute(false)],
      [nr.listxattr, () => this.noAttributes(true)],
      [nr.llistxattr, () => this.noAttributes(false)],
      [nr.mkdir, () => this.refuseOurs(AT_FDCWD, 0, Errno.EEXIST)],
      [nr.mkdirat, () => this.refuseOurs(call.int(0), 1, Errno.EEXIST)],
      [nr.rmdir, () => this.refuseOurs(AT_FDCWD, 0, Errno.EPERM)],
      [nr.unlink, () => this.refuseOurs(AT_FDCWD, 0, Errno.EPERM)],
      [nr.unlinkat, () => this.refuseOurs(call.int(0), 1, Errno.EPERM)],
      [nr.chmod, () => this.refuseOurs(AT_FDCWD, 0, Errno.EPERM)],
      [nr.fchmodat, () => this.refuseOurs(call.int(0), 1, Errno.EPERM)],
      [nr.readlinkat, () => this.readlink(call.int(0), 1, call.argument(2), call.int(3))],
    ]);
  }

  private open(directory: number, path: number, flags: number): void {
    const closeOnExec = (flags & O_CLOEXEC) !== 0;
    const name = this.path(path);
    const status = name === null ? null : this.procFiles.status(name, this.listener.tid);
    if (status !== null) return this.answerWithText(status, closeOnExec);
    const found = this.findNamed(directory, name, (flags & O_NOFOLLOW) === 0);
    if (found === null) return this.listener.proceed();
    if ((flags & (O_CREAT | O_EXCL)) === (O_CREAT | O_EXCL)) throw new VfioError(Errno.EEXIST);
    if (found.node.kind === 'vfio' && (flags & (O_PATH | O_DIRECTORY)) === 0) {
      this.openVfio(found.node.group, closeOnExec, name!);
      return;
    }
    if (found.node.kind === 'unbind' && (flags & O_ACCMODE) === O_WRONLY)
      return this.answerWithOpened(this.openUnbind(), closeOnExec);
    if ((flags & (O_ACCMODE | O_TRUNC)) !== 0)
      throw new VfioError(found.node.kind === 'directory' ? Errno.EISDIR : Errno.EACCES);
    const fd = this.onHost(found.path, (host) =>
      syscall(this.architecture.nr.openat, AT_FDCWD, host, (flags & ~O_PATH) | O_CLOEXEC, 0, 0, 0),
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
    const made = this.listener.answerWithFile(fd, -1, closeOnExec);
    close(fd);
    if (made < 0) throw new VfioError(-made);
  }

  private openat2(): void {
    const { listener } = this;
    // struct open_how: the low half of flags holds all that concerns us.
    if (!readBytes(listener.tid, listener.argument(2), 8)) return listener.proceed();
    this.open(listener.int(0), 1, scratchView.getInt32(0, true));
  }

  private stat(directory: number, path: number, buffer: number, follow: boolean): void {
    const found = this.findNamed(directory, this.path(path), follow, true);
    if (found === null) return this.listener.proceed();
    const flags = followFlag(found, follow);
    const result = this.onHost(found.path, (name) =>
      syscall(this.architecture.nr.newfstatat, AT_FDCWD, name, scratch.address, flags, 0, 0),
    );
    if (result < 0) throw new VfioError(errno());
    if (found.node.kind === 'vfio') {
      scratchView.setUint32(24, S_IFCHR_RW, true);
      const [major, minor] = deviceNumber(found.node.group);
      scratchView.setUint32(40, (major << 8) | (minor & 0xff), true);
    }
    this.answerBytes(buffer, STAT_BYTES, 0);
  }

  private statx(follow: boolean): void {
    const { listener } = this;
    const found = this.findNamed(listener.int(0), this.path(1), follow, true);
    if (found === null) return listener.proceed();
    const flags = followFlag(found, follow);
    const result = this.onHost(found.path, (name) =>
      syscall(
        this.architecture.nr.statx,
        AT_FDCWD,
        name,
        flags,
        listener.uint(3),
        scratch.address,
        0,
      ),
    );
    if (result < 0) throw new VfioError(errno());
    if (found.node.kind === 'vfio') {
      scratchView.setUint16(28, S_IFCHR_RW, true);
      const [major, minor] = deviceNumber(found.node.group);
      scratchView.setUint32(128, major, true);
      scratchView.setUint32(132, minor, true);
    }
    this.answerBytes(listener.argument(4), STATX_BYTES, 0);
  }

  private access(directory: number, path: number, mode: number): void {
    const found = this.find(directory, path, true);
    if (found === null) return this.listener.proceed();
    const W_OK = 2;
    if (found.node.kind === 'file' && (mode & W_OK) !== 0) throw new VfioError(Errno.EACCES);
    this.listener.respond(0);
  }

  /** The shadow cannot be changed, and no folder be made in its place on the host. */
  private refuseOurs(directory: number, path: number, error: number): void {
    if (this.find(directory, path, false) !== null) throw new VfioError(error);
    this.listener.proceed();
  }

  private noAttribute(follow: boolean): void {
    if (this.find(AT_FDCWD, 0, follow) === null) this.listener.proceed();
    else throw new VfioError(Errno.ENODATA);
  }

  private noAttributes(follow: boolean): void {
    if (this.find(AT_FDCWD, 0, follow) === null) this.listener.proceed();
    else this.listener.respond(0);
  }

  private readlink(directory: number, path: number, buffer: number, size: number): void {
    const name = this.path(path);
    let target = name === null ? null : this.procFiles.link(name, this.listener.tid);
    if (target === null) {
      const found = this.findNamed(directory, name, false);
      if (found === null) return this.listener.proceed();
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
    return copyString(this.listener.tid, this.listener.argument(pathArgument), PATH_MAX);
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
    const { listener } = this;
    if (path === null || path === '') return null;
    if (path.charCodeAt(0) === 0x2f) {
      if (!path.includes('vfio') && !path.includes('/sys')) return null;
      const isFolder = path.endsWith('/');
      const found = this.tree.resolve(path, follow || isFolder);
      if (isFolder && (found?.node.kind === 'vfio' || found?.node.kind === 'file'))
        throw new VfioError(Errno.ENOTDIR);
      return found?.node.kind === 'outside' && !outside ? null : found;
    }
    // A relative path means ours only below a directory of ours, and there only a device file needs
    // us.
    if (!/(^|\/)(vfio|\d+)$/.test(path)) return null;
    try {
      const base = readlinkSync(
        directory === AT_FDCWD
          ? `/proc/${listener.tid}/cwd`
          : `/proc/${listener.tid}/fd/${directory}`,
      );
      const found = this.tree.resolve(join(this.tree.program(base), path), follow);
      return found?.node.kind === 'vfio' ? found : null;
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
    const { listener } = this;
    const written = processVmWritev(listener.tid, local.address, 1, remote.address, 1, 0);
    if (written === length) listener.respond(value);
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
  return processVmReadv(tid, local.address, 1, remote.address, 1, 0) === length;
}

/** Device number of /dev/vfio/vfio (misc, fixed) or of a group (a dynamic major). */
function deviceNumber(group: number | null): [major: number, minor: number] {
  return group === null ? [MISC_MAJOR, VFIO_MINOR] : [VFIO_MAJOR, group];
}
