/** The state of a trap page: what is read back of it, and how areas come and go. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SignalAction } from '../../../src/exec/trap/signal-action.js';
import {
  findArea,
  HANDLER_TABLE,
  isTrapPage,
  STATE_BYTES_FIRST,
  TRAP_PAGE,
  TRAP_STATE,
  type TrappedArea,
  TrapState,
} from '../../../src/exec/trap/trap-page.js';
import { bytesAt } from '../../../src/mm/process/libc.js';
import { clearState, mapTrapPage, unmapTrapPage, writtenState } from './own-trap-page.js';

const HIGH_ADDRESS = 0x7fff_1234_5000;
/** The areas that there is room for before the table of handlers. */
const AREAS = (HANDLER_TABLE - TRAP_STATE - 64) / 32;

beforeAll(mapTrapPage);
afterAll(unmapTrapPage);
beforeEach(clearState);

const area = (page: number, pages = 1): TrappedArea => ({
  start: HIGH_ADDRESS + page * 4096,
  end: HIGH_ADDRESS + (page + pages) * 4096,
  offset: 5 * 2 ** 40 + page * 4096,
  device: 7,
  protection: 3,
});

function stateOf(...areas: readonly TrappedArea[]): TrapState {
  const state = new TrapState();
  for (const each of areas) expect(state.add(each)).toBe(true);
  return state;
}

test('all of it is read back as it was written', () => {
  const state = stateOf(area(8), area(0, 3));
  state.owner = 4711;
  state.action = SignalAction.of(HIGH_ADDRESS, 0x1400_0004, 0x5555_0000_1000);
  state.setBlockedIn(1, true);
  state.setBlockedIn(64, true);
  expect(state.write(process.pid)).toBe(true);
  expect(writtenState()).toEqual(state);
  expect(writtenState().areas).toEqual([area(0, 3), area(8)]);
  expect(writtenState().action.handler).toBe(HIGH_ADDRESS);
});

test('memory that does not begin with the mark is no state, and a count that cannot be is cut', () => {
  const bytes = bytesAt(TRAP_STATE, 4096);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, 1024);
  words[3] = 0xffffffff;
  expect(writtenState().areas.length).toBe(AREAS);
  for (const at of [0, 1]) {
    clearState();
    words[at]!++;
    expect(TrapState.read(process.pid)).toBeNull();
  }
});

test('a process that has none has no state, and none can be written', () => {
  unmapTrapPage();
  expect(TrapState.read(process.pid)).toBeNull();
  expect(new TrapState().write(process.pid)).toBe(false);
  mapTrapPage();
});

test('its code is not its state', () => {
  expect([TRAP_PAGE - 1, TRAP_PAGE, TRAP_STATE - 1, TRAP_STATE].map(isTrapPage)).toEqual([
    false,
    true,
    true,
    false,
  ]);
});

test('has room for so many areas, which the table of handlers keeps', () => {
  const bytes = bytesAt(HANDLER_TABLE, TRAP_STATE + 4096 - HANDLER_TABLE);
  bytes.fill(0xab);
  const state = new TrapState();
  for (let at = 0; at < AREAS; at++) expect(state.add(area(2 * at))).toBe(true);
  expect(state.add(area(-1))).toBe(false);
  expect(state.write(process.pid)).toBe(true);
  expect(writtenState().areas.length).toBe(AREAS);
  expect(bytes.every((byte) => byte === 0xab)).toBe(true);
  // Four pieces where there were three.
  state.remove(area(0).start, area(0).end);
  expect(state.add(area(2 * AREAS, 3))).toBe(true);
  expect(state.remove(area(2 * AREAS + 1).start, area(2 * AREAS + 1).end)).toBe(false);
  expect(state.areas.at(-1)).toEqual(area(2 * AREAS, 3));
});

describe('what is taken out of areas', () => {
  test.each<[string, number, number, TrappedArea[]]>([
    ['their middle', 1, 2, [area(0), area(3), area(8)]],
    ['their start', 0, 2, [area(2, 2), area(8)]],
    ['their end', 2, 2, [area(0, 2), area(8)]],
    ['one whole', -1, 6, [area(8)]],
    ['the end of one and all of another', 3, 10, [area(0, 3)]],
    ['what lies between', 4, 4, [area(0, 4), area(8)]],
  ])('%s', (_, first, pages, left) => {
    const state = stateOf(area(8), area(0, 4));
    const { start, end } = area(first, pages);
    expect(state.remove(start, end)).toBe(true);
    expect(state.areas).toEqual(left);
  });

  test('gets another protection, and what is around it keeps its own', () => {
    const state = stateOf(area(0, 4));
    expect(state.protect(area(1).start, area(1).end, 1)).toBe(true);
    expect(state.areas).toEqual([area(0), { ...area(1), protection: 1 }, area(2, 2)]);
  });

  test('is found where it has a byte in common', () => {
    const state = stateOf(area(0, 2), area(4));
    const within = (first: number, bytes: number): number =>
      state.within(area(first).start, area(first).start + bytes).length;
    expect([within(0, 1), within(2, 2 * 4096), within(2, 2 * 4096 + 1), within(1, 4096)]).toEqual([
      1, 0, 1, 1,
    ]);
  });
});

describe('an address is looked for in the first bytes of a state', () => {
  const find = (state: TrapState, address: number): unknown => {
    const words = new Uint32Array(2 + STATE_BYTES_FIRST / 4);
    const all = new Uint32Array(state.bytes().buffer);
    words.set(all.subarray(0, STATE_BYTES_FIRST / 4), 2);
    return findArea(words, 2, address);
  };

  test('and found from the first of an area’s to the last', () => {
    const state = stateOf(area(0), area(2));
    for (const each of [area(0), area(2)]) {
      expect(find(state, each.start)).toEqual(each);
      expect(find(state, each.end - 1)).toEqual(each);
      for (const address of [each.start - 1, each.end]) expect(find(state, address)).toBeNull();
    }
  });

  test('and there may be more where the areas go on behind them', () => {
    const eight = stateOf(...[0, 2, 4, 6, 8, 10, 12, 14].map((page) => area(page)));
    expect(find(eight, area(14).start)).toEqual(area(14));
    expect(find(eight, area(16).start)).toBeNull();
    expect(eight.add(area(16))).toBe(true);
    expect(find(eight, area(14).start)).toEqual(area(14));
    expect(find(eight, area(16).start)).toBe('more');
  });
});

describe('the signals in whose handlers SIGSEGV is believed blocked', () => {
  test('are kept one by one, from 1 to 64', () => {
    const state = new TrapState();
    for (const signal of [1, 32, 33, 64]) {
      state.setBlockedIn(signal, true);
      const blocked = [...Array(64).keys()]
        .map((at) => at + 1)
        .filter((at) => state.isBlockedIn(at));
      expect(blocked).toEqual([signal]);
      expect(state.hasActions).toBe(true);
      state.setBlockedIn(signal, false);
      expect(state.hasActions).toBe(false);
    }
    expect([0, 65].map((signal) => state.isBlockedIn(signal))).toEqual([false, false]);
  });

  test('or an action of SIGSEGV’s own make a state that says something', () => {
    const state = new TrapState();
    state.action = SignalAction.of(HIGH_ADDRESS, 0, 0);
    expect(state.hasActions).toBe(true);
  });
});
