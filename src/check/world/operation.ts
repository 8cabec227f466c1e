/** Where scenarios happen, and the points between their operations. */
import type { Wait } from '../../flow/flow.js';
import { described } from '../../input/described.js';
import type { IommuGroup } from '../../iommu/group.js';
import { READ, WRITE } from '../../mm/address-space.js';
import { PAGE_NUMBER_LIMIT } from '../../mm/page-table.js';
import { ScenarioMistake, userPlace } from '../verify/scenario-mistake.js';

/** First IOVA page and first virtual page of every scenario. */
export const IOVA = 0x200;
export const VADDR = 0x10200;

/**
 * The two sides of a world. The container with its devices and drivers sees memory only through
 * `AddressSpace`, and memory sees it only through `MmuNotifier`: there it is noted that a step
 * accessed the other side, too.
 */
export const Side = { CONTAINER: 1, MEMORY: 2, BOTH: 3 } as const;

/**
 * Codes from here on are of what an operation has come to before its end; below are errnos and
 * results.
 */
export const TRIED = 1000;

/**
 * Page request groups of these ids are what scenarios name themselves; a device's own are below, in
 * an order of so few steps.
 */
export const NAMED_IDS = 256;

let placesNoted = false;

/** From now on operations note where a user's file begins them, or no more: it costs a stack. */
export function notePlaces(on: boolean): void {
  placesNoted = on;
}

/** An actor is between two operations: all it knows is what they returned. */
export class Operation implements Wait {
  /** `file:line` in a user's file; null: not noted, or in no such file. */
  readonly place = placesNoted ? userPlace(new Error().stack ?? '') : null;

  /** @param sides the sides of the world that its steps access at least */
  constructor(
    private readonly verb: string,
    private readonly first = -1,
    private readonly count = 0,
    private readonly tail = '',
    readonly sides: number = Side.BOTH,
  ) {}

  get always(): true {
    return true;
  }

  get what(): string {
    if (this.first < 0) return `${this.verb}${this.tail}`;
    const range =
      this.count === 1 ? hex(this.first) : `[${hex(this.first)}, ${hex(this.first + this.count)})`;
    return `${this.verb} ${range}${this.tail}`;
  }

  ready(): boolean {
    return true;
  }
}

/**
 * Whether an actor is between two operations. A user's file may have a class `Operation` of its own
 * copy of this module.
 */
export function isOperation(wait: Wait | null): wait is Operation {
  return wait !== null && (wait as Partial<Operation>).sides !== undefined;
}

/**
 * An operation of the container, a device or a driver; where it is of pages, of those from `first`
 * on. Throws `ScenarioMistake`.
 */
export function onContainer(verb: string, first?: number, count = 0, tail = ''): Operation {
  if (first === undefined) return new Operation(verb, -1, 0, tail, Side.CONTAINER);
  checkPages(verb, typeof first === 'number' ? first - IOVA : Number.NaN, count);
  return new Operation(verb, first, count, tail, Side.CONTAINER);
}

/** An operation of a process's memory. Throws `ScenarioMistake`. */
export function onMemory(verb: string, first?: number, count = 0, tail = ''): Operation {
  if (first === undefined) return new Operation(verb, -1, 0, tail, Side.MEMORY);
  checkPages(verb, typeof first === 'number' ? first - VADDR : Number.NaN, count);
  return new Operation(verb, first, count, tail, Side.MEMORY);
}

/** Throws `ScenarioMistake` where an author names pages that cannot be. */
export function checkPages(verb: string, page: number, count: number): void {
  if (isPages(page) && isPages(count)) return;
  checkWhole(`${verb}: page`, page, 0, PAGE_NUMBER_LIMIT);
  checkWhole(`${verb}: number of pages`, count, 0, PAGE_NUMBER_LIMIT);
}

function isPages(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= PAGE_NUMBER_LIMIT;
}

/** Throws `ScenarioMistake` where it is no access: READ, WRITE, both or none. */
export function checkAccess(verb: string, access: number): void {
  if (access === READ || access === WRITE) return;
  checkWhole(`${verb}: access`, access, 0, READ | WRITE);
}

/** Throws `ScenarioMistake` where it is no whole number in [least, most]. */
export function checkWhole(what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new ScenarioMistake(
    `${what} is ${described(value)}, not a whole number from ${least} to ${most}`,
  );
}

/** The group of a number. Throws `ScenarioMistake` where there is none. */
export function groupOf(groups: readonly IommuGroup[], number: number): IommuGroup {
  const found = groups.find((group) => group.number === number);
  if (found !== undefined) return found;
  const there = groups.map((group) => group.number).join(', ');
  throw new ScenarioMistake(`there is no group ${described(number)}, but ${there}`);
}

export function hex(page: number): string {
  return `0x${page.toString(16)}`;
}

export function accessName(access: number): string {
  return access === READ ? 'read' : access === WRITE ? 'write' : 'read/write';
}
