import { Bug } from '../../abi/bug.js';
import type { Mapping } from './mapping.js';
import { MappingOrder } from './mapping-order.js';

/** The mappings of a container by IOVA; they do not overlap. */
export class MappingIndex {
  private readonly order = new MappingOrder();

  get size(): number {
    return this.order.size;
  }

  /** The mapping that covers an IOVA page, or null. Hot. */
  covering(iovaPage: number): Mapping | null {
    const position = this.order.floor(iovaPage);
    if (position < 0) return null;
    const mapping = this.order.at(position);
    return iovaPage < mapping.iovaPage + mapping.pages ? mapping : null;
  }

  /** The mapping that covers a page, or else the first behind it, or null. */
  firstFrom(iovaPage: number): Mapping | null {
    const order = this.order;
    const position = order.floor(iovaPage);
    if (position >= 0) {
      const mapping = order.at(position);
      if (iovaPage < mapping.iovaPage + mapping.pages) return mapping;
    }
    const next = order.ceiling(iovaPage, 0);
    return next < 0 ? null : order.at(next);
  }

  /** The mapping behind one in the order of IOVAs, or null; the one itself may be gone by now. */
  after(mapping: Mapping): Mapping | null {
    const position = this.order.ceiling(mapping.iovaPage + mapping.pages, 0);
    return position < 0 ? null : this.order.at(position);
  }

  /** Whether a mapping has a page in [first, first + count). */
  overlaps(first: number, count: number): boolean {
    const mapping = this.firstFrom(first);
    return mapping !== null && mapping.iovaPage < first + count;
  }

  insert(mapping: Mapping): void {
    if (this.overlaps(mapping.iovaPage, mapping.pages)) {
      throw new Bug('mappings overlap', { iovaPage: mapping.iovaPage, pages: mapping.pages });
    }
    this.order.insert(mapping, mapping.iovaPage, 0);
  }

  remove(mapping: Mapping): void {
    this.order.remove(mapping, mapping.iovaPage, 0);
  }

  /** All mappings in the order of IOVAs; the one at hand may be removed meanwhile. */
  *[Symbol.iterator](): Generator<Mapping, void, void> {
    for (let mapping = this.firstFrom(0); mapping !== null; mapping = this.after(mapping)) yield mapping;
  }
}
