/**
 * Runs the steps of a recorded case with real system calls, memory at the recording's fixed
 * addresses.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { errnoName } from '../../abi/errno.js';
import { MAP_FIXED, O_RDWR, POLLIN, POLLOUT } from '../../abi/linux.js';
import * as libc from '../../mm/process/libc.js';
import { fcntlCommand } from '../fcntl.js';
import { adviceOf } from '../memory-step.js';
import {
  type Answer,
  ARGUMENT_BYTES,
  bytesHex,
  DEFAULT_LIMIT_BYTES,
  DESCRIPTOR_BYTES,
  fillNames,
  hexBytes,
  type Success,
  type VectorCase,
  type VectorFile,
  type VectorStep,
} from '../vectors.js';
import { CallFailed, check } from './checked.js';
import { eduCopy } from './edu-copy.js';
import { LiveMemory, protection } from './memory.js';
import { dropCapability, setMemlockLimit } from './privilege.js';

const CAP_IPC_LOCK = 14;
const RAM_FILE_BYTES = 4096;
const EFD_NONBLOCK = 0o4000;
const scratch = libc.allocateNative(4096);
const scratchView = new DataView(scratch.bytes.buffer);

export class LiveProcess {
  private readonly names = new Map<string, number>();
  private readonly memory = new LiveMemory();
  private readonly argumentsEnd: number;
  private output: string | undefined;

  constructor(private readonly file: VectorFile) {
    this.argumentsEnd = Number(file.machine.argBuffersEndAt);
    this.memory.place(this.argumentsEnd - ARGUMENT_BYTES, ARGUMENT_BYTES, 'rw', 'anon');
    this.memory.keep();
  }

  /** Makes what a case begins with. */
  begin({ setup }: VectorCase): void {
    setMemlockLimit(setup.rlimitMemlock ?? DEFAULT_LIMIT_BYTES);
    for (const memory of setup.memory) {
      const fd = this.memory.setUp(memory, memory.fd === undefined ? -1 : this.number(memory.fd));
      if (fd >= 0) this.names.set(`_m${memory.name}`, fd);
    }
  }

  /** Gives everything back. */
  end(): void {
    this.memory.unmapAll();
    for (const fd of new Set(this.names.values())) libc.close(fd);
    this.names.clear();
  }

  run(step: VectorStep): Partial<Answer> {
    this.output = undefined;
    const memory = (): Partial<Answer> => {
      const status = readFileSync('/proc/self/status', 'latin1');
      const kilobytes = (name: string): number =>
        Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)![1]);
      return { vmPinKb: kilobytes('VmPin'), vmLckKb: kilobytes('VmLck') };
    };
    try {
      const success = this.operate(step);
      const named = step.as === undefined ? {} : { ret: 0 };
      return { ret: 0, errno: null, ...this.outOf(step), ...success, ...named, ...memory() };
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      const noText = step.outText === undefined ? {} : { outText: '' };
      const out = { ...noText, ...this.outOf(step) };
      return { ret: -1, errno: errnoName(error.errno), ...out, ...memory() };
    }
  }

  private outOf(step: VectorStep): Partial<Answer> {
    const out = this.output ?? (step.op === 'read' || step.op === 'pread' ? '' : undefined);
    return out === undefined ? {} : { out };
  }

  private operate(step: VectorStep): Success {
    const address = Number(step.addr ?? 0);
    const size = step.size ?? 0;
    switch (step.op) {
      case 'open':
        return this.named(step, this.open(this.fill(step.path!), step.flags ?? O_RDWR));
      case 'close': {
        const ret = libc.close(this.fd(step));
        this.names.delete(step.fd!);
        check(ret);
        return {};
      }
      case 'dup':
        return this.named(step, libc.dup(this.fd(step)));
      case 'fcntl': {
        const argument = typeof step.arg === 'number' ? step.arg : 0;
        const ret = check(libc.fcntl(this.fd(step), fcntlCommand(step), argument));
        return step.as ? this.named(step, ret) : { ret };
      }
      case 'eventfd':
        return this.named(step, libc.eventfd(0, EFD_NONBLOCK));
      case 'memfd': {
        const fd = libc.memfdCreate('memfd', 0);
        if (fd >= 0) check(libc.ftruncate(fd, size));
        return this.named(step, fd);
      }
      case 'ioctl':
        return this.ioctl(step);
      case 'read':
      case 'pread':
        return this.read(step);
      case 'write':
      case 'pwrite':
        return this.write(step);
      case 'readAt':
        return { ret: check(libc.read(this.fd(step), address, size)) };
      case 'writeAt':
        return { ret: check(libc.write(this.fd(step), address, size)) };
      case 'lseek':
        return { ret: check(libc.lseek(this.fd(step), Number(step.offset), step.whence ?? 0)) };
      case 'poll':
        return this.poll(step);
      case 'readlinkProcFd': {
        const bytes = libc.readlink(
          `/proc/self/fd/${this.fd(step)}`,
          scratch.address,
          scratch.bytes.length,
        );
        return { outText: Buffer.from(scratch.bytes.slice(0, check(bytes))).toString() };
      }
      case 'status':
        return {};
      case 'ls':
        return { outText: readdirSync(step.path!).sort().join(',') };
      case 'mmap':
        if (step.fd !== undefined) this.memory.mapFile(this.fd(step), step, address, size);
        else this.memory.place(address, size, step.prot!, step.kind!, MAP_FIXED);
        return {};
      case 'munmap':
        check(libc.munmap(address, size));
        return {};
      case 'mprotect':
        check(libc.mprotect(address, size, protection(step.prot!)));
        return {};
      case 'madvise':
        check(libc.madvise(address, size, adviceOf(step)));
        return {};
      case 'mlock':
        check(libc.mlock(address, size));
        return {};
      case 'munlock':
        check(libc.munlock(address, size));
        return {};
      case 'mremap': {
        const to = Number(step.newAddr ?? 0);
        check(libc.mremap(address, step.oldSize!, step.newSize!, step.flags!, to));
        this.memory.moved(to, step.newSize!);
        return {};
      }
      case 'ftruncate':
        check(libc.ftruncate(this.number(step.fd ?? `_m${step.mem}`), size));
        return {};
      case 'fallocate':
        check(libc.fallocate(this.fd(step), step.mode!, Number(step.offset), size));
        return {};
      case 'fill':
        libc.bytesAt(address, size).fill(step.byte!);
        return {};
      case 'poke':
        libc.bytesAt(address, step.in!.length / 2).set(hexBytes(step.in!));
        return {};
      case 'peek':
        return { out: bytesHex(libc.bytesAt(address, size).slice()) };
      case 'setrlimitMemlock':
        setMemlockLimit(step.bytes!);
        return {};
      case 'dropCapIpcLock':
        dropCapability(CAP_IPC_LOCK);
        return {};
      case 'dropCap':
        dropCapability(step.nr!);
        return {};
      case 'deviceCopy':
        eduCopy(Number(step.srcIova), Number(step.dstIova), size);
        return {};
      default:
        throw new Error(`operation ${step.op} is not known`);
    }
  }

  /** The recording's own files: those behind memory, and one of 4 KiB in a ramfs. */
  private open(path: string, flags: number): number {
    const behind = /^\/tmp\/f_(\w+)$/.exec(path)?.[1];
    if (behind !== undefined)
      return libc.open(`/proc/self/fd/${this.number(`_m${behind}`)}`, flags, 0);
    if (path !== '/ram/file') return libc.open(path, flags, 0);
    const fd = libc.memfdCreate('file', 0);
    check(libc.ftruncate(fd, RAM_FILE_BYTES));
    return fd;
  }

  private ioctl(step: VectorStep): Success {
    const fd = this.fd(step);
    const { arg } = step;
    let argument = typeof arg === 'object' ? Number(arg.ptr ?? 0) : (arg ?? 0);
    let bytes: Uint8Array | null = null;
    if (typeof arg === 'object' && arg.ptr === undefined) {
      bytes =
        arg.str === undefined
          ? hexBytes(arg.in!)
          : Buffer.from(`${this.fill(arg.str)}\0`, 'latin1');
      for (const [offset, name] of arg.fdAt ?? [])
        new DataView(bytes.buffer, bytes.byteOffset).setInt32(offset, this.number(name), true);
      argument = this.argumentsEnd - bytes.length;
      libc.bytesAt(argument, bytes.length).set(bytes);
    }
    const ret = libc.ioctl(fd, step.nr!, argument);
    const error = libc.errno();
    if (bytes !== null && typeof arg === 'object' && arg.in !== undefined) {
      const after = libc.bytesAt(argument, bytes.length).slice();
      const made = ret === -1 ? [] : (arg.fdOut ?? []);
      for (const [offset, name] of made)
        this.names.set(name, new DataView(after.buffer).getInt32(offset, true));
      let out = bytesHex(after);
      for (const [offset] of [...(arg.fdAt ?? []), ...made])
        out =
          out.slice(0, offset * 2) +
          DESCRIPTOR_BYTES +
          out.slice(offset * 2 + DESCRIPTOR_BYTES.length);
      this.output = out;
    }
    if (ret === -1) throw new CallFailed(error);
    if (step.as) this.names.set(step.as, ret);
    return { ret };
  }

  private read(step: VectorStep): Success {
    const size = step.size!;
    const address = this.argumentsEnd - Math.max(size, 1);
    const fd = this.fd(step);
    const ret = check(
      step.op === 'read'
        ? libc.read(fd, address, size)
        : libc.pread(fd, address, size, Number(step.offset)),
    );
    return { ret, out: ret === 0 ? '' : bytesHex(libc.bytesAt(address, ret).slice()) };
  }

  private write(step: VectorStep): Success {
    const bytes = hexBytes(step.in!);
    const address = this.argumentsEnd - Math.max(bytes.length, 1);
    if (bytes.length > 0) libc.bytesAt(address, bytes.length).set(bytes);
    const fd = this.fd(step);
    const { length } = bytes;
    const ret =
      step.op === 'write'
        ? libc.write(fd, address, length)
        : libc.pwrite(fd, address, length, Number(step.offset));
    return { ret: check(ret) };
  }

  private poll(step: VectorStep): Success {
    scratchView.setInt32(0, this.fd(step), true);
    scratchView.setUint32(4, POLLIN | POLLOUT, true);
    const ret = check(libc.poll(scratch.address, 1, 0));
    return { ret, out: bytesHex(scratch.bytes.slice(6, 8)) };
  }

  private named(step: VectorStep, fd: number): Success {
    check(fd);
    if (step.as) this.names.set(step.as, fd);
    return {};
  }

  private fd(step: VectorStep): number {
    return this.number(step.fd!);
  }

  private number(name: string): number {
    return this.names.get(name) ?? -1;
  }

  private fill(text: string): string {
    return fillNames(text, this.file.machine.vars);
  }
}
