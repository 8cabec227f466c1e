/** Which pages are in memory, of this very process. */
import { expect, test } from 'vitest';
import { allocateNative, madvise, must } from '../../../src/mm/process/libc.js';
import { Pagemap, Presence } from '../../../src/mm/process/pagemap.js';

const PAGE = 4096;
const PAGES = 3000;
const MADV_NOHUGEPAGE = 15;
const MADV_DONTNEED = 4;

/** Fresh memory of which every third page is written, and its first page number. */
function written(): { first: number; address: number; bytes: Uint8Array } {
  const { address, bytes } = allocateNative(PAGES * PAGE);
  must('madvise', madvise(address, PAGES * PAGE, MADV_NOHUGEPAGE));
  for (let page = 0; page < PAGES; page += 3) bytes[page * PAGE] = 1;
  return { first: address / PAGE, address, bytes };
}

/** All pages found, and how many searches that took. */
function pagesOf(
  pagemap: Pagemap,
  presence: Presence,
  first: number,
  most?: number,
): [number[], number] {
  const pages: number[] = [];
  let searches = 0;
  for (let at = first; at < first + PAGES; at = pagemap.stopped) {
    pagemap.find(presence, at, first + PAGES, most);
    searches++;
    for (let region = 0; region < pagemap.count; region++)
      for (let page = pagemap.first[region]!; page < pagemap.end[region]!; page++)
        pages.push(page - first);
  }
  return [pages, searches];
}

const every = (isWanted: (page: number) => boolean): number[] =>
  [...Array(PAGES).keys()].filter(isWanted);

test.each([true, false])(
  'tells written pages from those that never were, with PAGEMAP_SCAN: %s',
  (mayScan) => {
    const pagemap = new Pagemap(process.pid, mayScan);
    const { first, address } = written();
    expect(pagesOf(pagemap, Presence.PRESENT, first)[0]).toEqual(every((page) => page % 3 === 0));
    // More regions than a search has room for.
    const [absent, searches] = pagesOf(pagemap, Presence.ABSENT, first);
    expect(absent).toEqual(every((page) => page % 3 !== 0));
    expect(searches).toBe(2);
    madvise(address, 30 * PAGE, MADV_DONTNEED);
    expect(pagesOf(pagemap, Presence.PRESENT, first)[0]).toEqual(
      every((page) => page % 3 === 0 && page >= 30),
    );
    pagemap.close();
    pagemap.find(Presence.ABSENT, first, first + PAGES);
    expect([pagemap.count, pagemap.stopped]).toEqual([0, first + PAGES]);
  },
);

test.each([true, false])(
  'stops after so many pages, and goes on there, with PAGEMAP_SCAN: %s',
  (mayScan) => {
    const pagemap = new Pagemap(process.pid, mayScan);
    const { first } = written();
    const [present, searches] = pagesOf(pagemap, Presence.PRESENT, first, 100);
    expect(present).toEqual(every((page) => page % 3 === 0));
    expect(searches).toBeGreaterThanOrEqual(PAGES / 3 / 100);
    pagemap.close();
  },
);

test('a process that is gone has no pages', () => {
  const pagemap = new Pagemap(2 ** 22 + 1);
  pagemap.find(Presence.ABSENT, 0, 100);
  expect([pagemap.count, pagemap.stopped]).toEqual([0, 100]);
});
