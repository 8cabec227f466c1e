/** Where scenarios happen, and the points between their operations. */
import type { Wait } from '../../flow/flow.js';
import { READ, WRITE } from '../../mm/address-space.js';

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

/** An actor is between two operations: all it knows is what they returned. */
export class Operation implements Wait {
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

/** An operation of the container, a device or a driver. */
export function onContainer(verb: string, first = -1, count = 0, tail = ''): Operation {
  return new Operation(verb, first, count, tail, Side.CONTAINER);
}

/** An operation of a process's memory. */
export function onMemory(verb: string, first = -1, count = 0, tail = ''): Operation {
  return new Operation(verb, first, count, tail, Side.MEMORY);
}

export function hex(page: number): string {
  return `0x${page.toString(16)}`;
}

export function accessName(access: number): string {
  return access === READ ? 'read' : access === WRITE ? 'write' : 'read/write';
}
