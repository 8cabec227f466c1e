/** The events of `programs/memory-event.ts`, and what they come to. */

export const OLD = 0xaa;
const NEW = 0x55;
const ZERO = 0;
const WRITTEN = 0x33;

/**
 * What the device reads of the page afterwards, what the program finds there once the device has
 * written, and how many pages were taken out of the I/O page tables before: without the notice the
 * device would still be right, because its accesses go through the process's page tables, but the
 * tables would not be.
 */
export const memoryEvents: readonly [
  event: string,
  read: number,
  written: number | null,
  taken: number,
][] = [
  ['none', OLD, WRITTEN, 0],
  ['munmap', ZERO, null, 1],
  ['munmap and mmap again', NEW, WRITTEN, 1],
  ['mmap fixed', NEW, WRITTEN, 1],
  ['dontneed', ZERO, WRITTEN, 1],
  ['mremap away', ZERO, null, 1],
  ['mremap over', NEW, WRITTEN, 1],
  ['mprotect none', ZERO, null, 1],
  ['mprotect read', OLD, OLD, 1],
  // The page, and the two that carried bytes: all are private memory, which a fork write-protects.
  ['fork', NEW, WRITTEN, 3],
];
