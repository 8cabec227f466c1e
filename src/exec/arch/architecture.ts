/**
 * What of Linux's interface differs by architecture, in one place. Everything else that exec knows
 * of it (MAP_ and AT_ flags, struct statx, flock, siginfo) is the same on all that are here.
 */
import { O_CLOEXEC, O_CREAT, O_NONBLOCK, O_RDWR } from '../../abi/linux.js';

export interface Architecture {
  /** As Node's `process.arch` has it. */
  readonly name: string;
  /** AUDIT_ARCH_* as seccomp_data.arch shows it (linux/audit.h). */
  readonly audit: number;
  /** Lowest system call number of a foreign ABI that shares the audit number (x32), or 0. */
  readonly foreignFrom: number;
  readonly nr: CallNumbers;
  readonly openFlags: OpenFlags;
  readonly stat: StatLayout;
  readonly epollEvent: EpollEventLayout;
  /**
   * The end of user space that access_ok checks (TASK_SIZE_MAX), in bytes: of 48-bit virtual
   * addresses, which every distribution's kernel has.
   */
  readonly taskSize: number;
  /** Loads and stores of mapped registers can be answered: exec/trap knows its instructions. */
  readonly traps: boolean;
  readonly code: MachineCode;
}

/**
 * Machine code that iopf itself runs where neither JavaScript nor libc may: in a child that shares
 * its memory, and in a handler of a signal. All it does is to make the system calls of a list
 * (`exec/process/call-list.ts`).
 */
export interface MachineCode {
  /**
   * First `void makeCalls(list)`. At `cloneAt`: `long clone(list, stack, flags)`, which returns
   * the child's id or minus the errno; the child makes the calls, and the last must not return.
   */
  readonly common: Uint8Array;
  readonly cloneAt: number;
  /** A function that stores a word and then makes a list's calls; all addresses are absolute. */
  handler(
    makeCallsAt: number,
    list: number,
    note: { readonly at: number; readonly value: number },
  ): Uint8Array;
}

/**
 * System calls by their numbers. Architectures that came after the `*at` calls have no legacy ones,
 * so that nothing can make them there.
 */
export type CallNumbers = Readonly<Record<CurrentCall, number>> &
  Readonly<Partial<Record<LegacyCall, number>>>;

export type SystemCall = CurrentCall | LegacyCall;

/** Calls that asm-generic/unistd.h does not have. */
export type LegacyCall =
  | 'access'
  | 'chmod'
  | 'dup2'
  | 'eventfd'
  | 'fork'
  | 'lstat'
  | 'mkdir'
  | 'open'
  | 'readlink'
  | 'rmdir'
  | 'stat'
  | 'tuxcall'
  | 'unlink'
  | 'vfork';

export type CurrentCall =
  | 'brk'
  | 'chdir'
  | 'clone'
  | 'clone3'
  | 'close'
  | 'close_range'
  | 'dup'
  | 'dup3'
  | 'eventfd2'
  | 'execve'
  | 'execveat'
  | 'exit'
  | 'exit_group'
  | 'faccessat'
  | 'faccessat2'
  | 'fallocate'
  | 'fchmodat'
  | 'fcntl'
  | 'ftruncate'
  | 'fstat'
  | 'fstatfs'
  | 'getcwd'
  | 'getxattr'
  | 'io_uring_setup'
  | 'ioctl'
  | 'kcmp'
  | 'lgetxattr'
  | 'listxattr'
  | 'llistxattr'
  | 'lseek'
  | 'madvise'
  | 'memfd_secret'
  | 'mkdirat'
  | 'mknodat'
  | 'mlock'
  | 'mlock2'
  | 'mmap'
  | 'mprotect'
  | 'mremap'
  | 'munmap'
  | 'newfstatat'
  | 'openat'
  | 'openat2'
  | 'pidfd_getfd'
  | 'pidfd_open'
  | 'pkey_mprotect'
  | 'prctl'
  | 'pread64'
  | 'preadv'
  | 'preadv2'
  | 'prlimit64'
  | 'process_madvise'
  | 'pwrite64'
  | 'pwritev'
  | 'pwritev2'
  | 'read'
  | 'readlinkat'
  | 'readv'
  | 'remap_file_pages'
  | 'rt_sigaction'
  | 'rt_sigprocmask'
  | 'rt_tgsigqueueinfo'
  | 'seccomp'
  | 'sendmsg'
  | 'setitimer'
  | 'setsid'
  | 'shmat'
  | 'shmdt'
  | 'statfs'
  | 'statx'
  | 'sync_file_range'
  | 'timerfd_settime'
  | 'tkill'
  | 'tgkill'
  | 'unlinkat'
  | 'userfaultfd'
  | 'write'
  | 'writev';

/** Flags of open(2) (fcntl.h), in the order in which a call log shows them. O_RDONLY is 0. */
export type OpenFlags = Readonly<
  Record<
    | 'O_WRONLY'
    | 'O_RDWR'
    | 'O_CREAT'
    | 'O_EXCL'
    | 'O_NOCTTY'
    | 'O_TRUNC'
    | 'O_APPEND'
    | 'O_NONBLOCK'
    | 'O_DIRECT'
    | 'O_LARGEFILE'
    | 'O_DIRECTORY'
    | 'O_NOFOLLOW'
    | 'O_CLOEXEC'
    | 'O_PATH',
    number
  >
>;

/** Those that are the same everywhere here (asm-generic/fcntl.h). */
export const commonOpenFlags = {
  O_WRONLY: 1,
  O_RDWR,
  O_CREAT,
  O_EXCL: 0o200,
  O_NOCTTY: 0o400,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_NONBLOCK,
  O_CLOEXEC,
  O_PATH: 0o10000000,
} as const;

/** struct stat as newfstatat fills it: its size, and offsets of fields, in bytes. */
export interface StatLayout {
  readonly bytes: number;
  /** u32 */
  readonly mode: number;
  /** u32, and behind it the group, u32. */
  readonly owner: number;
  /** u64, of which the encoded device number takes the low half. */
  readonly rdev: number;
  /** i64 */
  readonly size: number;
  /** i64 */
  readonly blocks: number;
}

/** struct epoll_event: u32 events at 0, then u64 data, with or without padding between. */
export interface EpollEventLayout {
  readonly bytes: number;
  readonly data: number;
}
