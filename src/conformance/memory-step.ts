/** Steps of a recording that only touch a process's memory and limits. */

import { fail, VfioError } from '../abi/errno.js';
import { MREMAP_FIXED } from '../abi/linux.js';
import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import type { MemoryKind } from '../mm/memory-kind.js';
import type { SimulatedFile } from '../mm/simulated-file.js';
import { type ProcessMemory, pageOf, protection } from './process-memory.js';
import { bytesHex, hexBytes, type VectorMemory, type VectorStep } from './vectors.js';

/**
 * Maps what a case begins with, and fills it where the recording did. Returns the file behind it,
 * or null.
 */
export function setUpMemory(
  mm: ProcessMemory,
  memory: VectorMemory,
  files: ReadonlyMap<string, SimulatedFile>,
): SimulatedFile | null {
  const first = pageOf(memory.addr);
  const count = pagesOf(memory.size);
  const file = memory.fd === undefined ? undefined : files.get(memory.fd.replace(/^_m/, ''));
  const access = memory.fill === undefined ? protection(memory.prot) : READ | WRITE;
  mm.mmap(first, count, memoryKind(memory.kind), access, file, pageOf(memory.offset ?? 0));
  // `page 1 (second) was written before the steps`
  const touched = /^page (\d+) .*was written/.exec(memory.note ?? '')?.[1];
  if (touched !== undefined) mm.space.fillPages(first + Number(touched), 1, 1);
  if (memory.fill !== undefined) {
    mm.space.fillPages(first, count, memory.fill);
    mm.space.mprotect(first, count, protection(memory.prot));
  }
  return mm.space.fileAt(first);
}

/** What a mapping of a file by its descriptor, or of one of the other kinds, is here. */
export function memoryKind(kind: string): MemoryKind {
  if (kind === 'hugetlbMemfd' || kind === 'sharedFd') return 'memfd';
  return (kind === 'privateFd' ? 'memfdPrivate' : kind) as MemoryKind;
}

/** Does a memory step and returns what `out` is; null: it is no memory step. Throws VfioError. */
export function memoryStep(mm: ProcessMemory, step: VectorStep): { readonly out?: string } | null {
  const { space } = mm;
  const first = pageOf(step.addr ?? 0);
  const count = pagesOf(step.size ?? 0);
  switch (step.op) {
    case 'mmap':
      mm.mmap(first, count, memoryKind(step.kind!), protection(step.prot!));
      return {};
    case 'munmap':
      mm.munmap(first, count);
      return {};
    case 'mprotect':
      return check(space.mprotect(first, count, protection(step.prot!)));
    case 'madvise':
      return madvise(mm, step, first, count);
    case 'mlock':
      return check(space.mlock(first, count));
    case 'munlock':
      return check(space.munlock(first, count));
    case 'mremap': {
      const to = (step.flags! & MREMAP_FIXED) !== 0 ? pageOf(step.newAddr!) : null;
      return check(space.mremap(first, pageOf(step.oldSize!), pageOf(step.newSize!), to));
    }
    case 'fill':
      if (!mm.copyTo(Number(step.addr), new Uint8Array(step.size!).fill(step.byte!)))
        fail('EFAULT');
      return {};
    case 'poke':
      if (!mm.copyTo(Number(step.addr), hexBytes(step.in!))) fail('EFAULT');
      return {};
    case 'peek': {
      const bytes = new Uint8Array(step.size!);
      if (!mm.copyFrom(Number(step.addr), bytes)) fail('EFAULT');
      return { out: bytesHex(bytes) };
    }
    case 'setrlimitMemlock':
      space.lockLimitPages = pageOf(step.bytes!);
      return {};
    case 'dropCapIpcLock':
      space.ipcLock = false;
      return {};
    default:
      return null;
  }
}

export function pagesOf(bytes: number): number {
  return Math.ceil(bytes / PAGE_SIZE);
}

/** Numbers of madvise(2)'s advice (asm-generic/mman-common.h). */
export const advices: Readonly<Record<string, number>> = {
  MADV_NORMAL: 0,
  MADV_RANDOM: 1,
  MADV_SEQUENTIAL: 2,
  MADV_WILLNEED: 3,
  MADV_DONTNEED: 4,
  MADV_FREE: 8,
  MADV_REMOVE: 9,
  MADV_DONTFORK: 10,
  MADV_DOFORK: 11,
  MADV_HUGEPAGE: 14,
  MADV_NOHUGEPAGE: 15,
  MADV_WIPEONFORK: 18,
  MADV_KEEPONFORK: 19,
  MADV_COLD: 20,
  MADV_PAGEOUT: 21,
  MADV_POPULATE_READ: 22,
  MADV_POPULATE_WRITE: 23,
};
/** Advice that says how pages will be used, and changes none. */
const hints = [0, 1, 2, 14, 15, 20];
/** Advice that device registers cannot take. */
const notOfDevices = [4, 8, 11, 18, 20, 21];

/** The number of a step's advice. */
export function adviceOf(step: VectorStep): number {
  return step.adviceNr ?? advices[step.advice ?? ''] ?? fail('EINVAL');
}

function madvise(
  mm: ProcessMemory,
  step: VectorStep,
  first: number,
  count: number,
): Record<string, never> {
  const { space } = mm;
  const advice = adviceOf(step);
  if (mm.isOfDevice(first)) return notOfDevices.includes(advice) ? fail('EINVAL') : {};
  switch (advice) {
    case advices['MADV_DONTNEED']:
      return check(space.dontNeed(first, count));
    case advices['MADV_FREE']:
      return check(space.advice.free(first, count));
    case advices['MADV_REMOVE']:
      return check(space.advice.punch(first, count));
    case advices['MADV_DONTFORK']:
      return check(space.advice.setOnFork(first, count, 'leave'));
    case advices['MADV_WIPEONFORK']:
      return check(space.advice.setOnFork(first, count, 'wipe'));
    case advices['MADV_DOFORK']:
    case advices['MADV_KEEPONFORK']:
      return check(space.advice.setOnFork(first, count, 'copy'));
    case advices['MADV_PAGEOUT']:
      space.pageOut(first, count);
      return {};
    case advices['MADV_WILLNEED']:
    case advices['MADV_POPULATE_READ']:
      return populate(mm, first, count, READ);
    case advices['MADV_POPULATE_WRITE']:
      return populate(mm, first, count, WRITE);
    default:
      if (!hints.includes(advice)) throw new Error(`madvise ${advice} is not known`);
      return {};
  }
}

function populate(
  mm: ProcessMemory,
  first: number,
  count: number,
  access: number,
): Record<string, never> {
  const got = mm.pageIn(first, count, access, new Float64Array(count));
  return got === count ? {} : fail(mm.space.isMapped(first + got) ? 'EFAULT' : 'ENOMEM');
}

function check(errno: number): Record<string, never> {
  if (errno !== 0) throw new VfioError(errno);
  return {};
}
