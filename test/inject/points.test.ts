/** Each point, and each of its faults, has a test with a program that notices it. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { OwnPoint } from '../../src/device/own-points.js';
import { type PointName, points } from '../../src/inject/points.js';
import { parseRule, type Rule } from '../../src/inject/rule.js';

/** Where programs are run. */
const folder = new URL('../exec/', import.meta.url);
const own: OwnPoint[] = [
  { kind: 'ring', name: 'short', event: '', fault: '', takes: null, sweep: [] },
  { kind: 'ring', name: 'status', event: '', fault: '', takes: 'number', sweep: [] },
];

/** The rules that stand in texts of these tests. */
const rules: Rule[] = readdirSync(folder)
  .filter((name) => name.endsWith('.test.ts'))
  .flatMap((name) => {
    const text = readFileSync(new URL(name, folder), 'utf8');
    return [...text.matchAll(/['`]([a-z][\w-]*:[^'`$\s]+)['`]/g)].flatMap(([, word]) => {
      try {
        return parseRule(word!, own);
      } catch {
        return [];
      }
    });
  });

/** What a rule of a point may say behind `=`: `late` of `late:TIME`; null: a value, or nothing. */
function faultsOf(name: PointName): (string | null)[] {
  const [, behind = ''] = points[name].form.replace(/[[\]]/g, '').split('=');
  return behind.split('|').map((fault) => {
    const [word = ''] = fault.split(':');
    return ['', 'ERRNO', 'NUMBER', 'TIME', 'VALUE'].includes(word) ? null : word;
  });
}

describe('a point', () => {
  const each = (Object.keys(points) as PointName[]).flatMap((name) =>
    faultsOf(name).map((fault): [PointName, string | null] => [name, fault]),
  );
  it.each(each)('%s (%s) has a test with a program', (name, fault) => {
    const found = rules.filter(
      ({ point, text }) => point === name && (fault === null || text.includes(`=${fault}`)),
    );
    expect(found.map(({ text }) => text)).not.toEqual([]);
  });

  it('that no test names would be found', () => {
    expect(rules.filter(({ text }) => text.includes('=no-such-fault'))).toEqual([]);
    expect(each).toContainEqual(['iommu:request', 'PARTIAL']);
    expect(each).toContainEqual(['nvme:command', 'reorder']);
    expect(each).toContainEqual(['call', 'late']);
    expect(rules.length).toBeGreaterThan(20);
  });
});
