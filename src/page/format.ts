/** Numbers as people read them. */
import { formatSize } from '../input/size.js';

/** Bytes of a page: tables, maps and samples count pages. */
export const PAGE_BYTES = 4096;

export function seconds(value: number): string {
  if (value === 0) return '0';
  if (value < 1e-3) return `${(value * 1e6).toFixed(1)} µs`;
  return value < 1 ? `${(value * 1e3).toFixed(2)} ms` : `${value.toFixed(2)} s`;
}

/** A time on an axis whose ticks are `step` apart: no more digits than they need. */
export function tick(value: number, step: number): string {
  if (value === 0) return '0';
  const [scale, unit] = step >= 0.1 ? [1, 's'] : step >= 1e-4 ? [1e3, 'ms'] : [1e6, 'µs'];
  let digits = 0;
  // A quarter needs two, although it is above a tenth.
  while (digits < 3 && !isWhole(step * scale * 10 ** digits)) digits++;
  return `${(value * scale).toFixed(digits)} ${unit}`;
}

function isWhole(value: number): boolean {
  return Math.abs(value - Math.round(value)) < 1e-6;
}

export function count(value: number): string {
  return Number.isInteger(value)
    ? value.toLocaleString('en')
    : value.toLocaleString('en', { maximumFractionDigits: 3 });
}

export function rate(value: number): string {
  return `${Math.round(value).toLocaleString('en')}/s`;
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** A range of bytes, half open. */
export function range(first: number, bytes: number): string {
  return `[${hex(first)}, ${hex(first + bytes)})`;
}

/** Without the sign of a zero. */
function percent(value: number): string {
  return `${value.toFixed(1).replace(/^-0\.0$/, '0.0')} %`;
}

/** A value by the name that `--json` gives it. */
export function show(name: string, value: unknown): string {
  if (value === null || value === undefined) return '–';
  if (typeof value !== 'number') return typeof value === 'string' ? value : JSON.stringify(value);
  if (name === 'iova') return hex(value);
  if (/Change$/.test(name)) return `${value > 0 ? '+' : ''}${percent(value)}`;
  if (/Percent$/.test(name)) return percent(value);
  if (/Bytes/.test(name)) return formatSize(value);
  if (/Us($|\.)/.test(name)) return `${count(value)} µs`;
  if (/Seconds$/.test(name)) return seconds(value);
  return count(value);
}

/** The name that `--json` gives a value, as words. */
export function words(name: string): string {
  return name
    .replace(/(Bytes|Seconds|Percent|Change|Us)(?=[A-Z.]|$)/g, '')
    .replace('.', ' ')
    .replace(/([A-Z])/g, ' $1')
    .replace(/\s+/g, ' ')
    .toLowerCase()
    .trim();
}
