/** stat(2) and its like, of paths of the shadow and of descriptors that were opened by them. */
import { VfioError } from '../../abi/errno.js';
import { AT_FDCWD } from '../../abi/linux.js';
import { putLong } from '../../abi/long.js';
import { errno, syscall } from '../../mm/process/libc.js';
import { encodeDeviceNumber } from '../machine/device-node.js';
import { appearance, type Found } from '../machine/shadow-node.js';
import type { CallContext, Handlers } from './context.js';
import { type PathArguments, scratch, scratchView } from './path-arguments.js';

const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const STATX_BYTES = 256;
/** struct statx (linux/stat.h), which is the same on all architectures. */
const statx = { owner: 20, mode: 28, size: 40, blocks: 48, major: 128, minor: 132 } as const;

export class StatCalls {
  readonly handlers: Handlers;

  constructor(
    private readonly context: CallContext,
    private readonly paths: PathArguments,
  ) {
    const { call } = context;
    this.handlers = {
      stat: () => this.stat(paths.find(AT_FDCWD, 0, true), call.argument(1), true),
      lstat: () => this.stat(paths.find(AT_FDCWD, 0, false), call.argument(1), false),
      fstat: () => this.stat(this.nodeOf(call.int(0)), call.argument(1), false),
      newfstatat: () => this.stat(this.find(call.int(3)), call.argument(2), follows(call.int(3))),
      statx: () => this.statx(this.find(call.int(2)), follows(call.int(2))),
    };
  }

  /** What a call means by its first two arguments; null: the host's. */
  private find(flags: number): Found | null {
    const { call } = this.context;
    const fd = call.int(0);
    // Since Linux 6.11 no path at all is an empty one.
    const isEmpty =
      (flags & AT_EMPTY_PATH) !== 0 && (call.argument(1) === 0 || this.paths.string(1) === '');
    return isEmpty ? this.nodeOf(fd) : this.paths.find(fd, 1, follows(flags));
  }

  /** The node by which a descriptor of the caller was opened; null: the kernel knows it. */
  private nodeOf(fd: number): Found | null {
    const { caller, descriptors } = this.context;
    if (!descriptors.inWindow(fd)) return null;
    const opened = descriptors.lookUp(caller.enter(), fd);
    return opened === null || opened === 'other' ? null : opened.node;
  }

  private stat(found: Found | null, buffer: number, follow: boolean): void {
    if (found === null) return this.context.call.proceed();
    const { nr, stat } = this.context.architecture;
    const flags = followFlag(found, follow);
    const result = this.paths.onHost(found.path, (name) =>
      syscall(nr.newfstatat, AT_FDCWD, name, scratch.address, flags, 0, 0),
    );
    if (result < 0) throw new VfioError(errno());
    const shown = appearance(found);
    if (shown !== null) {
      if (shown.mode !== null) scratchView.setUint32(stat.mode, shown.mode, true);
      if (shown.ofRoot) putLong(scratchView, stat.owner, 0); // and its group
      putLong(scratchView, stat.size, shown.size);
      putLong(scratchView, stat.blocks, 0);
      if (shown.device !== null)
        scratchView.setUint32(stat.rdev, encodeDeviceNumber(shown.device), true);
    }
    this.paths.answerBytes(buffer, stat.bytes, 0);
  }

  private statx(found: Found | null, follow: boolean): void {
    const { architecture, call } = this.context;
    if (found === null) return call.proceed();
    const flags = followFlag(found, follow);
    const result = this.paths.onHost(found.path, (name) =>
      syscall(architecture.nr.statx, AT_FDCWD, name, flags, call.uint(3), scratch.address, 0),
    );
    if (result < 0) throw new VfioError(errno());
    const shown = appearance(found);
    if (shown !== null) {
      if (shown.mode !== null) scratchView.setUint16(statx.mode, shown.mode, true);
      if (shown.ofRoot) putLong(scratchView, statx.owner, 0); // and its group
      putLong(scratchView, statx.size, shown.size);
      putLong(scratchView, statx.blocks, 0);
      if (shown.device !== null) {
        scratchView.setUint32(statx.major, shown.device.major, true);
        scratchView.setUint32(statx.minor, shown.device.minor, true);
      }
    }
    this.paths.answerBytes(call.argument(4), STATX_BYTES, 0);
  }
}

function follows(flags: number): boolean {
  return (flags & AT_SYMLINK_NOFOLLOW) === 0;
}

/**
 * A link of the shadow has been followed as far as it should; the host's own is followed by the
 * host.
 */
function followFlag({ node }: Found, follow: boolean): number {
  return node.kind === 'outside' && follow ? 0 : AT_SYMLINK_NOFOLLOW;
}
