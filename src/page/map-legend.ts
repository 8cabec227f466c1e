/** What the colours of the address × time map mean, and what a place of it is in words. */
import { make } from './dom.js';
import { count, PAGE_BYTES, range } from './format.js';
import type { Cell } from './map-history.js';
import { onThemeChange, type Palette, palette } from './theme.js';

const legend: readonly (readonly [string, (palette: Palette) => string, string])[] = [
  ['touched by the device', (p) => p.touched, ''],
  ['invalidated', (p) => p.taken, 'right half of a step'],
  ['in I/O page tables', (p) => p.resident, ''],
  ['mapped', (p) => p.mapped, ''],
];
const markLegend: typeof legend = [
  ['refused', (p) => p.bad, 'a cross where and when it was first refused'],
  ['reset, unbind, injected', (p) => p.ink, 'a dashed line'],
];

/** `stop` lets go of the theme. `marked`: of a run, which has moments that are marked. */
export function mapLegend(marked: boolean): {
  readonly root: HTMLElement;
  readonly stop: () => void;
} {
  const root = make('div', { class: 'legend' });
  const squares = [...legend, ...(marked ? markLegend : [])].map(([name, colour, title]) => {
    const square = make('i');
    root.append(make('span', title === '' ? {} : { title }, square, name));
    return { square, colour };
  });
  const paint = (): void => {
    for (const { square, colour } of squares) square.style.background = colour(palette());
  };
  paint();
  return { root, stop: onThemeChange(paint) };
}

/** One row of a step. */
export function describe(cell: Cell, at: string): string[] {
  const { broughtIn, mapped, resident } = cell;
  const touched = Math.round(cell.touched);
  const happened = `faulted ${Math.round(cell.faulted)}, invalidated ${Math.round(cell.taken)} pages`;
  const rows = range(cell.first * PAGE_BYTES, cell.pages * PAGE_BYTES);
  const came = broughtIn === null ? '' : `brought in ${Math.round(broughtIn)}, `;
  return [
    `${rows} ${at}`,
    `touched ${touched}, ${came}${happened}`,
    `in I/O page tables ${count(Math.round(resident))} of ${count(Math.round(mapped))} mapped pages`,
  ];
}
