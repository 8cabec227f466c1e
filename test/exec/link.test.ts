import { expect, test } from 'vitest';
import { architecture } from '../../src/exec/arch/index.js';
import { LiveLink } from '../../src/exec/live/link.js';
import type { LiveQuery } from '../../src/live/live.js';

const query: LiveQuery = { about: 'table', first: 0, pages: 1 };

test('an engine that is gone without its last word answers no question, before and after', async () => {
  const link = new LiveLink(architecture('x64')!, () => {});
  const before = link.ask(query);
  link.engine.close();
  expect(await before).toBe(null);
  await link.over;
  expect(await link.ask(query)).toBe(null);
});
