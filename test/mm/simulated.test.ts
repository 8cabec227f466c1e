import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { runDirect } from '../../src/flow/direct.js';
import { type MmuNotifier, READ, WRITE, X86_64_TASK_SIZE } from '../../src/mm/address-space.js';
import { allocatePlain, SegmentList } from '../../src/mm/frame-memory.js';
import type { MemoryKind } from '../../src/mm/memory-kind.js';
import { SimulatedSpace } from '../../src/mm/simulated.js';
import { SimulatedFile } from '../../src/mm/simulated-file.js';
import { SimulatedMemory, ZERO_FRAME } from '../../src/mm/simulated-memory.js';

const RW = READ | WRITE;
const V = 0x7f000;

function space(options: ConstructorParameters<typeof SimulatedSpace>[1] = {}, limit?: number) {
  return new SimulatedSpace(new SimulatedMemory(limit), options);
}

function poke(mm: SimulatedSpace, page: number, byte: number): boolean {
  return mm.copyTo(page * 4096 + 7, Uint8Array.of(byte));
}

function peek(mm: SimulatedSpace, page: number): number {
  const into = new Uint8Array(1);
  return mm.copyFrom(page * 4096 + 7, into) ? into[0]! : -1;
}

function pageIn(mm: SimulatedSpace, page: number, access: number): number {
  const frames = new Float64Array(1);
  return mm.pageIn(page, 1, access, frames) === 1 ? frames[0]! : -1;
}

/** Notes what it is told, and whether the page was still there then. */
class Listener implements MmuNotifier {
  readonly ranges: [number, number][] = [];
  readonly frames: number[] = [];
  released = 0;
  constructor(private readonly mm: SimulatedSpace) {
    mm.subscribe(this);
  }
  invalidate(first: number, count: number): void {
    this.ranges.push([first, count]);
    this.frames.push(this.mm.frameAt(first));
  }
  release(): void {
    this.released++;
  }
}

describe('kinds of memory', () => {
  const privateKinds: MemoryKind[] = ['anon', 'devzero', 'norsv'];

  test.each(privateKinds)('%s: reads show the zero page, the first write makes a page', (kind) => {
    const mm = space();
    mm.mmap(V, 4, { kind, protection: RW });
    expect(pageIn(mm, V, READ)).toBe(ZERO_FRAME);
    expect(pageIn(mm, V, WRITE)).toBeGreaterThan(0);
    expect(peek(mm, V)).toBe(0);
    expect(poke(mm, V, 9)).toBe(true);
    expect(peek(mm, V)).toBe(9);
  });

  test('shared memory is one memory for parent and child, private memory is two after a write', () => {
    const mm = space();
    mm.mmap(V, 1, { kind: 'shared', protection: RW });
    mm.mmap(V + 1, 1, { kind: 'anon', protection: RW });
    poke(mm, V, 1);
    poke(mm, V + 1, 1);
    const child = mm.fork(1);
    poke(child, V, 2);
    poke(child, V + 1, 2);
    expect([peek(mm, V), peek(mm, V + 1)]).toEqual([2, 1]);
    expect([peek(child, V), peek(child, V + 1)]).toEqual([2, 2]);
  });

  test('shared anonymous memory is given back with its last mapping, a file is not', () => {
    const mm = space();
    mm.mmap(V, 2, { kind: 'shared', protection: RW });
    mm.mmap(V + 8, 1, { kind: 'memfd', protection: RW });
    for (const page of [V, V + 1, V + 8]) poke(mm, page, 1);
    const child = mm.fork(1);
    mm.munmap(V, 1);
    mm.exit();
    expect(mm.memory.used).toBe(3);
    expect(peek(child, V + 1)).toBe(1);
    const file = child.fileAt(V + 8)!;
    child.exit();
    expect(mm.memory.used).toBe(1);
    file.close();
    expect(mm.memory.used).toBe(0);
  });

  test('a private mapping of a file reads the file and keeps its writes', () => {
    const mm = space();
    const file = new SimulatedFile(mm.memory, 2);
    mm.mmap(V, 2, { kind: 'memfd', protection: RW, file });
    mm.mmap(V + 16, 2, { kind: 'memfdPrivate', protection: RW, file });
    poke(mm, V, 4);
    expect(peek(mm, V + 16)).toBe(4);
    expect(mm.frameAt(V + 16)).toBe(mm.frameAt(V));
    poke(mm, V, 5);
    expect(peek(mm, V + 16)).toBe(5);
    poke(mm, V + 16, 6);
    expect([peek(mm, V), peek(mm, V + 16)]).toEqual([5, 6]);
  });

  test('behind the end of a file there is nothing; truncation takes private copies too, told before', () => {
    const mm = space();
    const file = new SimulatedFile(mm.memory, 4);
    mm.mmap(V, 6, { kind: 'tmpfsFile', protection: RW, file });
    mm.mmap(V + 16, 4, { kind: 'memfdPrivate', protection: RW, file });
    expect(peek(mm, V + 4)).toBe(-1);
    for (let page = 0; page < 4; page++) poke(mm, V + page, 3);
    poke(mm, V + 18, 4);
    const listener = new Listener(mm);
    file.truncate(2);
    expect(listener.ranges).toEqual([
      [V + 2, 4],
      [V + 18, 2],
    ]);
    expect(listener.frames.every((frame) => frame > 0)).toBe(true);
    expect([peek(mm, V + 1), peek(mm, V + 2), peek(mm, V + 18)]).toEqual([3, -1, -1]);
    file.truncate(4);
    const { used } = mm.memory;
    expect(peek(mm, V + 2)).toBe(0);
    expect(mm.memory.used).toBe(used + 1);
  });

  test('hugetlb comes in blocks of 512 consecutive, aligned frames', () => {
    const mm = space();
    mm.mmap(0x80000, 1024, { kind: 'hugetlb', protection: RW });
    const frame = pageIn(mm, 0x80000 + 5, WRITE);
    expect(frame % 512).toBe(5);
    expect(pageIn(mm, 0x80000 + 511, READ)).toBe(frame + 506);
    expect(mm.presentPages).toBe(512);
  });
});

test('addresses of x86-64 end a page below 2^47 (TASK_SIZE_MAX)', () => {
  expect([X86_64_TASK_SIZE, space().taskSize]).toEqual([0x7fff_ffff_f000, 0x7fff_ffff_f000]);
});

describe('permissions', () => {
  test('as pin_user_pages: a write needs write permission, a read needs read permission', () => {
    const mm = space();
    mm.mmap(V, 1, { kind: 'anon', protection: READ });
    mm.mmap(V + 1, 1, { kind: 'anon', protection: 0 });
    mm.mmap(V + 2, 1, { kind: 'anon', protection: WRITE });
    expect([READ, WRITE].map((access) => pageIn(mm, V, access) >= 0)).toEqual([true, false]);
    expect([READ, WRITE].map((access) => pageIn(mm, V + 1, access) >= 0)).toEqual([false, false]);
    expect([READ, WRITE].map((access) => pageIn(mm, V + 2, access) >= 0)).toEqual([false, true]);
    expect(pageIn(mm, V + 3, READ)).toBe(-1);
  });

  test('page-in stops at the first page that cannot be accessed so', () => {
    const mm = space();
    mm.mmap(V, 8, { kind: 'anon', protection: RW });
    mm.mprotect(V + 5, 1, READ);
    const frames = new Float64Array(8);
    expect(mm.pageIn(V, 8, WRITE, frames)).toBe(5);
    expect(mm.pageIn(V + 5, 3, WRITE, frames)).toBe(0);
    expect(mm.pageIn(V, 8, READ, frames)).toBe(8);
  });

  test('a page-in of pages that are there, that are not and that are in another area gets the frame of each', () => {
    const mm = space();
    mm.mmap(V, 8, { kind: 'anon', protection: RW });
    mm.mprotect(V + 6, 1, READ);
    for (const page of [0, 1, 3, 4]) poke(mm, V + page, 1 + page);
    const frames = new Float64Array(8);
    expect(mm.pageIn(V, 8, WRITE, frames)).toBe(6);
    expect([...frames.subarray(0, 6)]).toEqual(
      [0, 1, 2, 3, 4, 5].map((page) => mm.frameAt(V + page)),
    );
    expect(mm.pageIn(V + 3, 5, READ, frames)).toBe(5);
    expect([...frames.subarray(0, 5)]).toEqual([3, 4, 5, 6, 7].map((page) => mm.frameAt(V + page)));
    expect([0, 1, 2, 3, 4, 5].map((page) => peek(mm, V + page))).toEqual([1, 2, 0, 4, 5, 0]);
    expect([mm.frameAt(V + 6), mm.frameAt(V + 7)]).toEqual([ZERO_FRAME, ZERO_FRAME]);
  });

  test('the zero page stays where memory that may only be read is read again, or locked', () => {
    const mm = space();
    mm.mmap(V, 2, { kind: 'anon', protection: READ });
    expect([peek(mm, V), peek(mm, V)]).toEqual([0, 0]);
    expect(mm.mlock(V, 2)).toBe(0);
    expect([mm.frameAt(V), mm.frameAt(V + 1), mm.memory.used]).toEqual([
      ...[ZERO_FRAME, ZERO_FRAME, 0],
    ]);
  });

  test('mprotect of what is not mapped is ENOMEM and changes nothing', () => {
    const mm = space();
    mm.mmap(V, 1, { kind: 'anon', protection: RW });
    expect(mm.mprotect(V, 2, 0)).toBe(Errno.ENOMEM);
    expect(poke(mm, V, 1)).toBe(true);
  });
});

describe('pages go', () => {
  test('madvise(DONTNEED) loses private bytes and keeps shared ones', () => {
    const mm = space();
    mm.mmap(V, 1, { kind: 'anon', protection: RW });
    mm.mmap(V + 1, 1, { kind: 'memfd', protection: RW });
    poke(mm, V, 1);
    poke(mm, V + 1, 1);
    expect(mm.dontNeed(V, 2)).toBe(0);
    expect(mm.presentPages).toBe(0);
    expect([peek(mm, V), peek(mm, V + 1)]).toEqual([0, 1]);
    expect(mm.dontNeed(V, 3)).toBe(Errno.ENOMEM);
    mm.mlock(V, 1);
    expect(mm.dontNeed(V, 1)).toBe(Errno.EINVAL);
  });

  test('mremap moves bytes, swap too; grows and shrinks where there is room', () => {
    const mm = space();
    mm.mmap(V, 4, { kind: 'anon', protection: RW });
    for (let page = 0; page < 4; page++) poke(mm, V + page, page + 1);
    mm.pageOut(V + 2, 1);
    const listener = new Listener(mm);
    expect(mm.mremap(V, 4, 4, V + 64)).toBe(0);
    expect(listener.ranges).toContainEqual([V, 4]);
    expect([0, 1, 2, 3].map((page) => peek(mm, V + 64 + page))).toEqual([1, 2, 3, 4]);
    expect(peek(mm, V)).toBe(-1);
    expect(mm.mremap(V + 64, 4, 2)).toBe(0);
    expect(peek(mm, V + 66)).toBe(-1);
    expect(mm.mremap(V + 64, 2, 3)).toBe(0);
    expect(peek(mm, V + 66)).toBe(0);
    mm.mmap(V + 68, 1, { kind: 'anon', protection: RW });
    expect(mm.mremap(V + 64, 3, 8)).toBe(Errno.ENOMEM);
    expect(mm.mremap(V, 1, 1)).toBe(Errno.EFAULT);
  });

  test('mremap leaves what lies in swap beside its pages', () => {
    const mm = space();
    mm.mmap(V, 4, { kind: 'anon', protection: RW });
    for (let page = 0; page < 4; page++) poke(mm, V + page, page + 1);
    mm.pageOut(V, 4);
    expect(mm.mremap(V + 1, 2, 2, V + 64)).toBe(0);
    expect([0, 1, 2, 3].map((page) => peek(mm, V + page))).toEqual([1, -1, -1, 4]);
    expect([0, 1].map((page) => peek(mm, V + 64 + page))).toEqual([2, 3]);
  });

  test('a page that was filled has its bytes in its new frame, too', () => {
    const mm = space();
    mm.mmap(V, 1, { kind: 'anon', protection: RW });
    mm.fillPages(V, 1, 0x5a);
    const before = mm.frameAt(V);
    mm.migrate(V, 1);
    expect(mm.frameAt(V)).not.toBe(before);
    expect(peek(mm, V)).toBe(0x5a);
  });

  test('a page that is swapped out leaves nothing of its bytes in its frame', () => {
    const mm = space();
    mm.mmap(V, 2, { kind: 'anon', protection: RW });
    poke(mm, V, 5);
    const frame = mm.frameAt(V);
    mm.pageOut(V, 1);
    poke(mm, V + 1, 0);
    expect(mm.frameAt(V + 1)).toBe(frame);
    expect([peek(mm, V + 1), peek(mm, V)]).toEqual([0, 5]);
  });

  test('mlock brings in what is in swap, whether the space waits for that or not', () => {
    const mm = space({ swapInWaits: true });
    mm.mmap(V, 2, { kind: 'anon', protection: RW });
    for (const page of [V, V + 1]) poke(mm, page, 5);
    mm.pageOut(V, 2);
    expect(mm.mlock(V, 2)).toBe(0);
    expect([mm.presentPages, mm.isSwapped(V), peek(mm, V + 1)]).toEqual([2, false, 5]);
  });

  test('where there is no memory for a copy, the page that is shared keeps its owners', () => {
    const mm = space({}, 1);
    mm.mmap(V, 1, { kind: 'anon', protection: RW });
    poke(mm, V, 5);
    const child = mm.fork(1);
    expect([poke(mm, V, 6), poke(child, V, 7)]).toEqual([false, false]);
    expect([peek(mm, V), peek(child, V), mm.memory.used]).toEqual([5, 5, 1]);
    mm.exit();
    expect(poke(child, V, 7)).toBe(true);
    child.exit();
    expect(mm.memory.used).toBe(0);
  });

  test('processes take turns in giving memory', () => {
    const memory = new SimulatedMemory(6);
    const [one, other, third] = [0, 1, 2].map((id) => new SimulatedSpace(memory, { id }));
    for (const mm of [one!, other!, third!]) {
      mm.mmap(V, 4, { kind: 'anon', protection: RW });
      for (let page = 0; page < 2; page++) poke(mm, V + page, 1);
    }
    for (const page of [V + 2, V + 3]) poke(third!, page, 1);
    expect([one!.presentPages, other!.presentPages, third!.presentPages]).toEqual([1, 1, 4]);
  });

  test('a process that has ended is not asked for memory', () => {
    const memory = new SimulatedMemory(2);
    const [gone, mm] = [new SimulatedSpace(memory), new SimulatedSpace(memory, { id: 1 })];
    gone.exit();
    gone.reclaim = () => {
      throw new Error('asked');
    };
    mm.mmap(V, 3, { kind: 'anon', protection: RW });
    for (let page = 0; page < 3; page++) expect(poke(mm, V + page, page)).toBe(true);
  });

  test('reclaim keeps the bytes and leaves what is pinned, locked or shared', () => {
    const mm = space();
    mm.mmap(V, 5, { kind: 'anon', protection: RW });
    mm.mmap(V + 5, 1, { kind: 'shared', protection: RW });
    for (let page = 0; page < 6; page++) poke(mm, V + page, page + 1);
    const frames = new Float64Array(1);
    mm.pin(V, 1, WRITE, frames);
    mm.mlock(V + 1, 1);
    expect(mm.reclaim(100)).toBe(3);
    expect([0, 1, 2, 3, 4, 5].map((page) => mm.frameAt(V + page) >= 0)).toEqual([
      true,
      true,
      false,
      false,
      false,
      true,
    ]);
    expect([0, 1, 2, 3, 4, 5].map((page) => peek(mm, V + page))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('above its limit memory comes from reclaim, and a page that has none cannot be had', () => {
    const mm = space({}, 4);
    mm.mmap(V, 16, { kind: 'anon', protection: RW });
    for (let page = 0; page < 16; page++) expect(poke(mm, V + page, page + 1)).toBe(true);
    expect(mm.memory.used).toBe(4);
    for (let page = 0; page < 16; page++) expect(peek(mm, V + page)).toBe(page + 1);
    const frames = new Float64Array(8);
    expect(mm.pin(V, 4, WRITE, frames)).toBe(4);
    expect(mm.pin(V + 4, 1, WRITE, frames)).toBe(-Errno.ENOMEM);
    expect(pageIn(mm, V + 4, WRITE)).toBe(-1);
  });

  test('a page in swap is waited for where the space says so', () => {
    const mm = space({ swapInWaits: true });
    mm.mmap(V, 2, { kind: 'anon', protection: RW });
    poke(mm, V, 5);
    poke(mm, V + 1, 6);
    mm.pageOut(V, 1);
    const frames = new Float64Array(2);
    expect(mm.pageIn(V, 2, READ, frames)).toBe(-1);
    expect(mm.pageIn(V + 1, 1, READ, frames)).toBe(1);
    expect(runDirect(mm.pageInFlow(V, 2, READ, frames))).toBe(2);
    expect(frames[0]).toBe(mm.frameAt(V));
    expect(peek(mm, V)).toBe(5);
  });

  test('every notifier is told while the page is still there, and not after it unsubscribed', () => {
    const mm = space();
    mm.mmap(V, 2, { kind: 'anon', protection: RW });
    const listener = new Listener(mm);
    const other = new Listener(mm);
    const unsubscribe = mm.subscribe(other);
    for (const take of [
      () => mm.dontNeed(V, 1),
      () => mm.pageOut(V, 1),
      () => mm.mprotect(V, 1, RW),
      () => mm.migrate(V, 1),
      () => mm.munmap(V, 1),
    ]) {
      pageIn(mm, V, WRITE);
      const told = listener.ranges.length;
      const before = mm.invalidations;
      take();
      expect(listener.ranges.slice(told)).toEqual([[V, 1]]);
      expect(listener.frames[told]).toBeGreaterThan(0);
      expect(mm.invalidations).toBeGreaterThan(before);
    }
    unsubscribe();
    unsubscribe();
    mm.exit();
    expect(listener.released).toBe(1);
    expect(mm.notifierCount).toBe(0);
  });
});

describe('copy-on-write', () => {
  test('fork shares private pages until one side writes, and tells before it takes write access away', () => {
    const mm = space();
    mm.mmap(V, 1, { kind: 'anon', protection: RW });
    poke(mm, V, 1);
    const listener = new Listener(mm);
    const child = mm.fork(1);
    expect(listener.ranges).toEqual([[V, 1]]);
    expect(child.frameAt(V)).toBe(mm.frameAt(V));
    const before = mm.frameAt(V);
    poke(mm, V, 2);
    expect(listener.ranges.length).toBe(2);
    expect(mm.frameAt(V)).not.toBe(before);
    expect(peek(child, V)).toBe(1);
    poke(child, V, 3);
    expect(child.frameAt(V)).toBe(before);
  });

  test('a pinned page stays with the parent, the child gets a copy', () => {
    const mm = space();
    mm.mmap(V, 1, { kind: 'anon', protection: RW });
    poke(mm, V, 1);
    const frames = new Float64Array(1);
    mm.pin(V, 1, WRITE, frames);
    const child = mm.fork(1);
    poke(mm, V, 2);
    expect(mm.frameAt(V)).toBe(frames[0]);
    expect(child.frameAt(V)).not.toBe(frames[0]);
    expect(peek(child, V)).toBe(1);
  });
});

describe('pins and the locked-memory account', () => {
  test('a pinned frame outlives its mapping, and is free after unpin', () => {
    const mm = space();
    mm.mmap(V, 2, { kind: 'anon', protection: RW });
    const frames = new Float64Array(2);
    expect(mm.pin(V, 2, WRITE, frames)).toBe(2);
    poke(mm, V, 7);
    mm.munmap(V, 2);
    expect(mm.memory.used).toBe(2);
    const byte = new Uint8Array(1);
    mm.memory.readPage(frames[0]!, 7, byte);
    expect(byte[0]).toBe(7);
    mm.unpin(frames, 2);
    expect(mm.memory.used).toBe(0);
    expect(mm.memory.pinned).toBe(0);
    expect(() => mm.unpin(frames, 1)).toThrow('unpinned too often');
  });

  test('a pin for reading leaves the zero page where it is, or makes a page where the space says so', () => {
    for (const pinUnshares of [false, true]) {
      const mm = space({ pinUnshares });
      mm.mmap(V, 1, { kind: 'anon', protection: RW });
      const frames = new Float64Array(1);
      expect(mm.pin(V, 1, READ, frames)).toBe(1);
      expect([frames[0] === ZERO_FRAME, mm.memory.used]).toEqual([
        !pinUnshares,
        pinUnshares ? 1 : 0,
      ]);
      expect(mm.frameAt(V)).toBe(frames[0]);
      mm.unpin(frames, 1);
      expect(mm.memory.pinned).toBe(0);
    }
  });

  test('pin gives what it got, or minus the errno', () => {
    const mm = space();
    mm.mmap(V, 2, { kind: 'anon', protection: RW });
    const frames = new Float64Array(4);
    expect(mm.pin(V, 4, WRITE, frames)).toBe(2);
    expect(mm.pin(V + 2, 1, READ, frames)).toBe(-Errno.EFAULT);
    expect(mm.memory.pinned).toBe(2);
  });

  test('mlock and accounts of pins add up; munmap gives back what was mlocked', () => {
    const mm = space({ lockLimitPages: 8, ipcLock: false });
    mm.mmap(V, 16, { kind: 'anon', protection: RW });
    mm.accountLocked(3);
    expect(mm.mlock(V, 4)).toBe(0);
    expect(mm.mlock(V + 2, 3)).toBe(0);
    expect(mm.lockedPages).toBe(8);
    expect(mm.mlock(V + 8, 1)).toBe(Errno.ENOMEM);
    mm.munmap(V, 2);
    expect(mm.munlock(V + 4, 1)).toBe(0);
    expect(mm.lockedPages).toBe(5);
    expect(mm.munlock(V + 15, 2)).toBe(Errno.ENOMEM);
    mm.lockLimitPages = 0;
    expect(mm.mlock(V + 8, 1)).toBe(Errno.EPERM);
    mm.ipcLock = true;
    expect(mm.mlock(V + 8, 1)).toBe(0);
    expect(mm.mlock(V + 15, 2)).toBe(Errno.ENOMEM);
    // A locked area that grows or shrinks takes its account along.
    const { lockedPages } = mm;
    expect(mm.mremap(V + 15, 1, 3)).toBe(0);
    expect(mm.lockedPages).toBe(lockedPages + 2);
    expect(mm.mremap(V + 15, 3, 1)).toBe(0);
    expect(mm.lockedPages).toBe(lockedPages);
  });
});

describe('frames', () => {
  test('DMA copies across consecutive frames, and what was never written reads as zeros', () => {
    const mm = space();
    mm.mmap(V, 3, { kind: 'hugetlb', protection: RW });
    const frame = pageIn(mm, V, WRITE);
    const buffer = allocatePlain(9000);
    buffer.bytes.fill(0x5a);
    const list = new SegmentList();
    list.append(frame, 100, 9000, buffer, 0);
    expect(mm.memory.write(list)).toBe(9000);
    expect(peek(mm, V)).toBe(0);
    const into = new Uint8Array(9002);
    mm.copyFrom(V * 4096 + 99, into);
    expect([into[0], into[1], into[9000], into[9001]]).toEqual([0, 0x5a, 0x5a, 0]);
    const back = allocatePlain(9000);
    list.clear();
    list.append(frame, 100, 9000, back, 0);
    mm.memory.read(list);
    expect(back.bytes).toEqual(buffer.bytes);
  });

  test('an access to a frame that nobody owns is a bug, not a read of old bytes', () => {
    const mm = space();
    mm.mmap(V, 1, { kind: 'anon', protection: RW });
    const frame = pageIn(mm, V, WRITE);
    mm.munmap(V, 1);
    const list = new SegmentList();
    list.append(frame, 0, 4, allocatePlain(4), 0);
    expect(() => mm.memory.read(list)).toThrow('nobody owns');
    expect(() => mm.memory.write(list)).toThrow('nobody owns');
    expect(() => mm.memory.release(frame)).toThrow('released too often');
  });
});

test('a space with forks, swap and pressure holds the bytes that a plain model says', () => {
  const step = fc.record({
    kind: fc.constantFrom(
      'poke',
      'poke',
      'poke',
      'read',
      'dontNeed',
      'munmap',
      'mmap',
      'move',
      'fork',
      'switch',
      'reclaim',
      'migrate',
      'exit',
    ),
    page: fc.integer({ min: 0, max: 11 }),
    count: fc.integer({ min: 1, max: 4 }),
    byte: fc.integer({ min: 1, max: 255 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
      const memory = new SimulatedMemory(40);
      const spaces = [new SimulatedSpace(memory)];
      // A page of the model: its byte, or absent where nothing is mapped.
      const models = [new Map<number, number>()];
      let current = 0;
      for (const { kind, page, count, byte } of steps) {
        const mm = spaces[current]!;
        const model = models[current]!;
        const pages = Array.from({ length: count }, (_, i) => page + i);
        if (kind === 'poke') {
          expect(poke(mm, page, byte)).toBe(model.has(page));
          if (model.has(page)) model.set(page, byte);
        } else if (kind === 'read') pageIn(mm, page, READ);
        else if (kind === 'mmap') {
          mm.mmap(page, count, { kind: 'anon', protection: RW });
          for (const at of pages) model.set(at, 0);
        } else if (kind === 'munmap') {
          mm.munmap(page, count);
          for (const at of pages) model.delete(at);
        } else if (kind === 'dontNeed') {
          const mapped = pages.every((at) => model.has(at));
          expect(mm.dontNeed(page, count)).toBe(mapped ? 0 : Errno.ENOMEM);
          if (mapped) for (const at of pages) model.set(at, 0);
        } else if (kind === 'move') {
          const mapped = pages.every((at) => model.has(at));
          expect(mm.mremap(page, count, count, 32 + page)).toBe(mapped ? 0 : Errno.EFAULT);
          if (!mapped) continue;
          for (const at of pages) {
            model.set(32 + at, model.get(at)!);
            model.delete(at);
          }
        } else if (kind === 'fork' && spaces.length < 4) {
          spaces.push(mm.fork(spaces.length));
          models.push(new Map(model));
        } else if (kind === 'switch') current = page % spaces.length;
        else if (kind === 'reclaim') mm.reclaim(count);
        else if (kind === 'migrate') mm.migrate(page, count);
        else if (kind === 'exit') {
          mm.exit();
          model.clear();
        }
      }
      for (const [index, mm] of spaces.entries()) {
        for (let page = 0; page < 48; page++)
          expect(peek(mm, page)).toBe(models[index]!.get(page) ?? -1);
      }
      for (const mm of spaces) mm.exit();
      expect(memory.used).toBe(0);
    }),
    { numRuns: 300 },
  );
});
