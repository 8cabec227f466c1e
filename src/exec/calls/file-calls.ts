/** System calls on VFIO's files: opening, ioctl, read and write, mapping. */

import { Errno, VfioError } from '../../abi/errno.js';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE } from '../../abi/linux.js';
import { getLong } from '../../abi/long.js';
import type { MmapRequest, VfioFile } from '../../file/file.js';

import type { DeviceNode } from '../machine/device-node.js';
import type { Found } from '../machine/shadow-node.js';
import type { OpenFile } from '../process/open-files.js';
import { Uffdio } from '../seccomp/filter.js';
import { Later } from '../seccomp/later.js';
import type { Traps } from '../trap/traps.js';
import type { CallContext, Handlers } from './context.js';
import type { LockCalls } from './lock-calls.js';
import type { MemoryCalls } from './memory-calls.js';

const IOVEC_BYTES = 16;
const IOVEC_MAX = 1024;
const SIGN = 2 ** 31;

/** Requests that the kernel answers for any file: FIONCLEX, FIOCLEX, FIONBIO, FIOASYNC. */
const vfsRequests = new Set([0x5450, 0x5451, 0x5421, 0x5452]);

/** The widest register. */
const REGISTER_BYTES = 8;

type Direction = 'read' | 'write';

export class FileCalls {
  readonly handlers: Handlers;

  constructor(
    private readonly context: CallContext,
    private readonly memory: MemoryCalls,
    private readonly locks: LockCalls,
    /** Null: nothing that would have to trap can be mapped. */
    private readonly traps: Traps | null,
  ) {
    const { call } = context;
    this.handlers = {
      ioctl: () => this.ioctl(),
      read: () => this.transfer('read', -1),
      write: () => this.transfer('write', -1),
      pread64: () => this.transfer('read', this.positionArgument()),
      pwrite64: () => this.transfer('write', this.positionArgument()),
      readv: () => this.transferVector('read', -1),
      writev: () => this.transferVector('write', -1),
      preadv: () => this.transferVector('read', this.positionArgument()),
      pwritev: () => this.transferVector('write', this.positionArgument()),
      // -1 means the file's position to these two.
      preadv2: () => this.transferVector('read', call.offset(3)),
      pwritev2: () => this.transferVector('write', call.offset(3)),
      lseek: () => this.lseek(),
      mmap: () => this.mmap(),
    };
  }

  /** Answers the current call, an open of `path` that means the node. Throws VfioError. */
  open(node: DeviceNode, found: Found, closeOnExec: boolean, path: string): void {
    const { caller, descriptors, failed, files, log, nodes } = this.context;
    // A new container is behind nothing else.
    if (files.isBusy && node.kind !== 'container') throw new Later();
    const process = caller.enter();
    failed.kind = node.kind;
    log?.noteOpen(process.pid, node.kind, path);
    files.reap();
    const file = nodes.open(node);
    files.openedBy(process.pid);
    let number: number;
    try {
      number = descriptors.freeNumber(process, 0);
    } catch (error) {
      file.release();
      throw error;
    }
    descriptors.giveOut(process, { file, number, closeOnExec, node: found }, null);
  }

  private ioctl(): void {
    const { call, caller, files } = this.context;
    const request = call.uint(1);
    if (request === Uffdio.MOVE || request === Uffdio.WRITEPROTECT)
      this.memory.takeByUserfaultfd(request);
    const opened = this.enter(call.int(0));
    if (opened === null) return;
    if (vfsRequests.has(request)) return call.proceed();
    files.settle(call.tid);
    caller.answer(opened.file.ioctl(caller, request, call.argument(2)));
  }

  /** The offset of pread and its like, which may not be negative. */
  private positionArgument(): number {
    const position = this.context.call.offset(3);
    if (position < 0) throw new VfioError(Errno.EINVAL);
    return position;
  }

  /** read, write, pread, pwrite. `position` -1: the file's own, which then moves. */
  private transfer(direction: Direction, position: number): void {
    const { call, caller } = this.context;
    const opened = this.enter(call.int(0));
    if (opened === null) return;
    const at = placeOf(opened, position);
    // On a bus, writes to registers are posted: what the device does then is not waited for.
    if (direction === 'write' && opened.pciFunction !== null && call.argument(2) <= REGISTER_BYTES)
      call.post(call.argument(2));
    const moved = opened.file[direction](caller, call.argument(1), call.argument(2), at);
    if (position < 0) moveOn(opened, moved);
    call.respond(moved);
  }

  /** The same with vectors: one after the other, up to the first that fails or is short. */
  private transferVector(direction: Direction, position: number): void {
    const { call, caller } = this.context;
    const opened = this.enter(call.int(0));
    if (opened === null) return;
    const count = call.argument(2);
    if (count > IOVEC_MAX) throw new VfioError(Errno.EINVAL);
    const vectors = new Uint8Array(count * IOVEC_BYTES);
    if (!caller.mm.copyFrom(call.argument(1), vectors)) throw new VfioError(Errno.EFAULT);
    const words = new Uint32Array(vectors.buffer);
    for (let index = 0; index < count; index++)
      if (words[index * 4 + 3]! >= SIGN) throw new VfioError(Errno.EINVAL);
    const at = placeOf(opened, position);
    let done = 0;
    for (let index = 0; index < count; index++) {
      const address = getLong(words, index * 4);
      const length = getLong(words, index * 4 + 2);
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
      return file[direction](this.context.caller, address, length, offset);
    } catch (error) {
      if (isLater && error instanceof VfioError) return 0;
      throw error;
    }
  }

  private lseek(): void {
    if (this.enter(this.context.call.int(0)) !== null) throw new VfioError(Errno.ESPIPE);
  }

  private mmap(): void {
    const { call, caller, descriptors, log } = this.context;
    const flags = call.int(3);
    const fd = call.int(4);
    this.locks.checkMap();
    if ((flags & MAP_ANONYMOUS) === 0 && descriptors.inWindow(fd)) {
      const process = caller.enter();
      const opened = descriptors.lookUp(process, fd);
      if (opened !== null && opened !== 'other') {
        this.checkTurn(opened);
        this.context.failed.kind = opened.file.kind;
        log?.noteFile(process.pid, fd, opened);
        const request = {
          length: call.argument(1),
          protection: call.int(2),
          flags,
          offset: call.argument(5),
        };
        if (this.mapFile(opened, request)) return;
      }
    }
    if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) === MAP_FIXED) {
      this.traps?.replaceMapping();
      this.memory.unmap();
    } else call.proceed();
  }

  /** True: the call has its answer; false: the kernel may make the mapping. Throws VfioError. */
  private mapFile({ file, pciFunction }: OpenFile, request: MmapRequest): boolean {
    const { caller, refused } = this.context;
    try {
      const parts = file.mmap(caller, request);
      return parts.length > 0 && this.traps!.map(pciFunction!, request, parts);
    } catch (error) {
      if (pciFunction !== null && this.traps === null)
        refused.noteSparse(pciFunction, request.offset, request.length);
      throw error;
    }
  }

  /**
   * The VFIO file that a descriptor of the caller means; where it means none, the kernel answers
   * and this is null.
   */
  private enter(fd: number): OpenFile | null {
    const { call, caller, descriptors, failed, log } = this.context;
    const process = caller.enter();
    const opened = descriptors.lookUp(process, fd);
    if (opened !== null && opened !== 'other') {
      this.checkTurn(opened);
      failed.kind = opened.file.kind;
      if (log !== null) log.noteFile(process.pid, fd, opened);
      return opened;
    }
    call.proceed();
    return null;
  }

  /** A call on this file may be answered now. Throws Later. */
  private checkTurn({ file }: OpenFile): void {
    if (this.context.files.isBusy && file.standsAlone !== true) throw new Later();
  }
}

function isStream(file: VfioFile): boolean {
  return file.watchReadable !== undefined;
}

/** Where a transfer begins; `position` -1: the file's own. ESPIPE: a stream has no other. */
function placeOf(opened: OpenFile, position: number): number {
  if (position < 0) return opened.position;
  if (isStream(opened.file)) throw new VfioError(Errno.ESPIPE);
  return position;
}

/** Where read(2) and write(2) go on: a stream has no such place. */
function moveOn(opened: OpenFile, bytes: number): void {
  if (!isStream(opened.file)) opened.position += bytes;
}
