/** What a DMA port goes through: the function's IOMMU, and faults on purpose. */
import type { Asker, RefusalCause } from '../iommu/incidents.js';

/** A function's view of its IOMMU, as far as DMA needs it; `iommu/device.ts` is one. */
export interface Translator {
  /** Where the bytes that were moved are counted. */
  readonly counters: { dmaBytesRead: number; dmaBytesWritten: number };
  /** The same for this function alone. */
  dmaBytesRead: number;
  dmaBytesWritten: number;
  /** The frame behind an IOVA page for this access, or -1. */
  translate(iovaPage: number, access: number): number;
  /**
   * Reports a page request; true: it was answered SUCCESS and the access may be tried again (R2.1).
   */
  fault(iovaPage: number, access: number): boolean;
  /**
   * The page request that an access must wait for because a program answers it; null where it need
   * not wait and `fault` handles it (R8.1). Absent: no program answers.
   */
  request?(iovaPage: number, access: number): StalledRequest | null;
  /** Whether a program answers page requests. Absent: none does. */
  readonly asksProgram?: boolean;
  /** The page of the container that an access goes to, where a guest's table lies before it. */
  stage2Page?(iovaPage: number, access: number): number;
  /** The page behind a translation went away unnoticed: the IOMMU drops the translation. */
  pageLost(iovaPage: number): void;
  /** Told of each access that is refused; the IOVA is in bytes. */
  refused?(iova: number, access: number, cause: RefusalCause, asker: Asker): void;
  /** Called with the pages that are reached or refused, when recording. */
  readonly observer?: {
    accessed?(iovaPage: number, access: number, refused: boolean): void;
  } | null;
}

/** A page request that waits for a program: `result` is null, later whether to try again. */
export interface StalledRequest {
  readonly result: boolean | null;
}

/** Looks at a transfer before it begins: faults on purpose. */
export interface DmaGate {
  /** An access of `length` bytes, within a page, at an IOVA begins. True: it is refused. */
  refuses(iova: number, length: number, access: number): boolean;
}
