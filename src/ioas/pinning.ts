/**
 * Pins of whole mappings, with the locked-memory account (kernel: vfio_pin_pages_remote,
 * vfio_lock_acct).
 *
 * Pages are pinned and accounted one after the other, so that the first that cannot be had decides
 * the errno; then all that was done for the mapping is undone.
 */
import { Errno, VfioError } from '../abi/errno.js';
import type { Domain } from '../iommu/domain.js';
import type { AddressSpace } from '../mm/address-space.js';
import type { Mapping } from './mapping.js';

/** Pages pinned in one call, as the kernel's batch of a page of pointers. */
const BATCH = 512;
const frames = new Float64Array(BATCH);

/**
 * Pins all pages of a mapping and maps them in every domain. Throws ENOMEM or EFAULT; then nothing
 * of it is left.
 */
export function pinWhole(mapping: Mapping, domains: readonly Domain[]): void {
  let done = 0;
  try {
    while (done < mapping.pages) {
      const got = pinBatch(mapping, done);
      mapRuns(domains, mapping.iovaPage + done, got, mapping.permission);
      done += got;
    }
  } catch (error) {
    undo(mapping, domains, done);
    throw error;
  }
  mapping.pinned = true;
}

/** Unmaps a pinned mapping from every domain and drops its pins and its accounting. */
export function unpinWhole(mapping: Mapping, domains: readonly Domain[]): void {
  undo(mapping, domains, mapping.pages);
  mapping.pinned = false;
}

/** Drops the pins and the accounting and leaves the translations (R5.8). */
export function dropPins(mapping: Mapping, domain: Domain): void {
  unpinFrames(mapping, domain, mapping.pages);
  unaccount(mapping);
  mapping.pinned = false;
}

/** Maps what is pinned in one domain in another, too (kernel: vfio_iommu_replay). */
export function replayPins(mapping: Mapping, from: Domain, to: Domain): void {
  for (let done = 0; done < mapping.pages; done += BATCH) {
    const count = Math.min(BATCH, mapping.pages - done);
    for (let i = 0; i < count; i++) frames[i] = from.frameAt(mapping.iovaPage + done + i);
    mapRuns([to], mapping.iovaPage + done, count, mapping.permission);
  }
}

function pinBatch(mapping: Mapping, done: number): number {
  const { mm } = mapping;
  const want = Math.min(BATCH, mapping.pages - done);
  const got = mm.pin(mapping.vaddrPage + done, want, mapping.permission, frames);
  if (got < 0) throw new VfioError(-got);
  const accounted = accountable(mm, frames, got);
  if (!mapping.lockCapability && mm.lockedPages + accounted > mm.lockLimitPages) {
    mm.unpin(frames, got);
    throw new VfioError(Errno.ENOMEM);
  }
  mm.accountLocked(accounted);
  mapping.lockedPages += accounted;
  return got;
}

/** How many of the frames count against the limit: those of ordinary memory. */
export function accountable(mm: AddressSpace, frames: Float64Array, count: number): number {
  if (!mm.isReserved) return count;
  let ordinary = 0;
  for (let i = 0; i < count; i++) if (!mm.isReserved(frames[i]!)) ordinary++;
  return ordinary;
}

function mapRuns(
  domains: readonly Domain[],
  iovaPage: number,
  count: number,
  permission: number,
): void {
  for (let i = 0; i < count; ) {
    let run = 1;
    while (i + run < count && frames[i + run] === frames[i]! + run) run++;
    for (let d = 0; d < domains.length; d++)
      domains[d]!.map(iovaPage + i, frames[i]!, run, permission);
    i += run;
  }
}

function undo(mapping: Mapping, domains: readonly Domain[], pages: number): void {
  if (pages > 0 && domains.length > 0) {
    unpinFrames(mapping, domains[0]!, pages);
    for (let d = 0; d < domains.length; d++) domains[d]!.unmap(mapping.iovaPage, pages);
  }
  unaccount(mapping);
}

function unpinFrames(mapping: Mapping, domain: Domain, pages: number): void {
  for (let done = 0; done < pages; done += BATCH) {
    const count = Math.min(BATCH, pages - done);
    for (let i = 0; i < count; i++) frames[i] = domain.frameAt(mapping.iovaPage + done + i);
    mapping.mm.unpin(frames, count);
  }
}

function unaccount(mapping: Mapping): void {
  mapping.mm.accountLocked(-mapping.lockedPages);
  mapping.lockedPages = 0;
}
