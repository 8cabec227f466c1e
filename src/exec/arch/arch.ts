/**
 * Numbers of the kernel's interface that differ by architecture. A second architecture is a second
 * table.
 */
export interface Architecture {
  /** AUDIT_ARCH_* as seccomp_data.arch shows it (linux/audit.h). */
  readonly audit: number;
  /** Lowest system call number of a foreign ABI that shares the audit number (x32), or 0. */
  readonly foreignFrom: number;
  readonly nr: Readonly<Record<SystemCall, number>>;
}

export type SystemCall =
  | 'read'
  | 'write'
  | 'open'
  | 'stat'
  | 'lstat'
  | 'lseek'
  | 'mmap'
  | 'mprotect'
  | 'munmap'
  | 'brk'
  | 'ioctl'
  | 'pread64'
  | 'pwrite64'
  | 'access'
  | 'mremap'
  | 'madvise'
  | 'dup'
  | 'dup2'
  | 'clone'
  | 'fork'
  | 'execve'
  | 'exit'
  | 'shmdt'
  | 'fcntl'
  | 'mkdir'
  | 'rmdir'
  | 'unlink'
  | 'chmod'
  | 'mkdirat'
  | 'unlinkat'
  | 'fchmodat'
  | 'preadv2'
  | 'pwritev2'
  | 'mlock'
  | 'mlock2'
  | 'getxattr'
  | 'lgetxattr'
  | 'listxattr'
  | 'llistxattr'
  | 'readlink'
  | 'exit_group'
  | 'close'
  | 'openat'
  | 'newfstatat'
  | 'readlinkat'
  | 'faccessat'
  | 'dup3'
  | 'seccomp'
  | 'execveat'
  | 'pkey_mprotect'
  | 'statx'
  | 'io_uring_setup'
  | 'pidfd_open'
  | 'process_madvise'
  | 'sync_file_range'
  | 'clone3'
  | 'close_range'
  | 'openat2'
  | 'pidfd_getfd'
  | 'faccessat2'
  | 'remap_file_pages'
  | 'readv'
  | 'writev'
  | 'preadv'
  | 'pwritev';

const x64: Architecture = {
  audit: 0xc000003e,
  foreignFrom: 0x40000000,
  nr: {
    read: 0,
    write: 1,
    open: 2,
    close: 3,
    stat: 4,
    lstat: 6,
    lseek: 8,
    mmap: 9,
    mprotect: 10,
    munmap: 11,
    brk: 12,
    ioctl: 16,
    pread64: 17,
    pwrite64: 18,
    readv: 19,
    writev: 20,
    access: 21,
    mremap: 25,
    madvise: 28,
    dup: 32,
    dup2: 33,
    clone: 56,
    fork: 57,
    execve: 59,
    exit: 60,
    shmdt: 67,
    fcntl: 72,
    readlink: 89,
    mkdir: 83,
    rmdir: 84,
    unlink: 87,
    chmod: 90,
    mkdirat: 258,
    unlinkat: 263,
    fchmodat: 268,
    preadv2: 327,
    pwritev2: 328,
    mlock: 149,
    mlock2: 325,
    getxattr: 191,
    lgetxattr: 192,
    listxattr: 194,
    llistxattr: 195,
    remap_file_pages: 216,
    exit_group: 231,
    openat: 257,
    newfstatat: 262,
    readlinkat: 267,
    faccessat: 269,
    dup3: 292,
    preadv: 295,
    pwritev: 296,
    seccomp: 317,
    execveat: 322,
    pkey_mprotect: 329,
    statx: 332,
    io_uring_setup: 425,
    pidfd_open: 434,
    process_madvise: 440,
    sync_file_range: 277,
    clone3: 435,
    close_range: 436,
    openat2: 437,
    pidfd_getfd: 438,
    faccessat2: 439,
  },
};

const tables: Readonly<Record<string, Architecture>> = { x64 };

/** The table of this machine (`process.arch` names), or null where there is none yet. */
export function architecture(name: string): Architecture | null {
  return tables[name] ?? null;
}
