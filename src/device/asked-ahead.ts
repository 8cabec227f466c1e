import type { OwnMemory } from './own-memory.js';
import type { StalledRequest, Translator } from './translator.js';

/**
 * Page requests that a device makes before a transfer begins, as with ATS, where a program answers
 * them: none of its transfers stalls, and what is missing then is refused. One waits at a time.
 */
export class AskedAhead {
  private request: StalledRequest | null = null;
  private page = -1;
  private access = 0;
  /** What the program has refused: page * 4 + access. */
  private readonly refused = new Set<number>();

  constructor(
    private readonly iommu: Translator,
    private readonly own: OwnMemory,
  ) {}

  /** Whether a program answers page requests; else nothing need be asked for. */
  get isNeeded(): boolean {
    return this.iommu.asksProgram === true;
  }

  /** A program has yet to answer. */
  get isWaiting(): boolean {
    return this.request !== null && this.request.result === null;
  }

  /**
   * Asks for a page. True: it is there, or refused, or nobody's to ask for. False: the program has
   * yet to answer; once nothing waits, ask again.
   */
  ask(page: number, access: number): boolean {
    if (!this.isNeeded || this.own.has(page)) return true;
    while (this.iommu.translate(page, access) < 0 && !this.isRefused(page, access)) {
      if (this.request === null || this.page !== page || this.access !== access) {
        this.request = this.iommu.request?.(page, access) ?? null;
        this.page = page;
        this.access = access;
      }
      if (this.request === null) return true;
      if (this.request.result === null) return false;
      if (!this.request.result) this.refused.add(page * 4 + access);
      this.request = null;
    }
    return true;
  }

  /** Hot. */
  isRefused(page: number, access: number): boolean {
    return this.refused.size !== 0 && this.refused.has(page * 4 + access);
  }

  /** What was asked for has been used: a page that is missing again is asked for anew. */
  forget(): void {
    this.refused.clear();
  }

  /** The device was reset: it waits for no answer. */
  reset(): void {
    this.request = null;
    this.forget();
  }
}
