/** File systems behind a process's mappings, as far as pins ask for them. */
import { textOf } from './proc.js';

/** File systems whose pages are memory and no cache of anything (kernel: mapping_can_writeback). */
const inMemory: ReadonlySet<string> = new Set(['tmpfs', 'ramfs', 'hugetlbfs', 'devtmpfs']);

/**
 * Whether a file system must hear of writes to its pages (kernel: vma_needs_dirty_tracking).
 * `device`: `major:minor`, as maps has it. One that is mounted nowhere is the kernel's own: memfd,
 * System V and anonymous shared memory.
 */
export function tracksDirtyPages(task: number, device: string): boolean {
  if (!device.startsWith('0:')) return true;
  for (const line of textOf(`/proc/${task}/mountinfo`).split('\n')) {
    const [before, after] = line.split(' - ');
    if (before?.split(' ', 3)[2] === device) return !inMemory.has(after!.split(' ', 1)[0]!);
  }
  return false;
}
