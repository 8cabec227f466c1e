import { expect, test } from 'vitest';
import { SpaceIds } from '../../src/exec/process/space-ids.js';

test('the number of an ended space is used again at once, or where it stands in tables when they are gone', () => {
  const ids = new SpaceIds();
  const taken: number[] = [];
  for (let id = ids.take(); id !== undefined; id = ids.take()) taken.push(id);
  expect(new Set(taken).size).toBe(4096);
  ids.giveBack(taken[7]!, false);
  expect(ids.take()).toBe(taken[7]);
  ids.giveBack(taken[9]!, true);
  expect(ids.take()).toBeUndefined();
  ids.recycle();
  expect(ids.take()).toBe(taken[9]);
  expect(ids.take()).toBeUndefined();
});
