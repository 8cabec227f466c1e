/**
 * When an I/O address space is switched to IOPF: as soon as it has an IOMMU and at each attach,
 * only when the program asks, or never (docs/iopf-abi.md).
 */
export type IopfMode = 'auto' | 'ask' | 'off';
