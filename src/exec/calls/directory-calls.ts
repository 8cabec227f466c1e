/** Calls that would tell that a directory of the shadow is temporary: getcwd, statfs, fstatfs. */

import { Errno, VfioError } from '../../abi/errno.js';
import { AT_FDCWD } from '../../abi/linux.js';
import { errno, syscall } from '../../mm/process/libc.js';
import type { CallContext, Handlers } from './context.js';
import { type PathArguments, scratch } from './path-arguments.js';

/** struct statfs, which is the same on 64-bit architectures. */
const STATFS_BYTES = 120;

export class DirectoryCalls {
  readonly handlers: Handlers;

  constructor(
    private readonly context: CallContext,
    private readonly paths: PathArguments,
  ) {
    const { call } = context;
    this.handlers = {
      getcwd: () => this.getcwd(),
      statfs: () => this.statfs(paths.find(AT_FDCWD, 0, true)?.path ?? null),
      fstatfs: () => this.statfs(paths.ownDirectory(call.int(0))),
    };
  }

  private getcwd(): void {
    const { call } = this.context;
    const path = this.paths.ownDirectory(AT_FDCWD);
    if (path === null) return call.proceed();
    const bytes = Buffer.from(`${path}\0`, 'latin1');
    if (call.argument(1) < bytes.length) throw new VfioError(Errno.ERANGE);
    scratch.bytes.set(bytes);
    this.paths.answerBytes(call.argument(0), bytes.length, bytes.length);
  }

  /** The file system that a path of the shadow would be on. */
  private statfs(path: string | null): void {
    const { architecture, call } = this.context;
    if (path === null) return call.proceed();
    const mount = /^\/\w+/.exec(path)?.[0] ?? '/';
    const result = this.paths.onHost(mount, (name) =>
      syscall(architecture.nr.statfs, name, scratch.address, 0, 0, 0, 0),
    );
    if (result < 0) throw new VfioError(errno());
    this.paths.answerBytes(call.argument(1), STATFS_BYTES, 0);
  }
}
