/** What is made of another tool's file: the events of a recording, and what was assumed. */
import { UserError } from '../../input/user-error.js';
import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import type { RecordedEvent } from '../../trace/recording.js';
import { PAGE_END, RUN_MOST } from '../../trace/recording-format.js';
import { RAM_ADDRESS, RAM_IOVA } from '../memory-layout.js';

export interface Imported {
  /** `an I/O log of fio, version 3` */
  readonly what: string;
  /** What the file does not say, a sentence each. */
  readonly assumptions: readonly string[];
  readonly events: readonly RecordedEvent[];
}

/** A device reaches pages; microseconds from any beginning. */
export interface ImportedAccess {
  readonly time: number;
  readonly page: number;
  readonly count: number;
  /** READ or WRITE of memory, as the device sees it. */
  readonly access: number;
}

const SPACE = 1;
/** Stretches of memory with a smaller gap between them are one mapping. */
const GAP_PAGES = 512;

export const byTime = (a: { time: number }, b: { time: number }): number => a.time - b.time;

export function mapEvent(iovaPage: number, pages: number, vaddrPage: number): RecordedEvent {
  return {
    kind: 'map',
    time: 0,
    iovaPage,
    pages,
    vaddrPage,
    permission: READ | WRITE,
    pinned: false,
    space: SPACE,
  };
}

export function invalidateEvent(time: number, first: number, count: number): RecordedEvent {
  return { kind: 'invalidate', time, space: SPACE, first, count, reclaimed: false };
}

/** The accesses, no run longer than a recording can have. */
export function accessEvents(time: number, page: number, count: number, access: number) {
  const events: RecordedEvent[] = [];
  for (let done = 0; done < count; done += RUN_MOST) {
    const part = Math.min(RUN_MOST, count - done);
    events.push({ kind: 'access', time, iovaPage: page + done, count: part, access });
  }
  return events;
}

/** The pages that bytes at an address touch. Null: they lie outside of 48 bits. */
export function pagesAt(address: number, bytes: number): { page: number; count: number } | null {
  const page = Math.floor(address / PAGE_SIZE);
  const end = Math.ceil((address + Math.max(1, bytes)) / PAGE_SIZE);
  return end > PAGE_END ? null : { page, count: end - page };
}

/** Mappings around what is accessed, whose memory lies one behind the other in the program. */
export class MappingsAround {
  readonly events: readonly RecordedEvent[];
  private readonly stretches: { first: number; end: number; vaddr: number }[] = [];

  constructor(accesses: readonly ImportedAccess[]) {
    const sorted = [...accesses].sort((a, b) => a.page - b.page);
    for (const { page, count } of sorted) {
      const last = this.stretches.at(-1);
      if (last !== undefined && page <= last.end + GAP_PAGES)
        last.end = Math.max(last.end, page + count);
      else this.stretches.push({ first: page, end: page + count, vaddr: 0 });
    }
    let vaddr = RAM_ADDRESS;
    for (const stretch of this.stretches) {
      stretch.vaddr = vaddr;
      vaddr += stretch.end - stretch.first;
    }
    if (vaddr > PAGE_END / 2)
      throw new UserError('the accesses are spread over more memory than a program can have');
    this.events = this.stretches.map(({ end, first, vaddr: at }) =>
      mapEvent(first, end - first, at),
    );
  }

  /** The program's pages behind [page, page + count), as far as they are mapped. */
  invalidations(time: number, page: number, count: number): RecordedEvent[] {
    return this.stretches.flatMap(({ end, first, vaddr }) => {
      const from = Math.max(page, first);
      const to = Math.min(page + count, end);
      return from < to ? [invalidateEvent(time, vaddr + from - first, to - from)] : [];
    });
  }
}

/** `Mapped for DMA: …` */
export const MAPPED_AROUND =
  'mapped for DMA is what was accessed, with gaps below 2 MiB, from the beginning on';

/** Times from 0 on, in order; says where lines were not in order. */
export function inOrder<T extends { time: number }>(
  items: readonly T[],
): { readonly items: readonly T[]; readonly notes: readonly string[] } {
  const wasInOrder = items.every(
    ({ time }, index) => index === 0 || time >= items[index - 1]!.time,
  );
  const sorted = wasInOrder ? items : [...items].sort(byTime);
  const start = sorted[0]?.time ?? 0;
  return {
    items: sorted.map((item) => ({ ...item, time: item.time - start })),
    notes: wasInOrder ? [] : ['lines were not in order of time, and were put so'],
  };
}

/** A command of a disk: bytes at an offset of it. */
export interface DiskCommand {
  readonly time: number;
  readonly disk: string;
  readonly offset: number;
  readonly bytes: number;
  readonly isRead: boolean;
}

/**
 * Block traces do not know memory: each block of the disk gets its page of a page cache, and where
 * that is full the page that came first.
 */
export function throughPageCache(
  what: string,
  commands: readonly DiskCommand[],
  cacheBytes: number,
): Imported {
  const ordered = inOrder(commands);
  const pages = Math.max(1, Math.floor(cacheBytes / PAGE_SIZE));
  const places = new Map<string, number>();
  let next = 0;
  const events: RecordedEvent[] = [];
  for (const { bytes, disk, isRead, offset, time } of ordered.items) {
    const first = Math.floor(offset / PAGE_SIZE);
    const end = Math.ceil((offset + bytes) / PAGE_SIZE);
    for (let block = first; block < end; ) {
      const from = placeOf(disk, block);
      let count = 1;
      while (
        block + count < end &&
        from + count < pages &&
        placeOf(disk, block + count) === from + count
      )
        count++;
      // What is read from the disk is written to memory.
      events.push(...accessEvents(time, RAM_IOVA + from, count, isRead ? WRITE : READ));
      block += count;
    }
  }
  function placeOf(disk: string, block: number): number {
    const key = `${disk}:${block}`;
    let place = places.get(key);
    if (place === undefined) {
      place = next++ % pages;
      places.set(key, place);
    }
    return place;
  }
  const used = Math.min(pages, next);
  return {
    what,
    assumptions: [
      'each block of 4 KiB of a disk has its own page of memory, in the order of first use',
      ...(next > pages
        ? [`there are ${pages} such pages (--memory), and blocks beyond that share them in turn`]
        : []),
      'all of that memory is mapped for DMA from the beginning on',
      'queues and lists of the disk are left out',
      ...ordered.notes,
    ],
    events: [mapEvent(RAM_IOVA, Math.max(1, used), RAM_ADDRESS), ...events],
  };
}
