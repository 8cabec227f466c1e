import type { Observer } from '../iommu/observer.js';
import { PAGE_SIZE } from '../mm/address-space.js';

/** What happens in an engine; addresses and sizes are bytes. */
export type EngineEvent =
  /** A device asks for a page: READ or WRITE. */
  | { readonly kind: 'page-request'; readonly iova: number; readonly access: number }
  /** `code` 0: it may try again, 1: refused. */
  | { readonly kind: 'page-response'; readonly code: number }
  /** Pages come into the I/O page table, or leave it. */
  | { readonly kind: 'map'; readonly iova: number; readonly size: number }
  | { readonly kind: 'unmap'; readonly iova: number; readonly size: number }
  /** Memory of the program goes; `removed` bytes of it were in the I/O page table. */
  | {
      readonly kind: 'invalidate';
      readonly vaddr: number;
      readonly size: number;
      readonly removed: number;
    };

/** @internal */
export function observerOf(tell: (event: EngineEvent) => void): Observer {
  const bytes = (pages: number) => pages * PAGE_SIZE;
  return {
    map: (iovaPage, _frame, count) =>
      tell({ kind: 'map', iova: bytes(iovaPage), size: bytes(count) }),
    unmap(iovaPage, _count, removed) {
      if (removed > 0) tell({ kind: 'unmap', iova: bytes(iovaPage), size: bytes(removed) });
    },
    pageRequest: (_device, iovaPage, access) =>
      tell({ kind: 'page-request', iova: bytes(iovaPage), access }),
    pageResponse: (_device, _pasid, _group, code) => tell({ kind: 'page-response', code }),
    invalidate: (_space, first, count, removed) =>
      tell({
        kind: 'invalidate',
        vaddr: bytes(first),
        size: bytes(count),
        removed: bytes(removed),
      }),
  };
}
