/** Why an access was refused, and what lies near it. */
import { formatSize } from '../../input/size.js';
import type { IoSpace } from '../../ioas/io-space.js';
import type { Mapping } from '../../ioas/mapping.js';
import type { MappingIndex } from '../../ioas/mapping-index.js';
import type { RefusalCause } from '../../iommu/incidents.js';
import { PAGE_SIZE, READ } from '../../mm/address-space.js';

export const refusalReasons = [
  'bus mastering off',
  'no IOMMU domain',
  'not mapped',
  'permission',
  'page could not be brought in',
  'answered INVALID',
  'injected',
] as const;

export type RefusalReason = (typeof refusalReasons)[number];

export interface Explanation {
  readonly reason: RefusalReason;
  /** The mapping that is there, or the nearest one; null where none says anything. */
  readonly nearest: string | null;
}

/**
 * Explains the refusal of an access of READ or WRITE at an IOVA, in bytes. `page`: the page of the
 * container that it means, -1 where a guest's table has none for it; `space`: where the device's
 * accesses go, null: nowhere.
 */
export function explain(
  cause: RefusalCause,
  iova: number,
  page: number,
  access: number,
  space: IoSpace | null,
): Explanation {
  if (cause !== 'no translation') return { reason: cause, nearest: null };
  if (space === null) return { reason: 'no IOMMU domain', nearest: null };
  if (page < 0) return { reason: 'not mapped', nearest: "the guest's table has no entry for it" };
  const address = page * PAGE_SIZE + (iova % PAGE_SIZE);
  const mapping = space.mappings.covering(page);
  if (mapping === null)
    return { reason: 'not mapped', nearest: nearestText(space.mappings, address) };
  if ((mapping.permission & access) !== access) {
    const allowed = mapping.permission === READ ? 'read-only' : 'write-only';
    return { reason: 'permission', nearest: `${range(mapping)} is ${allowed}` };
  }
  return { reason: 'page could not be brought in', nearest: `it is mapped by ${range(mapping)}` };
}

/** `4 KiB behind the end of [0x600000, 0x640000)`. */
function nearestText(mappings: MappingIndex, address: number): string {
  const page = Math.floor(address / PAGE_SIZE);
  const before = lastBefore(mappings, page);
  const after = mappings.firstFrom(page);
  const behind = before === null ? Number.POSITIVE_INFINITY : address - before.iovaEnd * PAGE_SIZE;
  const ahead = after === null ? Number.POSITIVE_INFINITY : after.iovaPage * PAGE_SIZE - address;
  if (before !== null && behind <= ahead)
    return behind === 0
      ? `right behind the end of ${range(before)}`
      : `${formatSize(behind)} behind the end of ${range(before)}`;
  if (after !== null) return `${formatSize(ahead)} before ${range(after)}`;
  return 'nothing is mapped';
}

/** The last mapping that ends at `page` or before; the index is asked some 50 times. */
function lastBefore(mappings: MappingIndex, page: number): Mapping | null {
  let found: Mapping | null = null;
  for (let low = 0, high = page; low < high; ) {
    const middle = Math.floor((low + high) / 2);
    const at = mappings.firstFrom(middle);
    if (at === null || at.iovaPage >= page) high = middle;
    else {
      found = at;
      low = at.iovaEnd;
    }
  }
  return found;
}

function range({ iovaPage, iovaEnd }: Mapping): string {
  return `[0x${(iovaPage * PAGE_SIZE).toString(16)}, 0x${(iovaEnd * PAGE_SIZE).toString(16)})`;
}
