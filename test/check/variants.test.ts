import { describe, expect, test } from 'vitest';
import { replay } from '../../src/check/report/history.js';
import { scenarios } from '../../src/check/scenarios/index.js';
import { findShortest, partsOf } from '../../src/check/search/find.js';
import { variantsNamed } from '../../src/check/variants/index.js';

describe('--variant rfc-v3: the review of the RFC, found by running every order', () => {
  const rows = ['R1.3', 'R3.2', 'R3.3', 'R5.2 up', 'R5.2 down', 'R5.3', 'R5.6', 'R5.8'];

  test('there is one variant for each finding', () => {
    expect(variantsNamed('rfc-v3').map(({ row }) => row)).toEqual(rows);
  });

  test.each(variantsNamed('rfc-v3'))('$row: $about', (variant) => {
    for (const scenario of scenarios) {
      const { found } = findShortest(scenario, partsOf(variant));
      if (found === null) continue;
      expect(found.violation.row ?? scenario.rows[0]).toBe(variant.row);
      expect(found.order.length).toBeLessThanOrEqual(12);
      const again = replay(scenario, partsOf(variant), found.order);
      expect(again.violation?.message).toBe(found.violation.message);
      expect(replay(scenario, partsOf(null), found.order.slice(0, -1)).violation).toBeNull();
      return;
    }
    throw new Error(`${variant.name} was not found out`);
  });
});
