/** Page-ins: from asking the address space for frames to mapping them. */
import { step, type Wait } from '../../flow/flow.js';
import type { AddressSpace } from '../../mm/address-space.js';
import type { Mapping } from '../mapping.js';

/** A request of a larger group has its frames: its path relies on more than this page-in. */
export const AT_HAND = step('frames are at hand');

/** What a page-in asks again before it maps: see `FaultHandler`. */
export interface MappingLookup {
  readonly generation: number;
  covering(iovaPage: number): Mapping | null;
  mappingFor(iovaPage: number, access: number): Mapping | null;
}

/**
 * A page-in under way, on which others that want the same page wait (R2.3). It notes what it relies
 * on when it begins.
 */
export class PageIn implements Wait {
  done = false;
  /** Pages of its window were invalidated since it began. */
  stale = false;
  /** Pages that it brings in. */
  window = 1;
  /** The frames that it got, its own page's first. */
  frames: Float64Array | null = null;
  got = 0;
  granted = 0;
  private readonly mm: AddressSpace;
  private readonly vaddrPage: number;
  private readonly generation: number;

  constructor(
    readonly handler: MappingLookup,
    readonly mapping: Mapping,
    readonly index: number,
    private readonly access: number,
  ) {
    this.mm = mapping.mm;
    this.vaddrPage = mapping.vaddrPage;
    this.generation = handler.generation;
  }

  get what(): string {
    return `page-in of IOVA page ${this.mapping.iovaPage + this.index}`;
  }

  ready(): boolean {
    return this.done;
  }

  /**
   * Nothing that the page-in relies on has changed since it began (mmu_interval_read_retry, R3.3).
   */
  get isValid(): boolean {
    const { mapping, mm } = this;
    return (
      !this.isLost &&
      mapping.mm === mm &&
      mapping.vaddrPage === this.vaddrPage &&
      this.handler.mappingFor(mapping.iovaPage + this.index, this.access) === mapping
    );
  }

  /** Pages [first, first + count) of an address space are about to go. */
  invalidate(mm: AddressSpace, first: number, count: number): void {
    const page = this.vaddrPage + this.index;
    if (mm === this.mm && first < page + this.window && page < first + count) this.stale = true;
  }

  /**
   * What it relied on has changed for good; a driver's pin of its page may go again.
   */
  get isLost(): boolean {
    const { mapping, index, handler } = this;
    return (
      this.stale ||
      handler.generation !== this.generation ||
      handler.covering(mapping.iovaPage + index) !== mapping
    );
  }
}

/** A page-in has its frames; what it relied on may have changed meanwhile. */
export class FramesAtHand implements Wait {
  readonly what: string = AT_HAND.what;
  readonly always = true;

  constructor(readonly reliesOn: PageIn) {}

  ready(): boolean {
    return true;
  }
}
