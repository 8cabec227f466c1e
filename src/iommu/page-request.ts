/**
 * Page requests: how a device asks for a page and is answered (PCIe 10.4 page request services;
 * kernel: iommu_fault).
 *
 * Terms: a *page request group* is what a device asks at once: partial requests and one with the
 * *last* flag. It is named by device, PASID and group id, and is answered once. The *level* says
 * which page table lacks the page: a device with one table is `flat`, with two `stage1` (the
 * guest's) and `stage2` (the container's).
 */
import type { Flow } from '../flow/flow.js';
import type { Domain } from './domain.js';
import type { Iotlb } from './iotlb.js';

/** Access bits of a request beyond READ (1) and WRITE (2) of mm/address-space. */
export const EXEC = 4;
export const PRIVILEGED = 8;

export const NO_PASID = -1;

export type FaultLevel = 'flat' | 'stage1' | 'stage2';

/** A fault that a device reports (R1.1). */
export interface Fault {
  /** `unrecoverable`: the access failed already; reported, never answered. */
  readonly kind: 'page-request' | 'unrecoverable';
  readonly iovaPage: number;
  /** READ, WRITE, EXEC, PRIVILEGED. */
  readonly access: number;
  /** Process address space id, or NO_PASID. */
  readonly pasid: number;
  /** Page request group id, 0 to 511. */
  readonly group: number;
  /** Ends its group. */
  readonly last: boolean;
  readonly level: FaultLevel;
  /** The address in bytes, where it is told to the byte; else the page begins there. */
  readonly address?: bigint;
}

/** The answer to a page request group, as IOMMU_PAGE_RESP_*. */
export const PageResponse = {
  /** The page is there: try again. */
  SUCCESS: 0,
  /** There is no such page, or no such permission: give up this access. */
  INVALID: 1,
  /** Something failed: give up, and ask no more. */
  FAILURE: 2,
} as const;

export type PageResponseCode = (typeof PageResponse)[keyof typeof PageResponse];

/** What `DeviceFaultHandler.answer` returns where the page cannot be had without waiting. */
export const WAITS = -1;

/** A device that asks for pages, as its fault handlers see it. */
export interface FaultingDevice {
  /** `0000:02:00.0` */
  readonly address: string;
  /** The page table that its page requests are about. */
  readonly domain: Domain | null;
  readonly group: { mayFault(iovaPage: number): boolean } | null;
  readonly iotlb: Iotlb;
  /** Resumes parked page requests, each as far as it gets. */
  resumeParked(): void;
}

/** Requests that are answered together. */
export interface PageRequestGroup {
  readonly device: FaultingDevice;
  readonly pasid: number;
  readonly group: number;
  readonly level: FaultLevel;
  /** In the order of their arrival; the last one has the last flag. */
  readonly requests: readonly Fault[];
}

/** Which faults a handler wants: FLAT alone, or stages of a nested device (R1.2). */
export const FaultReport = { FLAT: 1, STAGE1: 2, STAGE2: 4 } as const;

/**
 * Handles the page requests of one page table. Its answer reaches the device exactly once; until
 * then the device's access waits.
 */
export interface DeviceFaultHandler {
  /**
   * Hot: answers a single request without PASID where nothing has to be waited for, else returns
   * WAITS and has changed nothing. Allocates nothing.
   */
  answer(device: FaultingDevice, iovaPage: number, access: number): PageResponseCode | typeof WAITS;
  /** Answers a group, waiting where it must. */
  handle(group: PageRequestGroup): Flow<PageResponseCode>;
  /**
   * The page that an IOVA translates to is gone without a notification: no translation to it is
   * left on return.
   */
  pageLost(device: FaultingDevice, iovaPage: number): void;
  /**
   * The device asks no more: all that is unanswered is INVALID now, so that a drain ends. Present
   * where a program answers, and only there: such a page request can wait for ever, so the device
   * must be one that stalls.
   */
  abandoned?(device: FaultingDevice): void;
}

/** What reporting a fault came to. */
export interface ReportResult {
  /**
   * 0, or the errno for the reporter: EOPNOTSUPP (nobody asked for this level, R1.3), EINVAL
   * (malformed).
   */
  readonly errno: number;
  /**
   * The group's answer, or null: a partial request waits for the rest of its group, an
   * unrecoverable fault is not answered.
   */
  readonly code: PageResponseCode | null;
}
