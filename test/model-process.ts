/** The process whose random calls a plain model of the engine is compared with. */

import { Process } from '../src/conformance/process.js';
import { ProcessMemory } from '../src/conformance/process-memory.js';
import { PAGE_SIZE, READ, WRITE } from '../src/mm/address-space.js';
import type { SimulatedMemory } from '../src/mm/simulated-memory.js';

export const PAGE = 4096n;
/** Its memory: pages that can be written, one that can only be read, one that is not there. */
export const MEMORY = { base: 0x1000_0000n, pages: 24, hole: 13, readOnly: 19 } as const;
export const LOCK_LIMIT_PAGES = 40;
/** A page for the structs of its calls. */
export const ARGUMENTS = 0x2000_0000;

export function modelProcess(memory: SimulatedMemory): Process {
  const mm = ProcessMemory.create(memory, {
    zeroPageUnshared: true,
    lockLimitPages: LOCK_LIMIT_PAGES,
    ipcLock: false,
  });
  const base = Number(MEMORY.base) / PAGE_SIZE;
  mm.mmap(base, MEMORY.pages, 'anon', READ | WRITE);
  mm.space.fillPages(base, MEMORY.pages, 1);
  mm.munmap(base + MEMORY.hole, 1);
  mm.space.mprotect(base + MEMORY.readOnly, 1, READ);
  mm.mmap(ARGUMENTS / PAGE_SIZE, 1, 'anon', READ | WRITE);
  return new Process(mm);
}
