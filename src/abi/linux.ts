/** Numbers of Linux's system calls that are the same on every architecture. */

export const AT_FDCWD = -100;
export const F_SETFD = 2;
export const F_DUPFD_CLOEXEC = 1030;
export const MFD_CLOEXEC = 1;

export const CLONE_VM = 0x100;
export const CLONE_THREAD = 0x10000;

export const MREMAP_MAYMOVE = 1;
export const MREMAP_FIXED = 2;
export const MREMAP_DONTUNMAP = 4;

export const SIGKILL = 9;
export const SIGSEGV = 11;
export const SIG_BLOCK = 0;
export const SIG_UNBLOCK = 1;
export const SIG_SETMASK = 2;
/** Of the kernel's sigset_t. */
export const SIGSET_BYTES = 8;
