import { describe, expect, it } from 'vitest';
import type { OwnPoint } from '../../src/device/own-points.js';
import { points } from '../../src/inject/points.js';
import { rulesOfSet, spread, withTime } from '../../src/inject/sweep.js';

describe('a set of a sweep', () => {
  it('is a kind of point, several, all of them, or a rule', () => {
    expect(rulesOfSet('dma', true)).toEqual(['dma:refuse']);
    expect(rulesOfSet('dma,device', true)).toEqual(['dma:refuse', 'device:unplug', 'device:dead']);
    expect(rulesOfSet('nvme:read=never@queue=1,device=02:00.0', true)).toHaveLength(1);
    expect(rulesOfSet('all', true)).toEqual(Object.values(points).flatMap(({ sweep }) => sweep));
  });

  it('has rules without a time, each of which takes one', () => {
    for (const rule of rulesOfSet('all', true))
      expect(rulesOfSet(withTime(rule, 7).replace(':7', ''), true)).toEqual([rule]);
  });

  it('has what devices declare, by their name and among all', () => {
    const point = { kind: 'ring', event: '', fault: '' };
    const own: OwnPoint[] = [
      { ...point, name: 'short', takes: null, sweep: [true] },
      { ...point, name: 'status', takes: 'number', sweep: [0, 2] },
    ];
    const rules = ['ring:short', 'ring:status=0', 'ring:status=2'];
    expect(rulesOfSet('ring', true, own)).toEqual(rules);
    expect(rulesOfSet('all', true, own).slice(-3)).toEqual(rules);
    expect(rulesOfSet('ring:status=5', true, own)).toEqual(['ring:status=5']);
    expect(() => rulesOfSet('rings', true, own)).toThrow('device, ring, or a rule without a time');
  });

  it('leaves out what needs I/O page faults where there are none', () => {
    expect(rulesOfSet('memory,iommu', false)).toEqual([]);
  });

  it.each([
    ['register', 'there is no set "register"'],
    ['nvem', 'there is no set "nvem"; sets: all, call, group, dma,'],
    ['dma:refuse:3', 'a sweep chooses the times itself; leave out "3"'],
    ['memory:take@access=7', 'a sweep chooses the times itself; leave out access=N'],
    ['nvme:read=sometimes', 'is needed, not "=sometimes"'],
  ])('%s is refused, with what would be right', (set, message) => {
    expect(() => rulesOfSet(set, true)).toThrow(message);
  });
});

describe('times of a sweep', () => {
  it('stand behind the point, before what happens and where', () => {
    expect(withTime('nvme:cmd=late:100ms@queue=1', 4)).toBe('nvme:cmd:4=late:100ms@queue=1');
  });

  it.each([
    [0, 5, []],
    [3, 5, [1, 2, 3]],
    [100, 1, [1]],
    [100, 4, [1, 34, 67, 100]],
  ])('of %i, at most %i: %j', (count, most, expected) => {
    expect(spread(count, most)).toEqual(expected);
  });
});
