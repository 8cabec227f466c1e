import { expect, it } from 'vitest';
import { sum } from './sum.js';

it('adds what is in a range', () => {
  expect(sum([1, 2, 4, 8], 1, 3)).toBe(6);
});
