/**
 * libc, as far as a live run needs it, through koffi. Addresses are numbers (user space ends
 * far below 2^53). Calls return what the C function returns; after -1, `errno()` tells why.
 */

import koffi from 'koffi';
import { errnoName } from '../../abi/errno.js';
import {
  MAP_ANONYMOUS,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from '../../abi/linux.js';
import type { DmaBuffer } from '../frame-memory.js';

const library = koffi.load(null);
const declare = <Call>(name: string, result: string, parameters: string[]): Call =>
  library.func(name, result, parameters) as unknown as Call;

type Numbers = (...numbers: number[]) => number;

export const errno = (): number => koffi.errno();

/** syscall(2) with up to six integer or address arguments; all six must be given. */
export const syscall = declare<Numbers>('syscall', 'long', [
  'long',
  'uintptr_t',
  'uintptr_t',
  'uintptr_t',
  'uintptr_t',
  'uintptr_t',
  'uintptr_t',
]);
export const ioctl = declare<Numbers>('ioctl', 'int', ['int', 'ulong', 'uintptr_t']);
export const poll = declare<Numbers>('poll', 'int', ['uintptr_t', 'ulong', 'int']);
export const ppoll = declare<Numbers>('ppoll', 'int', [
  'uintptr_t',
  'ulong',
  'uintptr_t',
  'uintptr_t',
]);
export const close = declare<Numbers>('close', 'int', ['int']);
export const dup = declare<Numbers>('dup', 'int', ['int']);
export const read = declare<Numbers>('read', 'long', ['int', 'uintptr_t', 'size_t']);
export const write = declare<Numbers>('write', 'long', ['int', 'uintptr_t', 'size_t']);
export const pread = declare<Numbers>('pread', 'long', ['int', 'uintptr_t', 'size_t', 'int64_t']);
export const pwrite = declare<Numbers>('pwrite', 'long', ['int', 'uintptr_t', 'size_t', 'int64_t']);
export const epollCreate1 = declare<Numbers>('epoll_create1', 'int', ['int']);
export const epollCtl = declare<Numbers>('epoll_ctl', 'int', ['int', 'int', 'int', 'uintptr_t']);
export const epollWait = declare<Numbers>('epoll_wait', 'int', ['int', 'uintptr_t', 'int', 'int']);
export const timerfdCreate = declare<Numbers>('timerfd_create', 'int', ['int', 'int']);
export const timerfdSettime = declare<Numbers>('timerfd_settime', 'int', [
  'int',
  'int',
  'uintptr_t',
  'uintptr_t',
]);
export const preadv2 = declare<Numbers>('preadv2', 'long', [
  'int',
  'uintptr_t',
  'int',
  'int64_t',
  'int',
]);
export const fdatasync = declare<Numbers>('fdatasync', 'int', ['int']);
export const ftruncate = declare<Numbers>('ftruncate', 'int', ['int', 'int64_t']);
export const fcntl = declare<Numbers>('fcntl', 'int', ['int', 'int', 'uintptr_t']);
export const prctl = declare<Numbers>('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']);
export const getrandom = declare<Numbers>('getrandom', 'long', ['uintptr_t', 'size_t', 'uint']);
export const eventfd = declare<Numbers>('eventfd', 'int', ['uint', 'int']);
export const pipe2 = declare<Numbers>('pipe2', 'int', ['uintptr_t', 'int']);
export const socketpair = declare<Numbers>('socketpair', 'int', ['int', 'int', 'int', 'uintptr_t']);
export const socket = declare<Numbers>('socket', 'int', ['int', 'int', 'int']);
export const bind = declare<Numbers>('bind', 'int', ['int', 'uintptr_t', 'uint']);
export const recv = declare<Numbers>('recv', 'long', ['int', 'uintptr_t', 'size_t', 'int']);
export const sendto = declare<Numbers>('sendto', 'long', [
  'int',
  'uintptr_t',
  'size_t',
  'int',
  'uintptr_t',
  'uint',
]);
export const listen = declare<Numbers>('listen', 'int', ['int', 'int']);
export const accept4 = declare<Numbers>('accept4', 'int', ['int', 'uintptr_t', 'uintptr_t', 'int']);
export const connect = declare<Numbers>('connect', 'int', ['int', 'uintptr_t', 'uint']);
export const shutdown = declare<Numbers>('shutdown', 'int', ['int', 'int']);
export const sendmsg = declare<Numbers>('sendmsg', 'long', ['int', 'uintptr_t', 'int']);
export const recvmsg = declare<Numbers>('recvmsg', 'long', ['int', 'uintptr_t', 'int']);
export const getpagesize = declare<() => number>('getpagesize', 'int', []);
export const kill = declare<Numbers>('kill', 'int', ['int', 'int']);
export const waitid = declare<Numbers>('waitid', 'int', ['int', 'int', 'uintptr_t', 'int']);
export const waitpid = declare<Numbers>('waitpid', 'int', ['int', 'uintptr_t', 'int']);
export const flock = declare<Numbers>('flock', 'int', ['int', 'int']);
export const fallocate = declare<Numbers>('fallocate', 'int', ['int', 'int', 'int64_t', 'int64_t']);
export const msync = declare<Numbers>('msync', 'int', ['uintptr_t', 'size_t', 'int']);
export const madvise = declare<Numbers>('madvise', 'int', ['uintptr_t', 'size_t', 'int']);
export const munmap = declare<Numbers>('munmap', 'int', ['uintptr_t', 'size_t']);
export const mmap = declare<Numbers>('mmap', 'intptr_t', [
  'uintptr_t',
  'size_t',
  'int',
  'int',
  'int',
  'int64_t',
]);
export const mprotect = declare<Numbers>('mprotect', 'int', ['uintptr_t', 'size_t', 'int']);
export const mremap = declare<Numbers>('mremap', 'intptr_t', [
  'uintptr_t',
  'size_t',
  'size_t',
  'int',
  'uintptr_t',
]);
export const lseek = declare<Numbers>('lseek', 'int64_t', ['int', 'int64_t', 'int']);
export const mlock = declare<Numbers>('mlock', 'int', ['uintptr_t', 'size_t']);
export const munlock = declare<Numbers>('munlock', 'int', ['uintptr_t', 'size_t']);
export const readlink = declare<(path: string, address: number, size: number) => number>(
  'readlink',
  'long',
  ['str', 'uintptr_t', 'size_t'],
);
export const prlimit = declare<Numbers>('prlimit', 'int', ['int', 'int', 'uintptr_t', 'uintptr_t']);
export const processVmReadv = declare<Numbers>('process_vm_readv', 'long', [
  'int',
  'uintptr_t',
  'ulong',
  'uintptr_t',
  'ulong',
  'ulong',
]);
export const processVmWritev = declare<Numbers>('process_vm_writev', 'long', [
  'int',
  'uintptr_t',
  'ulong',
  'uintptr_t',
  'ulong',
  'ulong',
]);
/** ptrace(2); `data` may be a whole word of memory. */
export const ptrace = declare<
  (request: number, pid: number, address: number, data: number | bigint) => number
>('ptrace', 'long', ['int', 'int', 'uintptr_t', 'uintptr_t']);
export const open = declare<(path: string, flags: number, mode: number) => number>('open', 'int', [
  'str',
  'int',
  'uint',
]);
export const memfdCreate = declare<(name: string, flags: number) => number>('memfd_create', 'int', [
  'str',
  'uint',
]);
export const sigaction = declare<Numbers>('sigaction', 'int', ['int', 'uintptr_t', 'uintptr_t']);
export const pthreadSigmask = declare<Numbers>('pthread_sigmask', 'int', [
  'int',
  'uintptr_t',
  'uintptr_t',
]);
export const setitimer = declare<Numbers>('setitimer', 'int', ['int', 'uintptr_t', 'uintptr_t']);

/** The environment as C programs have it: where its array of strings lies. */
export const environment = (): number =>
  Number(koffi.decode(library.symbol('environ'), 'uintptr_t'));

/** Calls a function that takes so many integers or addresses and returns a long. */
export function functionAt(address: number, parameters: number): Numbers {
  const type = koffi.proto('long', Array(parameters).fill('uintptr_t'));
  return koffi.decode(BigInt(address), type) as unknown as Numbers;
}

const MADV_DONTNEED = 4;
const MADV_REMOVE = 9;

/** A libc call failed that must not fail: says which and why. */
export class SystemError extends Error {
  constructor(
    call: string,
    readonly errno: number,
  ) {
    super(`${call}: ${errnoName(errno)}`);
    this.name = 'SystemError';
  }
}

/** Returns `result`, or throws SystemError where it is -1. */
export function must(call: string, result: number): number {
  if (result === -1) throw new SystemError(call, errno());
  return result;
}

/**
 * The bytes at a native address, without a copy. They must stay mapped as long as the array is
 * used.
 */
export function bytesAt(address: number, length: number): Uint8Array {
  return new Uint8Array(koffi.view(BigInt(address), length));
}

/** Zeroed memory at a fixed native address, taken lazily from the host and never given back. */
export function allocateNative(bytes: number): DmaBuffer {
  const address = must(
    'mmap',
    mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
  );
  const memory = bytesAt(address, bytes);
  return {
    bytes: memory,
    address,
    discard(offset, length) {
      if (madvise(address + offset, length, MADV_DONTNEED) < 0)
        memory.fill(0, offset, offset + length);
    },
  };
}

/** The address of this many bytes that nobody can read or write. */
export function allocateUnreadable(bytes: number): number {
  return must('mmap', mmap(0, bytes, 0, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

/** Maps a file, shared, and returns its memory. */
export function mapShared(
  fd: number,
  offset: number,
  bytes: number,
  protection = PROT_READ | PROT_WRITE,
): DmaBuffer {
  const address = must('mmap', mmap(0, bytes, protection, MAP_SHARED, fd, offset));
  const memory = bytesAt(address, bytes);
  return {
    bytes: memory,
    address,
    discard(offset, length) {
      if (madvise(address + offset, length, MADV_REMOVE) < 0)
        memory.fill(0, offset, offset + length);
    },
  };
}
