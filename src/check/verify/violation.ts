/** The invariants, as sentences. */
export const Invariant = {
  GONE: 'no access goes through a translation of a page that is gone',
  ONCE: 'every page request is answered exactly once',
  SAME: 'the bitmap, the page tables of all domains and the IOTLBs say the same',
  ACCOUNT: 'the account is what is pinned, and zero at the end',
  HANDLER: 'where page requests are on, their handler is there',
  UNDONE: 'a call that fails changes nothing',
  RELEASED: 'nothing is touched after its release',
  PERMISSION: 'no permission is above what was asked and allowed',
  DIRTY: 'a page that was written is reported dirty, and no other',
  QUEUE: 'what goes to a fault queue its program answers, and nobody else',
  MOVED: 'a device that is moved is never without a page table',
  GOES_ON: 'whoever waits can go on some time',
  PROGRESS: 'where everybody gets a turn, somebody gets done',
  ASSERTION: 'no assertion of the code is broken',
} as const;

/** What an order of events broke. */
export class Violation extends Error {
  constructor(
    /** The invariant, as a sentence. */
    readonly invariant: string,
    /** The row of docs/series.md that asks for it; null: the scenario's. */
    readonly row: string | null,
    /** What was seen instead. */
    readonly detail: string,
  ) {
    super(`${invariant}: ${detail}`);
    this.name = 'Violation';
  }
}

let unseen: Violation | null = null;

/** The violation since the last call, or null: a variant may catch what is thrown through it. */
export function takeUnseen(): Violation | null {
  const violation = unseen;
  unseen = null;
  return violation;
}

export function violated(invariant: string, row: string | null, detail: string): never {
  unseen = new Violation(invariant, row, detail);
  throw unseen;
}
