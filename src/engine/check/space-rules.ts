/** What the engine asks of an address space: each rule throws `Broken` where one does not do so. */
import type { Random } from '../../abi/random.js';
import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import { randomProgram } from './random-program.js';
import { EFAULT, FIRST, Listener, must, PAGES, RW, type SpaceBench } from './space-bench.js';

export interface SpaceRule {
  readonly name: string;
  readonly check: (bench: SpaceBench, random: Random) => void;
}

const FRAME_END = 2 ** 52;

export const spaceRules: readonly SpaceRule[] = [
  { name: 'numbers', check: hasNumbers },
  { name: 'copies', check: copies },
  { name: 'page-in', check: pagesIn },
  { name: 'frames', check: framesHold },
  { name: 'munmap', check: tellsOfMunmap },
  { name: 'discard', check: tellsOfDiscard },
  { name: 'mprotect', check: tellsOfProtect },
  { name: 'subscriptions', check: subscriptionsEnd },
  { name: 'exit', check: releasesAll },
  { name: 'pins', check: pins },
  { name: 'account', check: accounts },
  { name: 'random program', check: randomProgram },
];

function hasNumbers({ space }: SpaceBench): void {
  const { id, lockLimitPages, taskSize } = space;
  must(Number.isInteger(id) && id >= 0 && id < 4096, `its id is ${id}, not 0 to 4095`);
  must(taskSize > 0 && taskSize % PAGE_SIZE === 0, `taskSize is ${taskSize}, not whole pages`);
  must(lockLimitPages >= 0, `lockLimitPages is ${lockLimitPages}`);
}

function copies({ host, space }: SpaceBench): void {
  host.mmap(FIRST, 2, RW);
  host.mmap(FIRST + 2, 1, READ);
  const at = FIRST * PAGE_SIZE;
  const bytes = Uint8Array.from({ length: 300 }, (_, index) => index);
  const back = new Uint8Array(300);
  const across = at + PAGE_SIZE - 100;
  must(space.copyFrom(across, back), 'fresh memory cannot be read');
  must(
    back.every((byte) => byte === 0),
    'fresh memory does not read as zeros',
  );
  must(space.copyTo(across, bytes), 'memory cannot be written across two pages');
  must(space.copyFrom(across, back), 'memory cannot be read across two pages');
  must(
    back.every((byte, index) => byte === bytes[index]),
    'what is read is not what was written',
  );
  const readOnly = at + 2 * PAGE_SIZE;
  must(!space.copyTo(readOnly, bytes), 'a page that may be read alone is written');
  must(space.copyFrom(readOnly, back), 'a page that may be read alone cannot be read');
  must(
    back.every((byte) => byte === 0),
    'a write that was refused has changed memory',
  );
  const hole = at + 3 * PAGE_SIZE;
  must(!space.copyFrom(hole - 10, back), 'a copy reaches into what is not mapped');
  must(!space.copyTo(hole, bytes), 'what is not mapped is written');
  must(!space.copyFrom(space.taskSize, back), 'what lies at taskSize is read');
}

function pagesIn(bench: SpaceBench): void {
  const { frames, host } = bench;
  host.mmap(FIRST, 4, RW);
  host.mmap(FIRST + 4, 1, READ);
  const got = bench.pageIn(FIRST, 4, WRITE);
  must(got === 4, `pageIn of 4 pages that may be written brings in ${got}`);
  const found = [...frames.subarray(0, 4)];
  for (const frame of found)
    must(Number.isInteger(frame) && frame >= 0 && frame < FRAME_END, `${frame} is no frame number`);
  must(new Set(found).size === 4, 'two pages that may be written have one frame');
  const some = bench.pageIn(FIRST + 2, 4, WRITE);
  must(some === 2, `pageIn brings in ${some} pages where the third of them may not be written`);
  const few = bench.pageIn(FIRST + 3, 4, READ);
  must(few === 2, `pageIn brings in ${few} pages where the third of them is not mapped`);
  must(
    bench.pageIn(FIRST + 4, 1, WRITE) === 0,
    'a page that may be read alone is brought in to write',
  );
  must(bench.pageIn(FIRST + 5, 1, READ) === 0, 'a page that is not mapped is brought in');
}

/** A frame is a page's until the page is invalidated. */
function framesHold(bench: SpaceBench): void {
  const { host, space } = bench;
  host.mmap(FIRST, 1, RW);
  const listener = new Listener(space);
  const toRead = bench.frame(FIRST, READ);
  must(bench.frame(FIRST, READ) === toRead, 'a page has another frame, and nobody was told');
  must(bench.write(FIRST, 7), 'a page that is brought in to read cannot be written');
  const toWrite = bench.frame(FIRST, WRITE);
  must(
    toWrite === toRead || listener.heardOf(FIRST),
    'a write of the program puts another frame behind a page, and nobody was told',
  );
  must(bench.frame(FIRST, READ) === toWrite, 'a page has one frame to read and another to write');
  must(bench.read(FIRST) === 7, 'a page has lost what was written');
}

/** Does what takes `count` pages away, of which all are brought in. */
function takes(bench: SpaceBench, verb: string, take: () => void): Listener {
  const { space } = bench;
  for (let page = FIRST; page < FIRST + 4; page++) {
    bench.write(page, 5);
    bench.frame(page, WRITE);
  }
  const listener = new Listener(space);
  const before = space.invalidations;
  let early = true;
  let counted = true;
  listener.whenTold = () => {
    const { told } = listener;
    const { first } = told[told.length - 1]!;
    if (first >= FIRST && first < FIRST + 4 && bench.read(first) !== 5) early = false;
    if (space.invalidations === before) counted = false;
  };
  take();
  listener.whenTold = null;
  for (let page = FIRST + 1; page < FIRST + 3; page++)
    must(listener.heardOf(page), `${verb} takes pages away, and nobody was told`);
  must(early, `${verb}: the page is gone before those are told who have it`);
  must(counted && space.invalidations !== before, `${verb}: invalidations has not moved when told`);
  return listener;
}

function tellsOfMunmap(bench: SpaceBench): void {
  const { host } = bench;
  host.mmap(FIRST, 4, RW);
  takes(bench, 'munmap', () => host.munmap(FIRST + 1, 2));
  must(bench.frame(FIRST + 1, READ) === -1, 'munmap leaves a page that can be brought in');
  must(bench.read(FIRST + 2) === -1, 'munmap leaves a page that can be read');
  must(bench.read(FIRST) === 5 && bench.read(FIRST + 3) === 5, 'munmap takes its neighbours, too');
}

function tellsOfDiscard(bench: SpaceBench): void {
  const { host } = bench;
  host.mmap(FIRST, 4, RW);
  takes(bench, 'discard', () => host.discard(FIRST + 1, 2));
  must(bench.read(FIRST + 1) === 0, 'discard: memory does not read as zeros');
  must(bench.frame(FIRST + 2, WRITE) >= 0, 'discard: a page cannot be brought in again');
  must(bench.read(FIRST) === 5 && bench.read(FIRST + 3) === 5, 'discard changes its neighbours');
}

function tellsOfProtect(bench: SpaceBench): void {
  const { host } = bench;
  host.mmap(FIRST, 4, RW);
  takes(bench, 'mprotect', () => host.protect(FIRST + 1, 2, READ));
  must(bench.frame(FIRST + 1, WRITE) === -1, 'mprotect: a page is still brought in to write');
  must(bench.frame(FIRST + 1, READ) >= 0, 'mprotect: a page is not brought in to read');
  must(bench.read(FIRST + 2) === 5, 'mprotect: a page has lost what was written');
}

function subscriptionsEnd({ host, space }: SpaceBench): void {
  host.mmap(FIRST, 1, RW);
  space.copyTo(FIRST * PAGE_SIZE, Uint8Array.of(1));
  const [first, second] = [new Listener(space), new Listener(space)];
  host.discard(FIRST, 1);
  must(first.heardOf(FIRST) && second.heardOf(FIRST), 'of two notifiers one is not told');
  first.unsubscribe();
  first.unsubscribe();
  const [before, others] = [first.told.length, second.told.length];
  space.copyTo(FIRST * PAGE_SIZE, Uint8Array.of(1));
  host.munmap(FIRST, 1);
  must(first.told.length === before, 'a notifier is told after its subscription has ended');
  must(second.told.length > others, 'the end of one subscription ends another');
}

function releasesAll({ host, space }: SpaceBench): void {
  host.mmap(FIRST, 1, RW);
  space.copyTo(FIRST * PAGE_SIZE, Uint8Array.of(1));
  const listeners = [new Listener(space), new Listener(space)];
  const gone = new Listener(space);
  gone.unsubscribe();
  host.exit();
  for (const { releases } of listeners)
    must(releases === 1, `exit tells a notifier ${releases} times that the space ends`);
  must(gone.releases === 0, 'exit tells a notifier whose subscription has ended');
}

function pins(bench: SpaceBench): void {
  const { frames, host, space } = bench;
  host.mmap(FIRST, 4, RW);
  host.mmap(FIRST + 4, 1, READ);
  const pin = (first: number, count: number, access: number) =>
    space.pin(first, count, access, frames);
  const got = pin(FIRST, 4, WRITE);
  must(got === 4, `pin of 4 pages that may be written answers ${got}`);
  const pinned = frames.slice(0, 4);
  must(new Set(pinned).size === 4, 'two pages that are pinned have one frame');
  const count = space.pinsAt?.(pinned[0]!) ?? 1;
  must(count > 0, 'a page that is pinned has no pins');
  for (let index = 0; index < 4; index++)
    must(
      bench.frame(FIRST + index, WRITE) === pinned[index],
      'a page that is pinned has another frame',
    );
  space.unpin(pinned, 4);
  must(
    (space.pinsAt?.(pinned[0]!) ?? 0) === count - 1 || space.pinsAt === undefined,
    'unpin leaves a pin',
  );
  must(pin(FIRST + 4, 1, WRITE) === -EFAULT, 'a page that may be read alone is pinned to write');
  must(pin(FIRST + PAGES, 1, READ) === -EFAULT, 'what is not mapped is pinned, or is no EFAULT');
  const some = pin(FIRST + 2, 4, WRITE);
  must(some === 2, `pin answers ${some} where the third page may not be written`);
  space.unpin(frames, 2);
}

function accounts({ space }: SpaceBench): void {
  const before = space.lockedPages;
  space.accountLocked(3);
  must(space.lockedPages === before + 3, 'accountLocked(3) does not add 3 pages to lockedPages');
  space.accountLocked(-3);
  must(space.lockedPages === before, 'accountLocked(-3) does not take 3 pages off lockedPages');
}
