import type { Mapping } from './mapping.js';
import { MappingOrder } from './mapping-order.js';

/**
 * Mappings of one address space by virtual page (R3.5); they may overlap.
 *
 * Terms: a *size class* c holds the mappings of 2^(c-1)+1 to 2^c pages. What overlaps a range then starts less than 2^c before it,
 * so one ordered look-up per class in use finds all that overlap and little else, however many mappings there are.
 */
const CLASSES = 53;

export class MappingAddressIndex {
  size = 0;
  private readonly orders: (MappingOrder | null)[] = new Array(CLASSES).fill(null);
  /** Classes in use: the first `classCount` of `classes`. */
  private readonly classes = new Int32Array(CLASSES);
  private classCount = 0;
  private cursorClass = 0;
  private cursorPosition = -1;
  private cursorFirst = 0;
  private cursorEnd = 0;

  insert(mapping: Mapping): void {
    const sizeClass = classOf(mapping.pages);
    let order = this.orders[sizeClass]!;
    if (order === null) {
      order = new MappingOrder();
      this.orders[sizeClass] = order;
    }
    if (order.size === 0) this.classes[this.classCount++] = sizeClass;
    order.insert(mapping, mapping.vaddrPage, mapping.iovaPage);
    this.size++;
  }

  remove(mapping: Mapping): void {
    const sizeClass = classOf(mapping.pages);
    const order = this.orders[sizeClass]!;
    order.remove(mapping, mapping.vaddrPage, mapping.iovaPage);
    this.size--;
    if (order.size === 0) {
      const place = this.classes.indexOf(sizeClass);
      this.classes[place] = this.classes[--this.classCount]!;
    }
  }

  /**
   * The first mapping that has a page in [first, first + count), or null; `nextOverlap` gives the others. One search at a time;
   * the index may not change during it. Allocates nothing.
   */
  firstOverlap(first: number, count: number): Mapping | null {
    this.cursorFirst = first;
    this.cursorEnd = first + count;
    this.cursorClass = -1;
    this.cursorPosition = -1;
    return this.nextOverlap();
  }

  nextOverlap(): Mapping | null {
    for (;;) {
      if (this.cursorPosition < 0) {
        if (++this.cursorClass >= this.classCount) return null;
        const sizeClass = this.classes[this.cursorClass]!;
        const order = this.orders[sizeClass]!;
        this.cursorPosition = order.ceiling(this.cursorFirst - 2 ** sizeClass + 1, -1);
        continue;
      }
      const order = this.orders[this.classes[this.cursorClass]!]!;
      const mapping = order.at(this.cursorPosition);
      if (mapping.vaddrPage >= this.cursorEnd) {
        this.cursorPosition = -1;
        continue;
      }
      this.cursorPosition = order.next(this.cursorPosition);
      // Wraps to the next class in the next call; a mapping that ends before the range is passed over.
      if (mapping.vaddrPage + mapping.pages > this.cursorFirst) return mapping;
    }
  }
}

function classOf(pages: number): number {
  return Math.ceil(Math.log2(pages));
}
