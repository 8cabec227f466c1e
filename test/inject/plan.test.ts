import { describe, expect, it } from 'vitest';
import { Plan } from '../../src/inject/plan.js';
import { parseRule } from '../../src/inject/rule.js';

/** At which of so many passes the fault of a rule is. */
function times(text: string, passes: number, seed = 1): number[] {
  const [armed] = new Plan([parseRule(text)], seed, () => 0).at(['dma:refuse']);
  return [...Array(passes).keys()].map((n) => n + 1).filter(() => armed!.passes());
}

describe('a plan', () => {
  it.each([
    ['dma:refuse', [1, 2, 3, 4, 5, 6]],
    ['dma:refuse:3', [3]],
    ['dma:refuse:3+', [3, 4, 5, 6]],
    ['dma:refuse:/2', [2, 4, 6]],
    ['dma:refuse:0', []],
  ])('%s: of six passes %j', (text, expected) => {
    expect(times(text, 6)).toEqual(expected);
  });

  it('of chance is the same with the same seed, and about as often as it says', () => {
    const text = 'dma:refuse:10%';
    expect(times(text, 1000, 5)).toEqual(times(text, 1000, 5));
    expect(times(text, 1000, 5)).not.toEqual(times(text, 1000, 6));
    expect(times(text, 10000).length).toBeGreaterThan(900);
    expect(times(text, 10000).length).toBeLessThan(1100);
  });

  it('gives a rule numbers of its own: another rule behind it changes none', () => {
    const alone = new Plan([parseRule('dma:refuse:50%')], 3, () => 0).at(['dma:refuse'])[0]!;
    const both = new Plan(
      [parseRule('dma:refuse:50%'), parseRule('interrupt:drop:50%')],
      3,
      () => 0,
    );
    const [first] = both.at(['dma:refuse']);
    const [other] = both.at(['interrupt:drop']);
    const different = [...Array(64)].filter(() => {
      const mine = first!.passes();
      expect(mine).toBe(alone.passes());
      return mine !== other!.passes();
    });
    expect(different.length).toBeGreaterThan(0);
  });

  it('counts from the time on that a rule names', () => {
    let now = 0;
    const plan = new Plan([parseRule('dma:refuse:2@1s')], 1, () => now);
    const [armed] = plan.at(['dma:refuse']);
    expect([armed!.passes(), armed!.passes(), armed!.passes()]).toEqual([false, false, false]);
    now = 1000;
    expect([armed!.passes(), armed!.passes(), armed!.passes()]).toEqual([false, true, false]);
    expect(plan.injected).toEqual([
      { rule: 'dma:refuse:2@1s', point: 'dma:refuse', count: 1, passed: 3 },
    ]);
  });

  it('tells of each fault, and of no other pass', () => {
    const made: string[] = [];
    const rules = ['dma:refuse:2', 'memory:take:0'].map((text) => parseRule(text));
    const plan = new Plan(
      rules,
      1,
      () => 0,
      ({ text }) => made.push(text),
    );
    for (const armed of plan.at(['dma:refuse', 'memory:take']))
      for (let pass = 0; pass < 3; pass++) armed.passes();
    expect(made).toEqual(['dma:refuse:2']);
  });

  it('has rules of a device for that device, and others for any', () => {
    const rules = ['dma:refuse@device=02:00.0', 'dma:refuse'].map((text) => parseRule(text));
    const plan = new Plan(rules, 1, () => 0);
    expect(plan.at(['dma:refuse'], '0000:02:00.0')).toHaveLength(2);
    expect(plan.at(['dma:refuse'], '0000:03:00.0').map(({ rule }) => rule.text)).toEqual([
      'dma:refuse',
    ]);
    expect(plan.at(['memory:take'])).toEqual([]);
  });
});
