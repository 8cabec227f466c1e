import type { Domain } from '../iommu/domain.js';
import type { Mapping } from './mapping.js';
import { PageBitmap } from './page-bitmap.js';

/**
 * What devices may have written since the last report, by mapping (R6.3).
 *
 * A log is of one domain (iommufd logs per HWPT), or of all of a space (a type1 container). Every
 * mapping of the space has a bitmap in it.
 */
export class DirtyLog {
  private readonly bitmaps = new Map<Mapping, PageBitmap>();

  constructor(
    /** Whose devices' writes it has; null: those of every domain. */
    readonly domain: Domain | null = null,
  ) {}

  /** The pages of a mapping that were written, by their place in it. */
  of(mapping: Mapping): PageBitmap {
    return this.bitmaps.get(mapping)!;
  }

  /** The space has a mapping more. */
  add(mapping: Mapping): void {
    this.bitmaps.set(mapping, new PageBitmap(mapping.pages));
  }

  remove(mapping: Mapping): void {
    this.bitmaps.delete(mapping);
  }
}

/**
 * Pages [first, first + count) of a mapping may have been written: by devices of one domain, or by
 * anybody (null).
 */
export function noteWritten(
  logs: readonly DirtyLog[],
  mapping: Mapping,
  first: number,
  count: number,
  domain: Domain | null = null,
): void {
  for (let i = 0; i < logs.length; i++) {
    const log = logs[i]!;
    if (domain === null || log.domain === null || log.domain === domain)
      log.of(mapping).set(first, count);
  }
}
