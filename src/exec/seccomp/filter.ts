/**
 * The seccomp filter that a traced program runs under: which system calls are intercepted, as
 * classic BPF.
 *
 * Terms: the *window* is the range of descriptor numbers in which VFIO files are; a test
 * of a number against it is all that a filter can know about a descriptor.
 */

import { Bug } from '../../abi/bug.js';
import { Errno } from '../../abi/errno.js';
import {
  CLONE_THREAD,
  CLONE_VM,
  F_DUPFD_CLOEXEC,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_LOCKED,
  SIG_UNBLOCK,
} from '../../abi/linux.js';
import { VFIO_TYPE } from '../../abi/vfio.js';

import type { Architecture, SystemCall } from '../arch/index.js';

/** Descriptor numbers [first, end) of VFIO files. */
export interface DescriptorWindow {
  readonly first: number;
  readonly end: number;
}

const RETURN_ALLOW = 0x7fff0000;
const RETURN_NOTIFY = 0x7fc00000;
const RETURN_ERRNO = 0x00050000;

const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND = 0x54; // BPF_ALU | BPF_AND | BPF_K
const EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const AT_LEAST = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K

const SHM_REMAP = 0o40000;
/** Modes of fallocate that take bytes away: PUNCH_HOLE, COLLAPSE, ZERO and INSERT_RANGE. */
const FALLOC_TAKES = 2 | 8 | 0x10 | 0x20;
const F_DUPFD = 0;
/** Requests to a userfaultfd that take pages away, or their write permission. */
export const Uffdio = { MOVE: 0xc028aa05, WRITEPROTECT: 0xc018aa06 } as const;

const NR = 0;
const ARCH = 4;
/** Offset of the low half of argument n in struct seccomp_data. */
const argument = (n: number): number => 16 + 8 * n;

/** One instruction; jumps name labels and are resolved at the end. */
interface Instruction {
  code: number;
  k: number;
  yes?: string;
  no?: string;
}

/**
 * Calls that are always intercepted: they name paths, take memory away, end or split a process, or
 * make what a device may signal.
 */
export const alwaysIntercepted: readonly SystemCall[] = [
  'openat',
  'newfstatat',
  'statx',
  'munmap',
  'mprotect',
  'madvise',
  'open',
  'stat',
  'lstat',
  'access',
  'readlink',
  'readlinkat',
  'faccessat',
  'faccessat2',
  'openat2',
  'getxattr',
  'lgetxattr',
  'listxattr',
  'llistxattr',
  'brk',
  'mremap',
  'pkey_mprotect',
  'shmdt',
  'remap_file_pages',
  'fork',
  'clone3',
  'mlock',
  'mkdir',
  'rmdir',
  'unlink',
  'chmod',
  'mkdirat',
  'unlinkat',
  'fchmodat',
  'getcwd',
  'statfs',
  'fstatfs',
  'mlock2',
  'execve',
  'execveat',
  'exit',
  'exit_group',
  'eventfd',
  'eventfd2',
  'ftruncate',
  'process_madvise',
  'userfaultfd',
  'memfd_secret',
];

/** Calls that are intercepted where their first argument is in the window. */
export const interceptedOnDescriptor: readonly SystemCall[] = [
  'read',
  'write',
  'close',
  'fstat',
  'pread64',
  'pwrite64',
  'lseek',
  'dup',
  'readv',
  'writev',
  'preadv',
  'pwritev',
  'preadv2',
  'pwritev2',
];

/**
 * Builds the filter: the bytes of `struct sock_filter[]`. `traps`: with the calls that are needed
 * where registers trap.
 */
export function buildFilter(
  architecture: Architecture,
  window: DescriptorWindow,
  traps = false,
): Uint8Array {
  const program: (Instruction | string)[] = [];
  const { nr } = architecture;
  const jumpCall = (call: SystemCall, to: string): void => {
    const number = nr[call];
    if (number !== undefined) jump(EQUAL, number, to);
  };
  const load = (offset: number): void => void program.push({ code: LOAD, k: offset });
  const jump = (code: number, k: number, yes?: string, no?: string): void =>
    void program.push({
      code,
      k: k >>> 0,
      ...(yes === undefined ? {} : { yes }),
      ...(no === undefined ? {} : { no }),
    });
  const inWindow = (n: number, otherwise: string): void => {
    load(argument(n));
    jump(AT_LEAST, window.first, undefined, otherwise);
    jump(AT_LEAST, window.end, otherwise, 'notify');
  };

  load(ARCH);
  jump(EQUAL, architecture.audit, undefined, 'refuse');
  load(NR);
  if (architecture.foreignFrom > 0) jump(AT_LEAST, architecture.foreignFrom, 'refuse');
  jumpCall('ioctl', 'ioctl');
  for (const call of interceptedOnDescriptor) jumpCall(call, 'descriptor');
  jumpCall('mmap', 'mmap');
  for (const call of alwaysIntercepted) jumpCall(call, 'notify');
  jumpCall('fcntl', 'fcntl');
  jumpCall('dup2', 'dup2');
  jumpCall('dup3', 'dup2');
  jumpCall('close_range', 'close_range');
  jumpCall('clone', 'clone');
  jumpCall('fallocate', 'fallocate');
  jumpCall('shmat', 'shmat');
  if (traps) {
    jumpCall('tuxcall', 'notify');
    jumpCall('vfork', 'notify');
    jumpCall('rt_sigprocmask', 'mask');
    jumpCall('rt_sigaction', 'notify');
  }
  // io_uring would do all of this without system calls.
  jump(EQUAL, nr.io_uring_setup, 'refuse', 'allow');

  program.push('ioctl');
  load(argument(1));
  for (const request of Object.values(Uffdio)) jump(EQUAL, request, 'notify');
  program.push({ code: AND, k: 0xff00 });
  jump(EQUAL, VFIO_TYPE << 8, 'notify');
  inWindow(0, 'allow');

  program.push('fcntl');
  load(argument(1));
  jump(EQUAL, F_DUPFD, 'descriptor');
  jump(EQUAL, F_DUPFD_CLOEXEC, 'descriptor', 'allow');

  program.push('descriptor');
  inWindow(0, 'allow');

  program.push('mmap');
  load(argument(3));
  program.push({ code: AND, k: MAP_FIXED | MAP_FIXED_NOREPLACE });
  jump(EQUAL, MAP_FIXED, 'notify');
  load(argument(3));
  program.push({ code: AND, k: MAP_LOCKED });
  jump(EQUAL, 0, undefined, 'notify');
  load(argument(3));
  program.push({ code: AND, k: MAP_ANONYMOUS });
  jump(EQUAL, 0, undefined, 'allow');
  inWindow(4, 'allow');

  program.push('dup2');
  inWindow(0, 'dup2 target');
  program.push('dup2 target');
  inWindow(1, 'allow');

  program.push('close_range');
  load(argument(1));
  jump(AT_LEAST, window.first, 'notify', 'allow');

  program.push('clone');
  load(argument(0));
  program.push({ code: AND, k: traps ? CLONE_THREAD : CLONE_VM });
  jump(EQUAL, 0, 'notify', 'allow');

  program.push('fallocate');
  load(argument(1));
  program.push({ code: AND, k: FALLOC_TAKES });
  jump(EQUAL, 0, 'allow', 'notify');

  program.push('shmat');
  load(argument(2));
  program.push({ code: AND, k: SHM_REMAP });
  jump(EQUAL, 0, 'allow', 'notify');
  if (traps) {
    // What may block SIGSEGV.
    program.push('mask');
    load(argument(0));
    jump(EQUAL, SIG_UNBLOCK, 'allow');
    load(argument(1));
    jump(EQUAL, 0, undefined, 'notify');
    load(argument(1) + 4);
    jump(EQUAL, 0, 'allow', 'notify');
  }

  program.push('allow', { code: RETURN, k: RETURN_ALLOW });
  program.push('notify', { code: RETURN, k: RETURN_NOTIFY });
  program.push('refuse', { code: RETURN, k: RETURN_ERRNO | Errno.ENOSYS });
  return assemble(program);
}

function assemble(program: readonly (Instruction | string)[]): Uint8Array {
  const labels = new Map<string, number>();
  const instructions: Instruction[] = [];
  for (const item of program) {
    if (typeof item === 'string') labels.set(item, instructions.length);
    else instructions.push(item);
  }
  const out = new DataView(new ArrayBuffer(instructions.length * 8));
  const distance = (from: number, label: string | undefined): number => {
    if (label === undefined) return 0;
    const to = labels.get(label);
    if (to === undefined || to <= from || to - from - 1 > 255)
      throw new Bug('filter jump', { from, label });
    return to - from - 1;
  };
  instructions.forEach((instruction, index) => {
    out.setUint16(index * 8, instruction.code, true);
    out.setUint8(index * 8 + 2, distance(index, instruction.yes));
    out.setUint8(index * 8 + 3, distance(index, instruction.no));
    out.setUint32(index * 8 + 4, instruction.k, true);
  });
  return new Uint8Array(out.buffer);
}
