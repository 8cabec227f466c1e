/**
 * What recorded cases need that is not there: they are neither replayed nor skipped in silence, but
 * counted by name.
 */
import type { VectorCase } from './vectors.js';

/** What a case needs, or null: it is replayed. */
export function notYet({ steps }: VectorCase): string | null {
  const openings = new Set(steps.filter(({ path }) => path === '/dev/iommu').map(({ as }) => as));
  const maps = steps.some(({ op, fd, errno }) => op === 'mmap' && openings.has(fd) && !errno);
  return maps ? 'the pages of a virtual IOMMU, mapped by the program' : null;
}
