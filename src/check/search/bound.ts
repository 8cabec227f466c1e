/** How far a check is to go: `pages=3,devices=3,steps=40`. */
import type { Size } from '../world/scenario-world.js';

export interface Bound {
  /** Null: as the scenarios have it. */
  readonly pages: number | null;
  readonly devices: number | null;
  /** Steps after which orders are cut; null: none is. */
  readonly steps: number | null;
}

/** Actors are bits of a number, and a scenario has up to three beside its devices. */
const most: Readonly<Record<keyof Bound, number>> = { pages: 64, devices: 8, steps: 999 };

/** Throws an Error that says what is wrong with the text. */
export function parseBound(text: string): Bound {
  const bound: { -readonly [key in keyof Bound]: Bound[key] } = {
    pages: null,
    devices: null,
    steps: null,
  };
  for (const part of text.split(',')) {
    const [, key, digits] = /^(pages|devices|steps)=(\d+)$/.exec(part) ?? [];
    if (key === undefined)
      throw new Error(`pages=N, devices=N and steps=N are possible, with commas: not '${part}'.`);
    const name = key as keyof Bound;
    const value = Number(digits);
    if (value < 1 || value > most[name])
      throw new Error(`${name} is a number from 1 to ${most[name]}.`);
    if (bound[name] !== null) throw new Error(`${name} is given twice.`);
    bound[name] = value;
  }
  return bound;
}

/** What scenarios are scaled to at least; null: they stay as they are. */
export function sizeIn({ pages, devices }: Bound): Size | null {
  return pages === null && devices === null ? null : { pages: pages ?? 1, devices: devices ?? 1 };
}
