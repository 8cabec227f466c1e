/**
 * Another process's memory by process_vm_readv(2) and process_vm_writev(2), which go through its
 * page tables at that moment.
 */
import { PAGE_SIZE } from '../address-space.js';
import { IOVEC_MAX, IovecArray } from './iovec.js';
import { allocateNative, allocateUnreadable } from './libc.js';
import { deviceReadv, processVmReadv, processVmWritev } from './remote-transfer.js';

/** Bounce buffer of copies, and where the one byte of each touched page goes. */
const BOUNCE_BYTES = 1 << 20;
const bounce = allocateNative(BOUNCE_BYTES);
const local = new IovecArray();
const remote = new IovecArray();
/**
 * Pages that one process_vm_writev gets before it copies any (mm/process_vm_access.c: two pages of
 * pointers), halved.
 */
const WRITE_FAULT_PAGES = 512;
const unreadable = allocateUnreadable(WRITE_FAULT_PAGES * PAGE_SIZE);

/**
 * Copies bytes from a process; false where one cannot be read, and those before it may be copied.
 * Hot.
 */
export function copyFromProcess(pid: number, address: number, into: Uint8Array): boolean {
  for (let done = 0; done < into.length; ) {
    const length = Math.min(BOUNCE_BYTES, into.length - done);
    point(bounce.address, address + done, length);
    if (processVmReadv(pid, local.address, 1, remote.address, 1) !== length) return false;
    for (let index = 0; index < length; index++) into[done + index] = bounce.bytes[index]!;
    done += length;
  }
  return true;
}

/**
 * Copies bytes to a process; false where one cannot be written, and those before it may be copied.
 * Hot.
 */
export function copyToProcess(pid: number, address: number, from: Uint8Array): boolean {
  for (let done = 0; done < from.length; ) {
    const length = Math.min(BOUNCE_BYTES, from.length - done);
    for (let index = 0; index < length; index++) bounce.bytes[index] = from[done + index]!;
    point(bounce.address, address + done, length);
    if (processVmWritev(pid, local.address, 1, remote.address, 1) !== length) return false;
    done += length;
  }
  return true;
}

/**
 * Reads a NUL-terminated string of at most `limit` bytes from a process; null on EFAULT, or where
 * it does not end in time.
 */
export function copyString(pid: number, address: number, limit: number): string | null {
  for (let done = 0; done < limit; ) {
    // Up to the page's end: the next page may not be there.
    const length = Math.min(
      limit - done,
      PAGE_SIZE - ((address + done) % PAGE_SIZE),
      BOUNCE_BYTES - done,
    );
    if (length <= 0) return null;
    point(bounce.address + done, address + done, length);
    if (processVmReadv(pid, local.address, 1, remote.address, 1) !== length) return null;
    const end = bounce.bytes.indexOf(0, done);
    if (end >= 0 && end < done + length)
      return Buffer.from(bounce.bytes.buffer, 0, end).toString('latin1');
    done += length;
  }
  return null;
}

/**
 * Makes the host bring pages in by reading a byte of each; returns how many from the first on could
 * be read.
 */
export function touchPages(pid: number, first: number, count: number): number {
  for (let done = 0; done < count; ) {
    const batch = Math.min(count - done, IOVEC_MAX);
    local.count = remote.count = 0;
    local.push(bounce.address, batch);
    for (let index = 0; index < batch; index++) remote.push((first + done + index) * PAGE_SIZE, 1);
    const got = deviceReadv(pid, local.address, 1, remote.address, batch);
    if (got !== batch) return done + Math.max(got, 0);
    done += batch;
  }
  return count;
}

/**
 * Makes the host give the process pages of its own to write to, as a pin does (FOLL_WRITE): the
 * zero page and shared ones are copied. No byte changes: what would be written cannot be read, and
 * the host finds that out once it has the pages.
 */
export function writeFault(pid: number, first: number, count: number): void {
  for (let done = 0; done < count; done += WRITE_FAULT_PAGES) {
    const bytes = Math.min(WRITE_FAULT_PAGES, count - done) * PAGE_SIZE;
    point(unreadable, (first + done) * PAGE_SIZE, bytes);
    processVmWritev(pid, local.address, 1, remote.address, 1);
  }
}

/** One stretch of bytes, here and in the process. */
function point(ours: number, theirs: number, length: number): void {
  local.count = remote.count = 0;
  local.push(ours, length);
  remote.push(theirs, length);
}
