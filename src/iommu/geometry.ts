/** What an IOMMU can address, and what it keeps for itself. */

/** A range of IOVA pages that no mapping may touch (kernel: iommu_resv_region). */
export interface ReservedRegion {
  readonly firstPage: number;
  readonly pages: number;
  /**
   * `msi`: interrupts are written there; `direct`: mapped one to one for firmware; `reserved`: the
   * platform's.
   */
  readonly kind: 'msi' | 'direct' | 'reserved';
}

export interface IommuProperties {
  /** Width of an IOVA in bits, 32 to 48. */
  readonly addressWidth: number;
  /**
   * Sizes of page-table entries: bit n is set where 2^n bytes is one, as the kernel's
   * pgsize_bitmap.
   */
  readonly pageSizes: number;
  readonly reserved: readonly ReservedRegion[];
  /** Whether no-snoop accesses can be forced to be coherent (IOMMU_CAP_ENFORCE_CACHE_COHERENCY). */
  readonly snoopControl: boolean;
  /** Entries that are not present may be cached (VT-d's caching mode). */
  readonly cachingMode?: boolean;
  /** A guest's own first stage can go before a page table (VT-d's nested translation). */
  readonly nests?: boolean;
  /** Whether interrupts are remapped: without it VFIO needs `allow_unsafe_interrupts`. */
  readonly interruptRemapping: boolean;
}

export const PAGE_4K = 0x1000;
export const PAGE_2M = 0x20_0000;
export const PAGE_1G = 0x4000_0000;

/** The x86 interrupt window 0xfee00000–0xfeefffff. */
const MSI_WINDOW: ReservedRegion = { firstPage: 0xfee00, pages: 0x100, kind: 'msi' };

/** VT-d with 48 bits: the vectors' main machine. */
export const defaultGeometry: IommuProperties = {
  addressWidth: 48,
  pageSizes: PAGE_4K | PAGE_2M | PAGE_1G,
  reserved: [MSI_WINDOW],
  snoopControl: false,
  interruptRemapping: true,
};

/** One more than the last IOVA page. */
export function apertureEnd(geometry: IommuProperties): number {
  return 2 ** (geometry.addressWidth - 12);
}

/** Whether devices behind these IOMMUs can share a page table. */
export function areAlike(a: IommuProperties, b: IommuProperties): boolean {
  return (
    a.addressWidth === b.addressWidth &&
    a.pageSizes === b.pageSizes &&
    a.snoopControl === b.snoopControl
  );
}
