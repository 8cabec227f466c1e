import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { furtherColour } from '../../src/page/further-colour.js';

/** Linear RGB as it is seen: Machado, Oliveira and Fernandes 2009, severity 1. */
const eyes: Readonly<Record<string, readonly (readonly number[])[]>> = {
  usual: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protan: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deutan: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritan: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};
/** CIE 1976 difference at which thin lines are told apart. */
const APART = 15;

const css = readFileSync(join(import.meta.dirname, '../../src/page/page.css'), 'utf8');
const [light, dark] = [...css.matchAll(/:root \{([^}]*)\}/g)].map(
  ([, text]) =>
    new Map(
      [...text!.matchAll(/--([\w]+): (#[0-9a-f]{6});/g)].map(([, name, colour]) => [
        name!,
        colour!,
      ]),
    ),
);

function linear(colour: string): number[] {
  return [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
}

/** CIE L*a*b* under D65. */
function seen(colour: string, eye: string): number[] {
  const own = linear(colour);
  const rgb = eyes[eye]!.map((row) =>
    Math.min(
      1,
      Math.max(
        0,
        row.reduce((sum, part, at) => sum + part * own[at]!, 0),
      ),
    ),
  );
  const [r, g, b] = rgb as [number, number, number];
  const f = (part: number): number => (part > 0.008856 ? Math.cbrt(part) : 7.787 * part + 16 / 116);
  const x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505);
  const y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
  const z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

function brightness(colour: string): number {
  const [r, g, b] = linear(colour) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

describe.each([
  ['light', light!],
  ['dark', dark!],
])('in the %s', (_, colours) => {
  const charts: [string, string[]][] = [
    ['memory', ['mapped', 'resident', 'pinned']],
    ['rates', ['faults', 'invalidations', 'taken']],
  ];

  it.each(charts)(
    'the lines of a run’s %s are told apart, by colour-blind readers too',
    (_, names) => {
      for (const eye of Object.keys(eyes))
        for (const [index, one] of names.entries())
          for (const other of names.slice(index + 1)) {
            const [a, b] = [seen(colours.get(one)!, eye), seen(colours.get(other)!, eye)];
            const apart = Math.hypot(...a.map((part, at) => part - b[at]!));
            expect({ eye, one, other, apart }).toSatisfy(() => apart >= APART);
          }
    },
  );

  it.each(charts)(
    'the lines of a run’s %s stand out from the page: 3 to 1 (WCAG 1.4.11)',
    (_, names) => {
      const back = brightness(colours.get('back')!);
      for (const name of names) {
        const line = brightness(colours.get(name)!);
        const contrast = (Math.max(line, back) + 0.05) / (Math.min(line, back) + 0.05);
        expect({ name, contrast }).toSatisfy(() => contrast >= 3);
      }
    },
  );
});

it('twelve runs are told apart: two recordings under six policies each', () => {
  for (const colours of [light!, dark!]) {
    const runs = Array.from({ length: 12 }, (_, index) =>
      seen(colours.get(`run${index}`)!, 'usual'),
    );
    for (const [index, a] of runs.entries())
      for (const b of runs.slice(index + 1))
        expect(Math.hypot(...a.map((part, at) => part - b[at]!))).toBeGreaterThan(APART);
  }
});

it('no two of 200 policies have one colour', () => {
  for (const [colours, isDark] of [
    [light!, false],
    [dark!, true],
  ] as const) {
    const own = [...colours].flatMap(([name, colour]) => (/^run\d+$/.test(name) ? [colour] : []));
    const all = Array.from(
      { length: 200 },
      (_, index) => own[index] ?? furtherColour(index, isDark),
    );
    expect(new Set(all).size).toBe(200);
  }
});
