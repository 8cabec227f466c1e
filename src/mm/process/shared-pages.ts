/**
 * Pages that are the same memory under several numbers: those of a shared file, in whatever space
 * and at whatever address.
 */
import { FRAMES_PER_SPACE } from './frames.js';
import type { Area } from './vmas.js';

/** What is asked of a space. */
interface Space {
  readonly id: number;
  readonly hasPinned: boolean;
  areaAt(page: number): Area | null;
  areas(): readonly Area[];
  ownPins(page: number): number;
}

interface FilePage {
  readonly file: string;
  readonly page: number;
}

const fileOf = ({ fileSystem, inode }: Area): string => `${fileSystem} ${inode}`;

/** How often a page of a space is pinned, under all of its numbers. */
export function pinsAt(spaces: readonly Space[], space: Space, page: number): number {
  let pins = space.ownPins(page);
  const shared = sharedPage(space, page);
  if (shared === null) return pins;
  for (const other of spaces)
    if (other !== space && other.hasPinned) pins += pinsOfFile(other, shared);
  return pins;
}

export function isSameMemory(spaces: readonly Space[], frame: number, other: number): boolean {
  const [one, two] = [filePageOf(spaces, frame), filePageOf(spaces, other)];
  return one !== null && two !== null && one.file === two.file && one.page === two.page;
}

function filePageOf(spaces: readonly Space[], frame: number): FilePage | null {
  const id = Math.floor(frame / FRAMES_PER_SPACE);
  for (const space of spaces)
    if (space.id === id) return sharedPage(space, frame - id * FRAMES_PER_SPACE);
  return null;
}

/** The file behind a page and the page of it, where they are shared; else null. */
function sharedPage(space: Space, page: number): FilePage | null {
  const area = space.areaAt(page);
  if (area === null || area.isPrivate || area.filePage < 0) return null;
  return { file: fileOf(area), page: area.filePage + page - area.first };
}

function pinsOfFile(space: Space, { file, page }: FilePage): number {
  let pins = 0;
  for (const area of space.areas()) {
    if (area.isPrivate || area.filePage < 0 || fileOf(area) !== file) continue;
    const at = area.first + page - area.filePage;
    if (at >= area.first && at < area.end) pins += space.ownPins(at);
  }
  return pins;
}
