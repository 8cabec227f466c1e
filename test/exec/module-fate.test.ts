/** The words by which another thread sees in which handler of which device a run is. */
import { expect, test } from 'vitest';
import { HandlerWatch } from '../../src/exec/module/module-fate.js';
import { WatchWord } from '../../src/exec/module/watch-words.js';

test('show the innermost handler, a new number for each way in and out, and 0 outside', () => {
  const words = new Int32Array(64);
  const watch = new HandlerWatch(words);
  const seen = (): number[] => [words[WatchWord.DEVICE]!, words[WatchWord.HANDLER]!];
  const numbers = new Set<number>();
  const number = (): number => words[WatchWord.SEQUENCE]!;
  watch.enter(3, 1);
  expect(seen()).toEqual([3, 1]);
  numbers.add(number());
  watch.enter(4, 2);
  expect(seen()).toEqual([4, 2]);
  numbers.add(number());
  watch.leave();
  expect(seen()).toEqual([3, 1]);
  numbers.add(number());
  expect([numbers.size, numbers.has(0)]).toEqual([3, false]);
  watch.leave();
  expect(number()).toBe(0);
});

test('show nothing beyond 64 handlers within each other, and the 64th again behind that', () => {
  const words = new Int32Array(64);
  const watch = new HandlerWatch(words);
  for (let depth = 0; depth < 64; depth++) watch.enter(depth, 0);
  expect([words[WatchWord.DEVICE], words[WatchWord.SEQUENCE] === 0]).toEqual([63, false]);
  watch.enter(64, 0);
  expect(words[WatchWord.SEQUENCE]).toBe(0);
  watch.leave();
  expect([words[WatchWord.DEVICE], words[WatchWord.SEQUENCE] === 0]).toEqual([63, false]);
});

test('count transfers that began and ended', () => {
  const words = new Int32Array(64);
  const watch = new HandlerWatch(words);
  watch.begun++;
  watch.begun++;
  watch.ended++;
  expect([watch.begun, watch.ended]).toEqual([2, 1]);
  expect([words[WatchWord.DMA_BEGUN], words[WatchWord.DMA_ENDED]]).toEqual([2, 1]);
});
