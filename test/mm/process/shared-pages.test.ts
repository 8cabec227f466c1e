import { expect, test } from 'vitest';
import { FRAMES_PER_SPACE } from '../../../src/mm/process/frames.js';
import { isSameMemory, pinsAt } from '../../../src/mm/process/shared-pages.js';
import type { Area } from '../../../src/mm/process/vmas.js';

/** A space that has one file mapped, from a page of it on; each page is pinned once. */
function space(id: number, first: number, filePage: number, isPrivate = false) {
  const area = { first, end: first + 8, filePage, isPrivate, fileSystem: '0:1', inode: 7 };
  const areaAt = (page: number): Area | null =>
    page >= first && page < first + 8 ? (area as unknown as Area) : null;
  return { id, hasPinned: true, areaAt, areas: () => [areaAt(first)!], ownPins: () => 1 };
}

const frame = (id: number, page: number): number => id * FRAMES_PER_SPACE + page;

test('pages of a shared file are the same memory in whichever space, and pinned in all', () => {
  const one = space(1, 0x100, 0);
  const other = space(2, 0x500, 4);
  const copy = space(3, 0x900, 0, true);
  // Whichever stands first.
  for (const spaces of [
    [one, other, copy],
    [copy, other, one],
  ]) {
    expect(isSameMemory(spaces, frame(1, 0x105), frame(2, 0x501))).toBe(true);
    expect(isSameMemory(spaces, frame(2, 0x501), frame(1, 0x105))).toBe(true);
    expect(isSameMemory(spaces, frame(1, 0x105), frame(2, 0x502))).toBe(false);
    expect(isSameMemory(spaces, frame(1, 0x105), frame(3, 0x905))).toBe(false);
    expect(pinsAt(spaces, one, 0x105)).toBe(2);
    expect(pinsAt(spaces, one, 0x100)).toBe(1);
  }
});
