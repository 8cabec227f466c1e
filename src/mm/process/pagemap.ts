/** What /proc/PID/pagemap tells by PAGEMAP_SCAN (linux/fs.h, Linux 6.7). */
import { closeSync, openSync } from 'node:fs';
import { PAGE_SIZE } from '../address-space.js';
import { allocateNative, ioctl } from './libc.js';

const PAGEMAP_SCAN = 0xc0606610;
const PAGE_IS_PFNZERO = 32;
const REGIONS = 512;
const ARGUMENT_WORDS = 12;
const REGION_WORDS = 3;

/** struct pm_scan_arg, then the regions (start, end, categories: u64 each) that the kernel finds. */
const memory = allocateNative((ARGUMENT_WORDS + REGIONS * REGION_WORDS) * 8);
const words = new BigUint64Array(memory.bytes.buffer, 0, ARGUMENT_WORDS + REGIONS * REGION_WORDS);

/**
 * Adds those of the pages [first, first + count), at most 512, that are the shared zero page. Kernels that cannot tell
 * find none.
 */
export function findZeroPages(pid: number, first: number, count: number, found: Set<number>): void {
  if (count === 0) return;
  let fd: number;
  try {
    fd = openSync(`/proc/${pid}/pagemap`, 'r');
  } catch {
    return;
  }
  const category = BigInt(PAGE_IS_PFNZERO);
  words.fill(0n, 0, ARGUMENT_WORDS);
  words[0] = BigInt(ARGUMENT_WORDS * 8);
  words[2] = BigInt(first * PAGE_SIZE);
  words[3] = BigInt((first + count) * PAGE_SIZE);
  words[5] = BigInt(memory.address + ARGUMENT_WORDS * 8);
  words[6] = BigInt(REGIONS);
  words[9] = category; // category_mask: required
  words[11] = category; // return_mask
  const regions = ioctl(fd, PAGEMAP_SCAN, memory.address);
  closeSync(fd);
  for (let region = 0; region < regions; region++) {
    const at = ARGUMENT_WORDS + region * REGION_WORDS;
    const end = Number(words[at + 1]!) / PAGE_SIZE;
    for (let page = Number(words[at]!) / PAGE_SIZE; page < end; page++) found.add(page);
  }
}
