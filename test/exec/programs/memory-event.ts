/**
 * Takes memory away under a live DMA mapping and lets the device touch it again.
 *
 * Usage: memory-event EVENT. Prints JSON: what the device read afterwards (`read`), and the page's
 * first byte after the device wrote to it (`written`, null where the page cannot be read).
 */

import { spawnSync } from 'node:child_process';
import { EduDriver } from '../../../examples/dma-copy/edu.js';
import { VfioClient } from '../../../examples/dma-copy/vfio.js';
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_READ,
  PROT_WRITE,
} from '../../../src/abi/linux.js';
import {
  allocateNative,
  bytesAt,
  madvise,
  mmap,
  mprotect,
  mremap,
  munmap,
  must,
} from '../../../src/mm/process/libc.js';

const PAGE = 4096;
const IOVA = 0x100000;
const MADV_DONTNEED = 4;
const OLD = 0xaa;
const NEW = 0x55;
const PRIME = 0x77;
const WRITTEN = 0x33;

const vfio = new VfioClient('0000:00:04.0');
const edu = new EduDriver(vfio);
/** Page 0 suffers; pages 1 to 4 carry bytes to and from the device. */
const target = must(
  'mmap',
  mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
);
const carrier = allocateNative(4 * PAGE);
bytesAt(target, PAGE).fill(OLD);
carrier.bytes.fill(PRIME, PAGE, 2 * PAGE);
carrier.bytes.fill(WRITTEN, 2 * PAGE, 3 * PAGE);
vfio.map(target, IOVA, PAGE);
vfio.map(carrier.address, IOVA + PAGE, 4 * PAGE);

/** What the device reads at page 0, by way of its own buffer, which held something else before. */
function deviceRead(): number {
  edu.load(IOVA + 2 * PAGE, PAGE);
  edu.load(IOVA, PAGE);
  edu.store(IOVA + PAGE, PAGE);
  return carrier.bytes[0]!;
}

const fresh = (address: number, flags: number): number =>
  must(
    'mmap',
    mmap(address, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0),
  );

/** Each takes page 0 away in its way and returns where it can be read afterwards, or 0. */
const events: Record<string, () => number> = {
  none: () => target,
  munmap: () => {
    must('munmap', munmap(target, PAGE));
    return 0;
  },
  'munmap and mmap again': () => {
    must('munmap', munmap(target, PAGE));
    const again = fresh(target, MAP_FIXED);
    bytesAt(again, PAGE).fill(NEW);
    return again;
  },
  'mmap fixed': () => {
    const again = fresh(target, MAP_FIXED);
    bytesAt(again, PAGE).fill(NEW);
    return again;
  },
  dontneed: () => {
    must('madvise', madvise(target, PAGE, MADV_DONTNEED));
    return target;
  },
  'mremap away': () => {
    const place = fresh(0, 0);
    must('mremap', mremap(target, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place));
    return 0;
  },
  'mremap over': () => {
    const other = fresh(0, 0);
    bytesAt(other, PAGE).fill(NEW);
    must('mremap', mremap(other, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target));
    return target;
  },
  'mprotect none': () => {
    must('mprotect', mprotect(target, PAGE, 0));
    return 0;
  },
  'mprotect read': () => {
    must('mprotect', mprotect(target, PAGE, PROT_READ));
    return target;
  },
  fork: () => {
    spawnSync('/bin/true');
    bytesAt(target, PAGE).fill(NEW);
    return target;
  },
};

const before = deviceRead();
const place = events[process.argv[2]!]!();
const read = deviceRead();
edu.load(IOVA + 3 * PAGE, PAGE);
edu.store(IOVA, PAGE);
const written = place === 0 ? null : bytesAt(place, PAGE)[0]!;
console.log(JSON.stringify({ before, read, written }));
