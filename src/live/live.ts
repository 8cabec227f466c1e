/**
 * What a live page is sent, and may ask: the contract between a run, the server that shows it, and
 * the page.
 *
 * The server sends these as server-sent events, each `kind` as the event's name and the whole
 * message as its JSON data. Numbers count from the start of the run, so that a message that a slow
 * browser missed is made up by the next. Bytes count 4 KiB pages; times are seconds since the
 * start.
 */
import type { KeptSample } from './kept-samples.js';

/** First message to each page, and again when it reconnects. */
export interface LiveStart {
  readonly kind: 'start';
  readonly command: 'exec' | 'compare' | 'check';
  /** What the page calls itself: `iopf exec qemu-img`. */
  readonly title: string;
  /**
   * What was asked for, as it is shown: program, arguments, IOPF mode, pre-map, kernel; inputs and
   * policies; scenarios.
   */
  readonly facts: Readonly<Record<string, string | number>>;
}

/** A device of a live run. */
export interface LiveDevice {
  readonly address: string;
  readonly kind: string;
  readonly group: number;
  /** Where its DMA goes, as in `LiveTableEntry`; null: nowhere. */
  readonly space: { readonly container: number; readonly ioas: number | null } | null;
  /** Whether a program has it open, and whether its page requests are on. */
  readonly open: boolean;
  readonly faulting: boolean;
  /** Page requests that wait for their answer. */
  readonly pending: number;
  readonly faults: number;
  readonly dmaBytesRead: number;
  readonly dmaBytesWritten: number;
}

/** What went wrong so far: rows with the names that `iopf exec --json` gives them. */
export interface LiveIncidents {
  readonly refused: readonly LiveIncident[];
  readonly lostInterrupts: readonly LiveIncident[];
  readonly failedCalls: readonly LiveIncident[];
}

export type LiveIncident = Readonly<Record<string, number | string | null>>;

/** A device was reset by its program, or asked for by the host. */
export interface LiveEvent {
  readonly kind: 'reset' | 'unbind' | 'injected';
  /** Of `injected`, the rule that made the fault. */
  readonly device: string;
  readonly seconds: number;
}

/**
 * At most ten a second. The fields with names of `iopf exec --json` mean the same, and end up as
 * the same numbers.
 */
export interface LiveSample {
  readonly kind: 'sample';
  readonly seconds: number;
  /** Now. `mappedBytes` is what static pinning would have pinned. */
  readonly mappedBytes: number;
  readonly residentBytes: number;
  readonly pinnedBytes: number;
  /** Those of a kind that a run cannot know are null. */
  readonly counters: Readonly<Record<string, number | null>>;
  /** Faults by VT-d's buckets. */
  readonly latency: Readonly<Record<string, number>>;
  readonly devices: readonly LiveDevice[];
  readonly incidents: LiveIncidents;
  /** The newest, at most 64. */
  readonly events: readonly LiveEvent[];
  /** The program whose process opened a file of VFIO first, as the kernel names it. */
  readonly user: string | null;
  /**
   * Mapped IOVA ranges, [first byte, bytes], by address; at most 64: neighbours are merged until
   * they fit.
   */
  readonly ranges: readonly (readonly [number, number])[];
}

/** A VFIO call as strace would show it. */
export interface LiveCall {
  /** Counts from 0; a gap means that calls were dropped. */
  readonly number: number;
  readonly seconds: number;
  readonly pid: number;
  /** `ioctl(VFIO_IOMMU_MAP_DMA)`, `openat`, `pread64`, `mmap`. */
  readonly call: string;
  /** The descriptor that it is about; -1 where there is none. */
  readonly descriptor: number;
  /**
   * The whole call but for its result: `ioctl(961</dev/vfio/vfio>, VFIO_IOMMU_MAP_DMA, {argsz=32,
   * …})`.
   */
  readonly text: string;
  /**
   * What it returned; below zero an errno, whose name is `error`. Null: the kernel carried it out,
   * and iopf does not see the result.
   */
  readonly result: number | null;
  readonly error: string | null;
  readonly microseconds: number;
}

/** VFIO calls since the last such message; of many calls the newest are kept. */
export interface LiveCalls {
  readonly kind: 'calls';
  readonly calls: readonly LiveCall[];
  /** All calls so far, those that were dropped included. */
  readonly total: number;
}

/** How far a comparison or a check is. */
export interface LiveProgress {
  readonly kind: 'progress';
  readonly done: number;
  readonly total: number;
  /** What is under way. */
  readonly what: string;
}

/**
 * Results so far, or at the end: what `--html` writes. The page shows it in place of what it showed
 * before.
 */
export interface LiveReport {
  readonly kind: 'report';
  /** `Report` of src/report/html.ts. */
  readonly report: unknown;
}

/** The run has ended; nothing more comes. */
export interface LiveEnd {
  readonly kind: 'end';
  readonly seconds: number;
  /** How it ended, in words: `exit code 0`. */
  readonly how: string;
  /** Of a run: what `iopf exec --json` writes. */
  readonly summary: Readonly<Record<string, unknown>> | null;
}

export type LiveMessage = LiveStart | LiveSample | LiveCalls | LiveProgress | LiveReport | LiveEnd;

/**
 * `GET map?segments=FIRST:PAGES:ROWS,…`: what ranges of IOVA pages look like now; at most 16 of
 * them, with at most 256 rows in all. The page asks for it at most ten times a second, for what it
 * shows.
 */
export interface LiveMap {
  readonly seconds: number;
  /** One for each segment, in their order. */
  readonly columns: readonly LiveMapColumn[];
}

/** A segment in rows of equal width. Each array has one number per row. */
export interface LiveMapColumn {
  readonly first: number;
  /** The range is cut into rows of this many pages, so there may be fewer rows than asked for. */
  readonly pagesPerRow: number;
  /**
   * Pages that share their counts of `touched` and so on: 1, or a power of two once very much has
   * been touched.
   */
  readonly pagesPerCell: number;
  /** Pages of live mappings, and pages in I/O page tables. */
  readonly mapped: readonly number[];
  readonly resident: readonly number[];
  /** Accesses by devices, page requests, and pages taken away, since the start. */
  readonly touched: readonly number[];
  readonly faulted: readonly number[];
  readonly taken: readonly number[];
}

/**
 * `GET table?first=PAGE&pages=N`: entries of the I/O page tables, at most 512 of them, and the
 * mapping around the first page.
 */
export interface LiveTable {
  readonly mapping: {
    readonly iova: number;
    readonly bytes: number;
    readonly vaddr: number;
    readonly permission: string;
    readonly pinned: boolean;
  } | null;
  readonly entries: readonly LiveTableEntry[];
  /** Pages of the range that have no entry. */
  readonly absent: number;
}

export interface LiveTableEntry {
  /** Containers with an IOMMU, and IOAS with a device, count from 0 together. */
  readonly container: number;
  /** Its id in its iommufd, where it is an IOAS; null: it is a container. */
  readonly ioas: number | null;
  /** The domain's number within its container or IOAS. */
  readonly domain: number;
  readonly iova: number;
  /** Where it leads: the process's number (0: it has ended) and its virtual address. */
  readonly pid: number;
  readonly vaddr: number;
  /** `r`, `w`, `rw`. */
  readonly permission: string;
  /** Written since the last report, where the dirty log is on; null where it is off. */
  readonly dirty: boolean | null;
}

/** What a page asks about a run. Pages are IOVA page numbers below 2^36. */
export type LiveQuery =
  | { readonly about: 'map'; readonly segments: readonly LiveSegment[] }
  | { readonly about: 'table'; readonly first: number; readonly pages: number };

/** A range of pages, to be shown in this many rows. */
export interface LiveSegment {
  readonly first: number;
  readonly pages: number;
  readonly rows: number;
}

export const LIVE_PAGES_END = 2 ** 36;
export const LIVE_SEGMENTS_MOST = 16;
/** Of all segments together. */
export const LIVE_ROWS_MOST = 256;
export const LIVE_TABLE_PAGES_MOST = 65_536;
export const LIVE_TABLE_ENTRIES_MOST = 512;

export type LiveAnswer = LiveMap | LiveTable;

/** Answers questions about a run. Null: not available at the moment. */
export interface LiveSource {
  ask(query: LiveQuery): Promise<LiveAnswer | null>;
}

/** What a saved page keeps of a run beside its report, which has its timeline and its map. */
export interface SavedRun {
  readonly start: LiveStart;
  readonly samples: readonly KeptSample[];
  /** The last sample, whole. */
  readonly last: LiveSample | null;
  /** Of many the newest, and the first. */
  readonly calls: readonly LiveCall[];
  /** All calls, those that were dropped included. */
  readonly total: number;
  readonly end: LiveEnd | null;
}
