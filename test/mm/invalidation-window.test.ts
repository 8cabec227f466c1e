import { beforeEach, describe, expect, test } from 'vitest';
import { runDirect } from '../../src/flow/direct.js';
import type { Flow } from '../../src/flow/flow.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { SimulatedSpace } from '../../src/mm/simulated.js';
import { SimulatedMemory } from '../../src/mm/simulated-memory.js';

const V = 0x7f000;
const RW = READ | WRITE;

let memory: SimulatedMemory;
let mm: SimulatedSpace;
const frames = new Float64Array(4);

beforeEach(() => {
  memory = new SimulatedMemory();
  mm = new SimulatedSpace(memory);
  mm.mmap(V, 4, { kind: 'anon', protection: RW });
  mm.fillPages(V, 4, 1);
});

/** Begins an invalidation and stops in its window. */
function begun(flow: Flow<void>): Flow<void> {
  expect(flow.next().value).toMatchObject({ what: 'step: invalidation begun, pages still there' });
  return flow;
}

describe('R3.3: between telling and doing (invalidate_range_start and _end)', () => {
  test('the notifiers know, and the page is still there', () => {
    const told: number[][] = [];
    mm.subscribe({ invalidate: (first, count) => told.push([first, count]), release: () => {} });
    const frame = mm.frameAt(V + 1);
    const flow = begun(mm.munmapFlow(V + 1, 2));
    expect(told).toEqual([[V + 1, 2]]);
    expect([mm.frameAt(V + 1), mm.isInvalidating(V + 1), mm.isInvalidating(V + 3)]).toEqual([
      frame,
      true,
      false,
    ]);
    runDirect(flow);
    expect([mm.frameAt(V + 1), mm.isInvalidating(V + 1)]).toEqual([-1, false]);
    expect(told).toHaveLength(1);
  });

  test('no page-in gets the page, one that wants it waits for the end and gets what is there then', () => {
    const old = mm.frameAt(V);
    const flow = begun(mm.migrateFlow(V, 1));
    expect(mm.pageIn(V, 1, READ, frames)).toBe(-1);
    expect(mm.pageIn(V + 1, 1, READ, frames)).toBe(1);
    const waiting = mm.pageInFlow(V, 1, WRITE, frames);
    const wait = waiting.next().value as { ready(): boolean };
    expect(wait.ready()).toBe(false);
    runDirect(flow);
    expect(wait.ready()).toBe(true);
    expect(runDirect(waiting)).toBe(1);
    expect(frames[0]).toBe(mm.frameAt(V));
    expect(frames[0]).not.toBe(old);
  });

  test('a window of pages ends before one that is going', () => {
    begun(mm.dontNeedFlow(V + 2, 1));
    expect(mm.pageIn(V, 4, READ, frames)).toBe(2);
  });

  test('a pin gets the page, which then does not move', () => {
    const flow = begun(mm.migrateFlow(V, 1));
    const frame = mm.frameAt(V);
    expect(mm.pin(V, 1, WRITE, frames)).toBe(1);
    runDirect(flow);
    expect(mm.frameAt(V)).toBe(frame);
    mm.unpin(frames, 1);
  });

  test('protection changes at the end', () => {
    const flow = begun(mm.mprotectFlow(V, 1, READ));
    expect(mm.protectionAt(V)).toBe(RW);
    runDirect(flow);
    expect(mm.protectionAt(V)).toBe(READ);
    expect(mm.pageIn(V, 1, WRITE, frames)).toBe(0);
  });
});

test('a new memory is as the first: frames are given out in the same order again', () => {
  const first = [0, 1, 2, 3].map((page) => mm.frameAt(V + page));
  mm.pageOut(V, 1);
  begun(mm.munmapFlow(V + 2, 1));
  memory = new SimulatedMemory();
  mm = new SimulatedSpace(memory);
  expect([memory.used, mm.presentPages, mm.invalidations, mm.notifierCount]).toEqual([0, 0, 0, 0]);
  mm.mmap(V, 4, { kind: 'anon', protection: RW });
  mm.fillPages(V, 4, 2);
  expect([0, 1, 2, 3].map((page) => mm.frameAt(V + page))).toEqual(first);
  expect(memory.used).toBe(4);
});
