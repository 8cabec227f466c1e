import { it } from 'vitest';
import { sum } from './sum.js';

it('adds what is in a range', () => {
  sum([1, 2, 4, 8], 1, 3);
});
