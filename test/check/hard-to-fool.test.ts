/** A wrong variant gets no help of the harness: one canary for each way in which it could. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { outcomeOf } from '../../src/check/report/outcome.js';
import { scenarios } from '../../src/check/scenarios/index.js';
import { explore } from '../../src/check/search/explorer.js';
import { findShortest } from '../../src/check/search/find.js';
import type { Job } from '../../src/check/search/job.js';
import type { Ref, ScenarioReport } from '../../src/check/search/run-scenario.js';
import { watchVariant } from '../../src/check/search/variant-shape.js';
import { ScenarioMistake } from '../../src/check/verify/scenario-mistake.js';
import { iopfWith, type Parts, shippedParts, type Variant } from '../../src/check/world/parts.js';
import type { Scenario } from '../../src/check/world/scenario.js';
import { PageIn } from '../../src/ioas/iopf/page-in.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { Domain } from '../../src/iommu/domain.js';
import { READ } from '../../src/mm/address-space.js';

function variant(parts: Variant['parts']): Variant {
  return { name: 'mine', row: 'R3.1', about: 'wrong in a way of its own', parts };
}

/** What is found of a variant, as a user's is checked; and how often its methods ran. */
function foundOf(parts: Variant['parts'], among: readonly Scenario[] = scenarios) {
  const watch = watchVariant(variant(parts));
  for (const scenario of among) {
    const options = { reduce: false, statesMax: 5_000 };
    const { found } = findShortest(scenario, watch.parts, options);
    if (found !== null) return { invariant: found.violation.invariant, calls: watch.calls };
  }
  return { invariant: null, calls: watch.calls };
}

/** A device reads a page that goes twice. */
const twice: Scenario = {
  name: 'twice',
  about: 'a device reads a page that goes twice',
  rows: ['R3.1'],
  world: { pages: 2 },
  setup: (world) => world.programs[0]!.map(0, 2),
  actors: {
    *device(world) {
      yield* world.devices[0]!.read(0);
      yield* world.devices[0]!.read(0);
    },
    *host(world) {
      yield* world.host.discard(0);
      yield* world.host.discard(0);
    },
  },
};

describe('a variant is found out though', () => {
  test('it flushes late, and emptying a domain for the next order would flush', () => {
    class Lazy extends Domain {
      readonly waiting: [number, number][] = [];

      override flush(page: number, count: number): void {
        this.waiting.push([page, count]);
        if (this.waiting.length > 1)
          for (const [first, pages] of this.waiting.splice(0)) super.flush(first, pages);
      }
    }
    expect(foundOf({ Domain: Lazy }, [twice]).invariant).toContain('say the same');
  });

  test('what it counts in fields that it gets later would go on from order to order', () => {
    class Once extends IommuDevice {
      declare wasRight: boolean;

      override translate(iovaPage: number, access: number): number {
        // Wrong at first: after any order of another world it would be right for ever.
        if (this.wasRight) return super.translate(iovaPage, access);
        this.wasRight = true;
        return 77;
      }
    }
    for (const scenario of [twice, twice])
      expect(foundOf({ IommuDevice: Once }, [scenario]).invariant).not.toBeNull();
  });

  test('it catches what the harness throws through it', () => {
    class Deaf extends IommuDevice {
      override translate(iovaPage: number, access: number): number {
        try {
          return super.translate(iovaPage, access);
        } catch {
          return -1;
        }
      }
    }
    class Stale extends Domain {
      override flush(): void {}
    }
    expect(foundOf({ IommuDevice: Deaf, Domain: Stale }).invariant).not.toBeNull();
  });
});

describe('of a variant', () => {
  test('states that differ in its own fields alone are two', () => {
    class Counts extends Domain {
      flushes = 0;

      override flush(page: number, count: number): void {
        this.flushes++;
        super.flush(page, count);
      }
    }
    const statesOf = (parts: Parts): number => explore(twice, { parts, reduce: false }).states;
    const { parts } = watchVariant(variant({ Domain: Counts }));
    expect(statesOf(parts)).toBeGreaterThan(statesOf(shippedParts));
    const { parts: plain } = watchVariant(variant({ Domain: class extends Domain {} }));
    expect(statesOf(plain)).toBe(statesOf(shippedParts));
  });

  test('is said how often its own methods ran, those of parts of the IOPF side included', () => {
    class Right extends PageIn {
      override get isValid(): boolean {
        return super.isValid;
      }
    }
    const { invariant, calls } = foundOf({ Iopf: iopfWith({ PageIn: Right }) }, [twice]);
    expect(invariant).toBeNull();
    expect(calls).toBeGreaterThan(0);
    class Idle extends Domain {
      neverCalled(): number {
        return READ;
      }
    }
    expect(foundOf({ Domain: Idle }, [twice])).toEqual({ invariant: null, calls: 0 });
  });

  test.each([
    [
      'keeps something where no state tells it',
      /# fields/,
      {
        Domain: class extends Domain {
          #n = 0;
          override flush(page: number, count: number): void {
            this.#n++;
            super.flush(page, count);
          }
        },
      },
    ],
    [
      'is no subclass of the shipped one',
      /no subclass of the shipped Domain/,
      { Domain: class {} },
    ],
  ])('a part that %s is refused', (_, message, parts) => {
    const watch = (): unknown => watchVariant(variant(parts as Variant['parts']));
    expect(watch).toThrow(ScenarioMistake);
    expect(watch).toThrow(message);
  });
});

describe('a check', () => {
  const report: ScenarioReport = {
    ...{ name: 'mine', about: '', rows: [], actors: ['device'], variant: null, seconds: 0 },
    ...{ orders: 6, states: 9, runs: 4, stepsKnown: 0, rounds: 0, longest: 3, randomOrders: 0 },
    ...{ pages: 1, devices: 1, scalable: false, shares: 1, cut: 0 },
    ...{ exhaustive: true, replacedCalls: null, violations: [] },
  };
  const job = (variant: Ref | null): Job => ({
    ...{ scenarios: [], variant, statesMax: 9, randomSeconds: 0, seed: 1 },
    ...{ stepsMax: null, size: null, share: null },
  });
  const mine = { name: 'mine', module: 'file:///mine.ts' };

  test.each([
    ['passes where every order holds', report, null, true, true, []],
    [
      'in which no order came to its end is no pass',
      { ...report, orders: 0 },
      null,
      false,
      false,
      ['nothing was run of: mine'],
    ],
    [
      'in which no actor takes a step is no pass',
      { ...report, longest: 0 },
      null,
      false,
      false,
      ['nothing was run of: mine'],
    ],
    ['of a part of the orders passes', { ...report, exhaustive: false }, null, false, true, []],
    [
      'that wants all of them does not pass with a part',
      { ...report, exhaustive: false },
      null,
      true,
      false,
      ['not every order was run of: mine'],
    ],
    [
      'of a variant that held says how much of it ran',
      { ...report, variant: 'mine', replacedCalls: 1234 },
      mine,
      false,
      true,
      ['mine: no violation found; its methods ran 1,234 times'],
    ],
    [
      'of a shipped variant that held says that it was not found out',
      { ...report, variant: 'mine' },
      { ...mine, module: null },
      false,
      true,
      ['not found out: mine'],
    ],
  ])('%s', (_, one, variant, exhaustive, passed, lines) => {
    const outcome = outcomeOf([job(variant)], [one], [], exhaustive);
    expect(outcome).toMatchObject({ passed, lines });
    // Whatever else than a violation keeps it from passing is told as a failure, too.
    const isBroken = one.violations.length > 0;
    expect(outcome.failures).toEqual(passed || isBroken ? [] : lines);
  });
});

describe('iopf check --variant FILE (npm test builds first)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'test-variant-'));
  const file = join(folder, 'late.ts');
  afterAll(() => rmSync(folder, { recursive: true }));
  writeFileSync(
    file,
    `import { Domain } from 'iopf/check';
class Lazy extends Domain {
  waiting: number[][] = [];
  override flush(page: number, count: number): void {
    this.waiting.push([page, count]);
    if (this.waiting.length > 1) for (const [p, n] of this.waiting.splice(0)) super.flush(p!, n!);
  }
}
class Idle extends Domain {
  idle(): void {}
}
const about = 'a design';
export const late = { name: 'late', row: 'R3.1', about, parts: { Domain: Lazy } };
export const idle = { name: 'idle', row: 'R3.1', about, parts: { Domain: Idle } };
export const mine = {
  name: 'mine', about, rows: ['R3.1'], world: { pages: 1 },
  setup: (world) => world.programs[0].map(0, 1),
  actors: {
    *device(world) {
      yield* world.devices[0].read(0);
    },
    *host(world) {
      yield* world.host.discard(0);
    },
  },
};
`,
  );
  const check = (...args: string[]) =>
    spawnSync(process.execPath, ['dist/src/cli/main.js', 'check', ...args], { encoding: 'utf8' });

  test('a late flush: found, with the lines of the scenario, and shown again by what is printed', () => {
    const { stdout, status } = check('--variant', `${file}#late`, file);
    expect(status).toBe(1);
    expect(stdout).toContain('broken: the bitmap, the page tables of all domains and the IOTLBs');
    expect(stdout).toMatch(/read 0x200\n +at late\.ts:20\n/);
    const again = /again: iopf check (.*)$/m.exec(stdout)![1]!.split(' ');
    expect(again).toContain(`${file}#late`);
    const shown = check(...again);
    expect(shown.stdout).toContain('at late.ts:23');
    expect(shown.status).toBe(1);
  });

  test('one whose methods never ran is no pass', () => {
    const idle = check('--variant', `${file}#idle`, `${file}#mine`);
    expect(idle.stdout).toMatch(/^idle: none of its methods ran, so nothing is known of it$/m);
    expect(idle.status).toBe(1);
  });

  test('a file without variants, and a variant that is none, are told', () => {
    expect(check('--variant', `${file}#other`).stderr).toBe(
      `iopf: ${file} exports no variant other, but idle, late\n`,
    );
    const wrong = join(folder, 'wrong.mjs');
    writeFileSync(
      wrong,
      "export const v = { name: 'v', row: 'R3.1', about: 'x', parts: { Domian: class {} } };",
    );
    const { stderr, status } = check('--variant', wrong);
    expect(stderr).toMatch(/variant v: parts: .*Domian/);
    expect(status).toBe(2);
  });
});
