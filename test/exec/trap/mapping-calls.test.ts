/** What mmap, mprotect, mremap and munmap do to trapped areas, and what the kernel is asked for. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_SHARED,
  MREMAP_DONTUNMAP,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
} from '../../../src/abi/linux.js';
import { architecture } from '../../../src/exec/arch/index.js';
import type { Listener } from '../../../src/exec/seccomp/listener.js';
import type { Errands } from '../../../src/exec/trap/errands.js';
import { MappingCalls } from '../../../src/exec/trap/mapping-calls.js';
import { TRAP_PAGE } from '../../../src/exec/trap/trap-page.js';
import {
  clearState,
  mapTrapPage,
  NotedErrands,
  unmapTrapPage,
  writtenState,
} from './own-trap-page.js';

const arch = architecture('x64')!;
const PAGE = 0x1000;
const AT = 0x10000;
const DEVICE = 3;
const [RW, R] = [3, 1];
const FD = 800;
/** In the file: a BAR's place. */
const OFFSET = 2 ** 40;

const call = {
  tid: process.pid,
  returnsTo: 0,
  given: [] as readonly number[],
  answer: null as number | null,
  argument: (n: number) => call.given[n] ?? 0,
  int: (n: number) => (call.given[n] ?? 0) | 0,
  respond(value: number) {
    call.answer = value;
  },
  refuse(error: number) {
    call.answer = -error;
  },
  addFile: (fd: number) => fd + 1000,
};
let errands: NotedErrands;
let mappings: MappingCalls;

beforeAll(mapTrapPage);
afterAll(unmapTrapPage);
beforeEach(() => {
  clearState();
  errands = new NotedErrands();
  errands.answer = ({ nr, arguments: [address] }) => (nr === arch.nr.mmap ? address || AT : 0);
  mappings = new MappingCalls(call as unknown as Listener, arch, errands as unknown as Errands);
  call.returnsTo = 0;
});

function given(...numbers: readonly number[]): void {
  call.given = numbers;
  call.answer = null;
  errands.calls.length = 0;
  errands.outcome = null;
}

const names = new Map(Object.entries(arch.nr).map(([name, number]) => [number, name]));
const made = (): unknown[] =>
  errands.calls.map(({ nr, arguments: numbers }) => [names.get(nr), ...numbers]);
const areas = (): unknown[] =>
  writtenState().areas.map(({ start, end, offset, protection, device }) => [
    start - AT,
    end - AT,
    offset - OFFSET,
    protection,
    device,
  ]);

/** Maps eight pages, of which pages 1, 2 and 5 trap; what the call returns. */
function map(address = 0, flags = MAP_SHARED, pages = 8): unknown {
  given(address, pages * PAGE, RW, flags, FD, OFFSET);
  const trapped = [
    { offset: PAGE, size: 2 * PAGE },
    { offset: 5 * PAGE, size: PAGE },
  ];
  expect(mappings.map({ device: DEVICE, trapped, files: [] })).toBe(true);
  return errands.outcome;
}
const mapped = [
  [PAGE, 3 * PAGE, PAGE, RW, DEVICE],
  [5 * PAGE, 6 * PAGE, 5 * PAGE, RW, DEVICE],
];

describe('mmap of registers', () => {
  test('asks for no access, and gives it to what does not trap', () => {
    expect(map()).toEqual({ kind: 'return', value: AT });
    expect(made()).toEqual([
      ['mmap', 0, 8 * PAGE, 0, MAP_SHARED, FD, OFFSET],
      ['mprotect', AT, PAGE, RW],
      ['mprotect', AT + 3 * PAGE, 2 * PAGE, RW],
      ['mprotect', AT + 6 * PAGE, 2 * PAGE, RW],
    ]);
    expect(areas()).toEqual(mapped);
  });

  test('that the kernel refuses leaves nothing', () => {
    for (const error of [-1, -12, -4095]) {
      errands.answer = () => error;
      expect(map()).toEqual({ kind: 'return', value: error });
      expect([made().length, areas()]).toEqual([1, []]);
    }
  });

  test('is undone where a part of it cannot have its access', () => {
    errands.answer = ({ nr }, index) => (nr === arch.nr.mmap ? AT : index === 2 ? -12 : 0);
    expect(map()).toEqual({ kind: 'return', value: -12 });
    expect(made().at(-1)).toEqual(['munmap', AT, 8 * PAGE]);
  });

  test('is undone where the state has no room for it', () => {
    const trapped = Array.from({ length: 200 }, (_, page) => ({ offset: page * PAGE, size: PAGE }));
    given(0, 200 * PAGE, RW, MAP_SHARED, FD, OFFSET);
    mappings.map({ device: DEVICE, trapped, files: [] });
    expect(errands.outcome).toEqual({ kind: 'return', value: -12 });
    expect(made().slice(1)).toEqual([['munmap', AT, 200 * PAGE]]);
    expect(areas()).toEqual([]);
  });

  test('has the memory of other files in its parts', () => {
    given(0, 4 * PAGE, RW, MAP_SHARED, FD, OFFSET);
    const file = { fd: 7, offset: 0x5000 };
    const files = [{ offset: 2 * PAGE, size: PAGE, file }];
    mappings.map({ device: DEVICE, trapped: [], files });
    const place = ['mmap', AT + 2 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, 1007, 0x5000];
    expect(made().slice(2)).toEqual([place, ['close', 1007]]);
    expect(errands.outcome).toEqual({ kind: 'return', value: AT });
    errands.answer = (_, index) => (index === 0 ? AT : index === 2 ? -12 : 0);
    given(0, 4 * PAGE, RW, MAP_SHARED, FD, OFFSET);
    mappings.map({ device: DEVICE, trapped: [], files });
    expect(made().slice(3)).toEqual([
      ['close', 1007],
      ['munmap', AT, 4 * PAGE],
    ]);
    expect(errands.outcome).toEqual({ kind: 'return', value: -12 });
  });

  test('at a fixed place takes out what lay there, unless it may replace nothing', () => {
    map();
    map(AT + 4 * PAGE, MAP_SHARED | MAP_FIXED);
    expect(areas()).toEqual([
      mapped[0],
      [5 * PAGE, 7 * PAGE, PAGE, RW, DEVICE],
      [9 * PAGE, 10 * PAGE, 5 * PAGE, RW, DEVICE],
    ]);
    clearState();
    map();
    errands.answer = () => -17;
    map(AT, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_FIXED);
    expect(areas()).toEqual(mapped);
  });

  test('in a process without a trap page is not ours', () => {
    unmapTrapPage();
    given(0, PAGE, RW, MAP_SHARED, FD, OFFSET);
    expect(mappings.map({ device: DEVICE, trapped: [], files: [] })).toBe(false);
    mapTrapPage();
    expect(made()).toEqual([]);
  });
});

describe('munmap', () => {
  test('takes what it unmaps out of the areas, whole pages of it', () => {
    map();
    mappings.unmap(AT + 2 * PAGE, 3 * PAGE + 1);
    expect(areas()).toEqual([[PAGE, 2 * PAGE, PAGE, RW, DEVICE]]);
  });

  test('of an address that is no page’s, of nothing, or by an errand changes nothing', () => {
    map();
    mappings.unmap(AT + PAGE + 1, PAGE);
    mappings.unmap(AT + PAGE, 0);
    call.returnsTo = TRAP_PAGE + 8;
    expect(mappings.isOurs).toBe(true);
    mappings.unmap(AT, 8 * PAGE);
    expect(areas()).toEqual(mapped);
  });
});

describe('mprotect', () => {
  const protect = (start: number, length: number, protection: number): boolean => {
    given(start, length, protection);
    return mappings.protect();
  };

  test('of trapped pages alone changes what the program may do, and asks nothing', () => {
    map();
    expect(protect(AT + PAGE, PAGE, R)).toBe(true);
    expect([call.answer, made()]).toEqual([0, []]);
    expect(areas()).toEqual([
      [PAGE, 2 * PAGE, PAGE, R, DEVICE],
      [2 * PAGE, 3 * PAGE, 2 * PAGE, RW, DEVICE],
      mapped[1],
    ]);
  });

  test('of others, too, asks the kernel for those first', () => {
    map();
    expect(protect(AT, 6 * PAGE, R)).toBe(true);
    expect(made()).toEqual([
      ['mprotect', AT, PAGE, R],
      ['mprotect', AT + 3 * PAGE, 2 * PAGE, R],
    ]);
    expect(errands.outcome).toEqual({ kind: 'return', value: 0 });
    expect(areas()).toEqual(mapped.map(([start, end, offset]) => [start, end, offset, R, DEVICE]));
  });

  test('that the kernel refuses of those leaves the areas as they are', () => {
    map();
    errands.answer = () => -13;
    expect(protect(AT, 6 * PAGE, R)).toBe(true);
    expect(errands.outcome).toEqual({ kind: 'return', value: -13 });
    expect([made().length, areas()]).toEqual([1, mapped]);
  });

  test.each<[string, number, number, number]>([
    ['elsewhere', AT + 6 * PAGE, PAGE, R],
    ['of nothing', AT + PAGE, 0, R],
    ['at no page', AT + PAGE + 1, PAGE, R],
    ['with a flag that the kernel must judge', AT + PAGE, PAGE, 8],
  ])('%s is the kernel’s', (_, start, length, protection) => {
    map();
    expect(protect(start, length, protection)).toBe(false);
    expect([call.answer, made(), areas()]).toEqual([null, [], mapped]);
  });

  test('by an errand is the kernel’s', () => {
    map();
    call.returnsTo = TRAP_PAGE;
    expect(protect(AT + PAGE, PAGE, R)).toBe(false);
    expect(areas()).toEqual(mapped);
  });

  test('is ENOMEM where the state has no room for the pieces', () => {
    const trapped = Array.from({ length: 110 }, (_, at) => ({
      offset: 4 * at * PAGE,
      size: 3 * PAGE,
    }));
    given(0, 440 * PAGE, RW, MAP_SHARED, FD, OFFSET);
    mappings.map({ device: DEVICE, trapped, files: [] });
    const before = areas();
    for (let at = 0; call.answer !== -12 && at < 110; at++)
      expect(protect(AT + (4 * at + 1) * PAGE, PAGE, R)).toBe(true);
    expect(call.answer).toBe(-12);
    expect(before.length).toBe(110);
    const full = areas().length;
    expect(protect(AT + PAGE, PAGE, RW)).toBe(true);
    expect(areas().length).toBe(full);
  });
});

describe('mremap', () => {
  const remap = (...numbers: readonly number[]): boolean => {
    given(...numbers);
    return mappings.move();
  };
  const TO = AT + 0x100 * PAGE;
  const TOGETHER = MREMAP_MAYMOVE | MREMAP_FIXED;

  test('moves each piece, and what it has trapped', () => {
    map();
    expect(remap(AT, 8 * PAGE, 8 * PAGE, TOGETHER, TO)).toBe(true);
    expect(made()).toEqual([
      ['mremap', AT, PAGE, PAGE, TOGETHER, TO],
      ['mremap', AT + PAGE, 2 * PAGE, 2 * PAGE, TOGETHER, TO + PAGE],
      ['mremap', AT + 3 * PAGE, 2 * PAGE, 2 * PAGE, TOGETHER, TO + 3 * PAGE],
      ['mremap', AT + 5 * PAGE, PAGE, PAGE, TOGETHER, TO + 5 * PAGE],
      ['mremap', AT + 6 * PAGE, 2 * PAGE, 2 * PAGE, TOGETHER, TO + 6 * PAGE],
    ]);
    expect(errands.outcome).toEqual({ kind: 'return', value: TO });
    expect(areas()).toEqual([
      [0x101 * PAGE, 0x103 * PAGE, PAGE, RW, DEVICE],
      [0x105 * PAGE, 0x106 * PAGE, 5 * PAGE, RW, DEVICE],
    ]);
  });

  test('to a smaller size unmaps the rest first, and moves a part of an area', () => {
    map();
    expect(remap(AT + 2 * PAGE, 4 * PAGE, PAGE, TOGETHER, TO)).toBe(true);
    expect(made()).toEqual([
      ['munmap', AT + 3 * PAGE, 3 * PAGE],
      ['mremap', AT + 2 * PAGE, PAGE, PAGE, TOGETHER, TO],
    ]);
    expect(areas()).toEqual([
      [PAGE, 2 * PAGE, PAGE, RW, DEVICE],
      [0x100 * PAGE, 0x101 * PAGE, 2 * PAGE, RW, DEVICE],
    ]);
  });

  test('that the kernel refuses leaves the areas as they are', () => {
    map();
    errands.answer = () => -12;
    for (const size of [4 * PAGE, PAGE]) {
      expect(remap(AT + 2 * PAGE, 4 * PAGE, size, TOGETHER, TO)).toBe(true);
      expect(errands.outcome).toEqual({ kind: 'return', value: -12 });
      expect([made().length, areas()]).toEqual([1, mapped]);
    }
  });

  test('takes out what lies where it moves to', () => {
    map();
    expect(remap(AT + 0x200 * PAGE, PAGE, PAGE, TOGETHER, AT + 5 * PAGE)).toBe(false);
    expect(areas()).toEqual([mapped[0]]);
  });

  test('that shrinks in its place takes the rest out, and is the kernel’s', () => {
    map();
    expect(remap(AT + PAGE, 2 * PAGE, PAGE, 0, 0)).toBe(false);
    expect(areas()).toEqual([[PAGE, 2 * PAGE, PAGE, RW, DEVICE], mapped[1]]);
  });

  test.each<[string, readonly number[], number]>([
    ['doubled', [AT + PAGE, 0, PAGE, MREMAP_MAYMOVE, 0], 22],
    ['made nothing', [AT + PAGE, PAGE, 0, 0, 0], 22],
    ['left behind', [AT + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0], 22],
    ['grown', [AT + PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0], 14],
    ['moved without MAYMOVE', [AT + PAGE, PAGE, PAGE, MREMAP_FIXED, TO], 22],
    ['moved to no page', [AT + PAGE, PAGE, PAGE, TOGETHER, TO + 8], 22],
    ['moved over its end', [AT + PAGE, 2 * PAGE, 2 * PAGE, TOGETHER, AT + 2 * PAGE], 22],
    ['moved from no page', [AT + PAGE + 8, PAGE, PAGE, TOGETHER, TO], 22],
    ['moved over its start', [AT + 2 * PAGE, 2 * PAGE, 2 * PAGE, TOGETHER, AT + PAGE], 22],
  ])('cannot be %s', (_, numbers, error) => {
    map();
    expect(remap(...numbers)).toBe(true);
    expect([call.answer, made(), areas()]).toEqual([-error, [], mapped]);
  });

  test('that the kernel refuses of others takes nothing away', () => {
    map();
    const other = AT + 0x200 * PAGE;
    for (const numbers of [
      [other, PAGE, PAGE, MREMAP_FIXED, AT + PAGE],
      [other, PAGE, 0, TOGETHER, AT + PAGE],
      [other + 8, PAGE, PAGE, TOGETHER, AT + PAGE],
      [AT, 4 * PAGE, PAGE, MREMAP_FIXED, AT + 5 * PAGE],
      [AT + PAGE, PAGE, 2 * PAGE, TOGETHER, AT + 5 * PAGE],
    ])
      remap(...numbers);
    expect(areas()).toEqual(mapped);
  });

  test('to where another area lies takes that out', () => {
    map();
    expect(remap(AT + PAGE, PAGE, PAGE, TOGETHER, AT + 5 * PAGE)).toBe(true);
    expect(areas()).toEqual([
      [2 * PAGE, 3 * PAGE, 2 * PAGE, RW, DEVICE],
      [5 * PAGE, 6 * PAGE, PAGE, RW, DEVICE],
    ]);
  });

  test('right behind or before itself may move', () => {
    for (const to of [AT + 3 * PAGE, AT]) {
      clearState();
      map();
      expect(remap(AT + PAGE, 2 * PAGE, to === AT ? PAGE : 2 * PAGE, TOGETHER, to)).toBe(true);
      expect(errands.outcome).toEqual({ kind: 'return', value: to });
    }
  });

  test('of others, or by an errand is the kernel’s', () => {
    map();
    expect(remap(AT + 6 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0)).toBe(false);
    call.returnsTo = TRAP_PAGE;
    expect(remap(AT + PAGE, PAGE, PAGE, TOGETHER, TO)).toBe(false);
    expect([call.answer, made(), areas()]).toEqual([null, [], mapped]);
  });
});
