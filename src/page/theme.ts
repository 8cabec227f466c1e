/** The colours that drawings take from the style sheet: they change with light, dark and print. */
import { furtherColour } from './further-colour.js';

export interface Palette {
  readonly ink: string;
  readonly dim: string;
  readonly line: string;
  readonly back: string;
  readonly panel: string;
  readonly mapped: string;
  readonly resident: string;
  readonly pinned: string;
  readonly touched: string;
  readonly taken: string;
  readonly faults: string;
  readonly invalidations: string;
  readonly bad: string;
  readonly runs: readonly string[];
}

/** Two recordings under six policies each. */
const RUNS = 12;
const listeners = new Set<() => void>();
let current: Palette | null = null;

export function palette(): Palette {
  current ??= read();
  return current;
}

/** Calls back when colours change. Returns how to stop. */
export function onThemeChange(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function themeChanged(): void {
  current = null;
  for (const listener of listeners) listener();
}

function read(): Palette {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: of('ink'),
    dim: of('dim'),
    line: of('line'),
    back: of('back'),
    panel: of('panel'),
    mapped: of('mapped'),
    resident: of('resident'),
    pinned: of('pinned'),
    touched: of('touched'),
    taken: of('taken'),
    faults: of('faults'),
    invalidations: of('invalidations'),
    bad: of('bad'),
    runs: Array.from({ length: RUNS }, (_, index) => of(`run${index}`)),
  };
}

const isDark = matchMedia('(prefers-color-scheme: dark)');

/** The colour of a run among several. */
export function runColour(index: number): (palette: Palette) => string {
  return ({ runs }) => runs[index] ?? furtherColour(index, isDark.matches);
}

/** `#rrggbb` as its three bytes. */
export function rgb(colour: string): readonly [number, number, number] {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

for (const query of ['(prefers-color-scheme: dark)', 'print'])
  matchMedia(query).addEventListener('change', themeChanged);
