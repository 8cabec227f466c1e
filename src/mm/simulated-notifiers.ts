/** Who is told before pages of a simulated process go (R3.1). */
import { type Flow, freshStep } from '../flow/flow.js';
import { removeAt } from '../flow/list.js';
import type { MmuNotifier } from './address-space.js';

const WINDOW = freshStep('invalidation begun, pages still there');

/**
 * Pages whose invalidation has begun and is not over (kernel: between invalidate_range_start and
 * _end).
 */
interface OpenInvalidation {
  readonly first: number;
  readonly end: number;
}

export class SimulatedNotifiers {
  /** Invalidations so far. */
  count = 0;
  private readonly notifiers: MmuNotifier[] = [];
  private readonly open: OpenInvalidation[] = [];

  /** Notifiers subscribed. */
  get size(): number {
    return this.notifiers.length;
  }

  /** Some invalidation has begun and is not over. */
  get anyOpen(): boolean {
    return this.open.length !== 0;
  }

  /** Invalidations of a page that have begun and are not over. */
  openAt(page: number): number {
    let count = 0;
    for (const { first, end } of this.open) if (page >= first && page < end) count++;
    return count;
  }

  subscribe(notifier: MmuNotifier): () => void {
    this.notifiers.push(notifier);
    return () => {
      const index = this.notifiers.indexOf(notifier);
      if (index >= 0) removeAt(this.notifiers, index);
    };
  }

  /** Pages are about to go. */
  tell(first: number, count: number): void {
    this.count++;
    for (let i = 0; i < this.notifiers.length; i++) this.notifiers[i]!.invalidate(first, count);
  }

  /** `tell`, and `change` after a window in which other paths may run. */
  *announce(first: number, count: number, change: () => void): Flow<void> {
    this.tell(first, count);
    const window = { first, end: first + count };
    this.open.push(window);
    try {
      yield WINDOW;
      change();
    } finally {
      removeAt(this.open, this.open.indexOf(window));
    }
  }

  /** The process ends: everybody is told and gone. */
  release(): void {
    this.count++;
    for (const notifier of this.notifiers.splice(0)) notifier.release();
  }
}
