import { describe, expect, it } from 'vitest';
import {
  AdaptivePremap,
  FixedPremap,
  PREMAP_DEFAULT,
  PREMAP_MOST,
} from '../../../src/ioas/iopf/premap.js';

/** Windows of faults that each follow the window before. */
function sequential(premap: AdaptivePremap, from: number, faults: number): number[] {
  const windows: number[] = [];
  let page = from;
  for (let fault = 0; fault < faults; fault++) {
    const pages = premap.pagesAt(page);
    windows.push(pages);
    page += pages;
  }
  return windows;
}

describe('the fixed window', () => {
  it('is as large as was said, up to 512 pages', () => {
    expect([PREMAP_DEFAULT, PREMAP_MOST]).toEqual([1, 512]);
    expect(new FixedPremap(1).pagesAt()).toBe(1);
    expect(new FixedPremap(512).pagesAt()).toBe(512);
  });

  it.each([0, -1, 1.5, 513, 100_000, Number.NaN])('is never %d pages', (pages) => {
    expect(() => new FixedPremap(pages)).toThrow(
      `pre-map ${pages}: a number of pages from 1 to 512 is needed`,
    );
  });
});

describe('the adaptive window', () => {
  it('doubles on a sequential run up to the most', () => {
    expect(sequential(new AdaptivePremap(64), 1000, 7)).toEqual([4, 8, 16, 32, 64, 64, 64]);
  });

  it('goes on with a fault within a window behind the last one, and no further', () => {
    const within = new AdaptivePremap(64);
    expect([within.pagesAt(100), within.pagesAt(107)]).toEqual([4, 8]);
    const further = new AdaptivePremap(64);
    expect([further.pagesAt(100), further.pagesAt(108)]).toEqual([4, 4]);
    const before = new AdaptivePremap(64);
    expect([before.pagesAt(100), before.pagesAt(103)]).toEqual([4, 4]);
  });

  it('follows several streams at once', () => {
    const premap = new AdaptivePremap(64);
    let left = 0;
    let right = 100_000;
    for (let i = 0; i < 5; i++) {
      left += premap.pagesAt(left);
      right += premap.pagesAt(right);
    }
    expect(premap.pagesAt(left)).toBe(64);
    expect(premap.pagesAt(right)).toBe(64);
  });

  it('begins twice as large after a stream that went on beyond its first window', () => {
    const premap = new AdaptivePremap(64);
    expect(sequential(premap, 0, 4)).toEqual([4, 8, 16, 32]);
    expect(sequential(premap, 100_000, 1)).toEqual([8]);
    expect(sequential(premap, 200_000, 2)).toEqual([8, 16]);
    expect(sequential(premap, 300_000, 1)).toEqual([16]);
  });

  it('shrinks to the page that faulted where windows are not used, and grows again where they are', () => {
    const premap = new AdaptivePremap(64);
    let last = 0;
    for (let i = 0; i < 100; i++) last = premap.pagesAt(1_000_000 + i * 10_000);
    expect(last).toBe(1);
    expect(sequential(premap, 5, 4)).toEqual([1, 2, 4, 8]);
    for (let i = 1; i < 40; i++) sequential(premap, i * 1_000_000_000, 3);
    expect(premap.pagesAt(77_000_000_000)).toBe(32);
  });
});
