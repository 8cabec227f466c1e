/** Steps of a recording that only touch a process's memory and limits. */
import { fail, VfioError } from '../../src/abi/errno.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import type { MemoryKind } from '../../src/mm/memory-kind.js';
import type { SimulatedFile } from '../../src/mm/simulated-file.js';
import { type ProcessMemory, pageOf, protection } from './process-memory.js';
import { bytesHex, hexBytes, type VectorMemory, type VectorStep } from './vectors.js';

const MREMAP_FIXED = 2;

/**
 * Maps what a case begins with, and fills it where the recording did. Returns the file behind it,
 * or null.
 */
export function setUpMemory(mm: ProcessMemory, memory: VectorMemory): SimulatedFile | null {
  const first = pageOf(memory.addr);
  const count = pagesOf(memory.size);
  const kind = (memory.kind === 'hugetlbMemfd' ? 'memfd' : memory.kind) as MemoryKind;
  mm.mmap(first, count, kind, memory.fill === undefined ? protection(memory.prot) : READ | WRITE);
  // `page 1 (second) was written before the steps`
  const touched = /^page (\d+) .*was written/.exec(memory.note ?? '')?.[1];
  if (touched !== undefined) mm.space.fillPages(first + Number(touched), 1, 1);
  if (memory.fill !== undefined) {
    mm.space.fillPages(first, count, memory.fill);
    mm.space.mprotect(first, count, protection(memory.prot));
  }
  return mm.space.fileAt(first);
}

/** Does a memory step and returns what `out` is; null: it is no memory step. Throws VfioError. */
export function memoryStep(
  mm: ProcessMemory,
  files: ReadonlyMap<string, SimulatedFile>,
  step: VectorStep,
): { readonly out?: string } | null {
  const { space } = mm;
  const first = pageOf(step.addr ?? 0);
  const count = pagesOf(step.size ?? 0);
  switch (step.op) {
    case 'mmap':
      mm.mmap(first, count, step.kind as MemoryKind, protection(step.prot!));
      return {};
    case 'munmap':
      mm.munmap(first, count);
      return {};
    case 'mprotect':
      return check(space.mprotect(first, count, protection(step.prot!)));
    case 'madvise':
      return madvise(mm, step.advice!, first, count);
    case 'mlock':
      return check(space.mlock(first, count));
    case 'munlock':
      return check(space.munlock(first, count));
    case 'mremap': {
      const to = (step.flags! & MREMAP_FIXED) !== 0 ? pageOf(step.newAddr!) : null;
      return check(space.mremap(first, pageOf(step.oldSize!), pageOf(step.newSize!), to));
    }
    case 'ftruncate':
      files.get(step.mem!)!.truncate(count);
      return {};
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

function madvise(
  mm: ProcessMemory,
  advice: string,
  first: number,
  count: number,
): Record<string, never> {
  if (advice === 'MADV_DONTNEED') return check(mm.space.dontNeed(first, count));
  if (advice !== 'MADV_PAGEOUT') throw new Error(`madvise ${advice} is not known`);
  mm.space.pageOut(first, count);
  return {};
}

function check(errno: number): Record<string, never> {
  if (errno !== 0) throw new VfioError(errno);
  return {};
}
