/** What paths rely on in the middle of an operation (`Wait.reliesOn`), as numbers. */
import { PageIn } from '../../ioas/iopf/page-in.js';
import { QueuedGroup } from '../../iommu/fault-queue.js';
import { Unsound } from '../verify/unsound.js';

/** A digest of what a path relies on, as it stands now; 0: nothing. */
export function digestOfReliedOn(reliedOn: object | null): number {
  if (reliedOn === null) return 0;
  if (reliedOn instanceof PageIn) return digestOfPageIn(reliedOn);
  if (reliedOn instanceof QueuedGroup)
    return reliedOn.cookie * 32 + (reliedOn.code === null ? 0 : reliedOn.code + 1);
  throw new Unsound(`a path relies on what no state tells: ${reliedOn.constructor.name}`);
}

/** What it has got, and what it may lose it by; 0 once all of it must be had again. */
function digestOfPageIn(pageIn: PageIn): number {
  if (pageIn.isLost) return 0;
  const { window, got, granted, isValid, frames } = pageIn;
  let high = ((window * 1024 + got) * 4 + granted) * 2 + (isValid ? 1 : 0);
  let low = 1;
  for (let i = 0; i < got; i++) {
    const frame = frames![i]!;
    high = Math.imul(high ^ frame, 0x9e3779b1);
    low = Math.imul(low + frame, 0x85ebca6b) ^ (high >>> 15);
  }
  return (high >>> 11) * 0x100000000 + (low >>> 0) + 1;
}
