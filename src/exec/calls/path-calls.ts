/**
 * System calls that name a path: those that name devices of the run are answered from the shadow
 * tree, all others go on.
 */

import { statSync, writeFileSync } from 'node:fs';
import { Errno, VfioError } from '../../abi/errno.js';
import { AT_FDCWD, MFD_CLOEXEC, O_CLOEXEC, O_RDONLY } from '../../abi/linux.js';
import { close, errno, memfdCreate, open, syscall } from '../../mm/process/libc.js';
import type { DeviceNode } from '../machine/device-node.js';
import { type Found, permissions } from '../machine/shadow-node.js';
import type { ProcFiles } from '../process/proc-files.js';
import type { CallContext, Handlers } from './context.js';
import { PATH_MAX, type PathArguments, scratch, scratchView } from './path-arguments.js';

const O_ACCMODE = 3;
const READABLE = 0o444;

/** A program that opens these may itself have to bring pages of its memory. */
const bringsPages: ReadonlySet<string> = new Set(['/dev/fuse', '/dev/userfaultfd']);

/**
 * Opens a node for the calling program and answers its call, or throws VfioError. `name` as the
 * program wrote it.
 */
export type OpenNode = (
  device: DeviceNode,
  found: Found,
  closeOnExec: boolean,
  name: string,
) => void;

export class PathCalls {
  readonly handlers: Handlers;

  constructor(
    private readonly context: CallContext,
    private readonly paths: PathArguments,
    private readonly openNode: OpenNode,
    private readonly procFiles: ProcFiles,
    /**
     * Makes a pipe for addresses of devices that are to be taken from VFIO, and returns its writing
     * end.
     */
    private readonly openUnbind: () => number,
  ) {
    const { call } = context;
    this.handlers = {
      open: () => this.open(AT_FDCWD, 0, call.int(1)),
      openat: () => this.open(call.int(0), 1, call.int(2)),
      openat2: () => this.openat2(),
      access: () => this.access(AT_FDCWD, 0, call.int(1)),
      faccessat: () => this.access(call.int(0), 1, call.int(2)),
      faccessat2: () => this.access(call.int(0), 1, call.int(2)),
      readlink: () => this.readlink(AT_FDCWD, 0, call.argument(1), call.int(2)),
      readlinkat: () => this.readlink(call.int(0), 1, call.argument(2), call.int(3)),
      getxattr: () => this.noAttribute(true),
      lgetxattr: () => this.noAttribute(false),
      listxattr: () => this.noAttributes(true),
      llistxattr: () => this.noAttributes(false),
      mkdir: () => this.refuseShadowed(AT_FDCWD, 0, Errno.EEXIST),
      mkdirat: () => this.refuseShadowed(call.int(0), 1, Errno.EEXIST),
      rmdir: () => this.refuseShadowed(AT_FDCWD, 0, Errno.EPERM),
      unlink: () => this.refuseShadowed(AT_FDCWD, 0, Errno.EPERM),
      unlinkat: () => this.refuseShadowed(call.int(0), 1, Errno.EPERM),
      chmod: () => this.refuseShadowed(AT_FDCWD, 0, Errno.EPERM),
      fchmodat: () => this.refuseShadowed(call.int(0), 1, Errno.EPERM),
    };
  }

  private open(directory: number, path: number, flags: number): void {
    const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_TRUNC, O_WRONLY } =
      this.context.architecture.openFlags;
    const { call } = this.context;
    const closeOnExec = (flags & O_CLOEXEC) !== 0;
    const name = this.paths.string(path);
    const status = name === null ? null : this.procFiles.status(name, call.tid);
    if (status !== null) return this.answerWithText(status, closeOnExec);
    if (name !== null && bringsPages.has(name)) this.context.pagesMayWait();
    const found = this.paths.findNamed(directory, name, (flags & O_NOFOLLOW) === 0);
    if (found === null) return call.proceed();
    const { node } = found;
    if (node.kind === 'outside') return this.openOutside(found.path, flags, closeOnExec);
    // Descriptors of links themselves cannot be handed out. Below a directory of the shadow the
    // kernel finds the link.
    if (node.kind === 'link' && (flags & O_PATH) !== 0 && name!.charCodeAt(0) !== 0x2f)
      return call.proceed();
    if ((flags & (O_CREAT | O_EXCL)) === (O_CREAT | O_EXCL)) throw new VfioError(Errno.EEXIST);
    if ((flags & O_DIRECTORY) !== 0 && !['directory', 'link'].includes(node.kind))
      throw new VfioError(Errno.ENOTDIR);
    const access = flags & O_ACCMODE;
    if (node.kind === 'device' && (flags & O_PATH) === 0)
      return this.openNode(node.device, found, closeOnExec, name!);
    // A stand-in for a descriptor of the node itself: fstat(2) sees a character device.
    if (node.kind === 'device') return this.openOnHost('/dev/null', O_RDONLY, closeOnExec);
    if (node.kind === 'unbind' && access === O_WRONLY)
      return this.answerWithOpened(this.openUnbind(), closeOnExec);
    if (access !== O_RDONLY || (flags & O_TRUNC) !== 0)
      throw new VfioError(node.kind === 'directory' ? Errno.EISDIR : Errno.EACCES);
    if ((flags & O_PATH) === 0) {
      // Root is no exception in sysfs (kernel: KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK).
      if (((permissions(node) ?? READABLE) & READABLE) === 0) throw new VfioError(Errno.EACCES);
      if (node.kind === 'file' && typeof node.content === 'number')
        throw new VfioError(node.content);
    }
    this.openOnHost(found.path, flags, closeOnExec);
  }

  /**
   * A file of the host that the kernel cannot reach. It is opened with the engine's rights, so only
   * for a caller with the same, and only what cannot make the engine wait.
   */
  private openOutside(path: string, flags: number, closeOnExec: boolean): void {
    const { O_CREAT } = this.context.architecture.openFlags;
    try {
      const stats = statSync(path);
      const isSame = statSync(`/proc/${this.context.call.tid}`).uid === process.geteuid!();
      if (!isSame || (flags & O_CREAT) !== 0 || !(stats.isDirectory() || stats.isFile()))
        throw new VfioError(Errno.EACCES);
    } catch (error) {
      if (error instanceof VfioError) throw error;
      throw new VfioError(-(error as NodeJS.ErrnoException).errno!);
    }
    this.openOnHost(path, flags, closeOnExec);
  }

  private openOnHost(path: string, flags: number, closeOnExec: boolean): void {
    const { nr, openFlags } = this.context.architecture;
    const fd = this.paths.onHost(path, (host) =>
      syscall(nr.openat, AT_FDCWD, host, (flags & ~openFlags.O_PATH) | O_CLOEXEC, 0, 0, 0),
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
   * Answers an open with a file of the engine's, closed here; a negative number is a failed open.
   */
  private answerWithOpened(fd: number, closeOnExec: boolean): void {
    if (fd < 0) throw new VfioError(errno());
    const made = this.context.call.answerWithFile(fd, -1, closeOnExec);
    close(fd);
    if (made < 0) throw new VfioError(-made);
  }

  private openat2(): void {
    const { call } = this.context;
    // struct open_how: the low half of flags holds all that matters here.
    if (!this.paths.readBytes(call.argument(2), 8)) return call.proceed();
    this.open(call.int(0), 1, scratchView.getInt32(0, true));
  }

  private access(directory: number, path: number, mode: number): void {
    const found = this.paths.find(directory, path, true);
    if (found === null) return this.context.call.proceed();
    if (found.node.kind === 'outside') {
      const { nr } = this.context.architecture;
      const result = this.paths.onHost(found.path, (name) =>
        syscall(nr.faccessat, AT_FDCWD, name, mode, 0, 0, 0),
      );
      if (result < 0) throw new VfioError(errno());
    } else if ((mode & ~allowed(found)) !== 0) throw new VfioError(Errno.EACCES);
    this.context.call.respond(0);
  }

  /** The shadow cannot be changed, nor can a directory be made in its place on the host. */
  private refuseShadowed(directory: number, path: number, error: number): void {
    const found = this.paths.find(directory, path, false);
    if (found === null) this.context.call.proceed();
    else throw new VfioError(found.node.kind === 'outside' ? Errno.EACCES : error);
  }

  private noAttribute(follow: boolean): void {
    if (this.paths.find(AT_FDCWD, 0, follow) === null) this.context.call.proceed();
    else throw new VfioError(Errno.ENODATA);
  }

  private noAttributes(follow: boolean): void {
    if (this.paths.find(AT_FDCWD, 0, follow) === null) this.context.call.proceed();
    else this.context.call.respond(0);
  }

  private readlink(directory: number, path: number, buffer: number, size: number): void {
    const name = this.paths.string(path);
    const length = this.linkTarget(directory, name);
    if (length === null) return this.context.call.proceed();
    if (size <= 0) throw new VfioError(Errno.EINVAL);
    const cut = Math.min(length, size);
    this.paths.answerBytes(buffer, cut, cut);
  }

  /** Puts where a link leads into the scratch memory; returns its length, null: the host's. */
  private linkTarget(directory: number, name: string | null): number | null {
    const { tid } = this.context.call;
    if (name?.startsWith('/proc/')) {
      const target = this.procFiles.link(name, tid) ?? this.paths.ownProcLink(name);
      if (target !== null) return putText(target);
    }
    const found = this.paths.findNamed(directory, name, false);
    if (found === null) return null;
    if (found.node.kind === 'link') return putText(found.node.target);
    if (found.node.kind !== 'outside') throw new VfioError(Errno.EINVAL);
    const { nr } = this.context.architecture;
    const length = this.paths.onHost(found.path, (host) =>
      syscall(nr.readlinkat, AT_FDCWD, host, scratch.address, PATH_MAX, 0, 0),
    );
    if (length < 0) throw new VfioError(errno());
    return length;
  }
}

/** Returns its length. */
function putText(text: string): number {
  const bytes = Buffer.from(text, 'latin1');
  scratch.bytes.set(bytes);
  return bytes.length;
}

/** What access(2) allows on a node: bits of 4 read, 2 write, 1 execute. */
function allowed({ node }: Found): number {
  const [READ, WRITE, EXECUTE] = [4, 2, 1];
  if (node.kind === 'unbind') return WRITE;
  if (node.kind === 'file') return (node.mode & READABLE) === 0 ? 0 : READ;
  return READ | WRITE | (node.kind === 'device' ? 0 : EXECUTE);
}
