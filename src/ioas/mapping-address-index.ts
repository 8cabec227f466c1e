import { Bug } from '../abi/bug.js';
import type { Mapping } from './mapping.js';
import { RangeTrie, TRIE_LIMIT } from './range-trie.js';

/** Mappings of one size class by their first virtual page. */
interface SizeClass {
  /** The most pages of a mapping of this class. */
  readonly reach: number;
  readonly starts: RangeTrie;
  /** Heads of the chains, by slot. */
  readonly chains: (Mapping | null)[];
}

/**
 * Mappings of one address space by virtual page (R3.5); they may overlap.
 *
 * Terms: a *size class* c holds the mappings of 2^(c-1)+1 to 2^c pages. What overlaps a range then
 * starts less than 2^c before it, so one search per class in use finds all that overlap and little
 * else, however many mappings there are. Mappings of a class that start at the same page are a
 * *chain*.
 */
export class MappingAddressIndex {
  size = 0;
  /** By their number; made when they are first used. */
  private readonly classes: (SizeClass | undefined)[] = [];
  /** The classes that hold mappings. */
  private readonly inUse: SizeClass[] = [];
  private cursorClass = 0;
  private cursor: Mapping | null = null;
  private cursorFirst = 0;
  private cursorEnd = 0;

  insert(mapping: Mapping): void {
    this.size++;
    // No process has memory there, so that nothing is ever taken away.
    if (mapping.vaddrPage >= TRIE_LIMIT) return;
    const sizeClass = this.classFor(mapping.pages);
    const { starts, chains } = sizeClass;
    if (starts.size === 0) this.inUse.push(sizeClass);
    const found = starts.find(mapping.vaddrPage);
    const slot = found >= 0 ? found : starts.insert(mapping.vaddrPage, mapping.vaddrPage + 1);
    const head = found >= 0 ? chains[slot]! : null;
    mapping.chainNext = head;
    mapping.chainPrevious = null;
    if (head !== null) head.chainPrevious = mapping;
    chains[slot] = mapping;
  }

  remove(mapping: Mapping): void {
    this.size--;
    if (mapping.vaddrPage >= TRIE_LIMIT) return;
    const sizeClass = this.classFor(mapping.pages);
    const { starts, chains } = sizeClass;
    const slot = starts.find(mapping.vaddrPage);
    const { chainNext: next, chainPrevious: previous } = mapping;
    if (slot < 0 || (previous === null && chains[slot] !== mapping)) {
      throw new Bug('mapping is not in the index', { vaddrPage: mapping.vaddrPage });
    }
    if (next !== null) next.chainPrevious = previous;
    if (previous !== null) previous.chainNext = next;
    else chains[slot] = next;
    mapping.chainNext = null;
    mapping.chainPrevious = null;
    if (previous !== null || next !== null) return;
    starts.remove(slot);
    if (starts.size !== 0) return;
    this.inUse[this.inUse.indexOf(sizeClass)] = this.inUse[this.inUse.length - 1]!;
    this.inUse.pop();
  }

  /**
   * The first mapping that has a page in [first, first + count), or null; `nextOverlap` gives the
   * others. One search at a time; the index may not change during it. Allocates nothing.
   */
  firstOverlap(first: number, count: number): Mapping | null {
    this.cursorFirst = first;
    this.cursorEnd = first + count;
    this.cursorClass = -1;
    this.cursor = null;
    return this.nextOverlap();
  }

  nextOverlap(): Mapping | null {
    for (;;) {
      let mapping = this.cursor;
      if (mapping === null) {
        if (++this.cursorClass >= this.inUse.length) return null;
        const { reach } = this.inUse[this.cursorClass]!;
        mapping = this.startFrom(Math.max(0, this.cursorFirst - reach + 1));
      } else mapping = mapping.chainNext ?? this.startFrom(mapping.vaddrPage + 1);
      this.cursor = mapping;
      if (mapping === null) continue;
      if (mapping.vaddrPage + mapping.pages > this.cursorFirst) return mapping;
    }
  }

  /**
   * The first chain of the cursor's class that starts at or after a page and before the range ends.
   */
  private startFrom(page: number): Mapping | null {
    const { starts, chains } = this.inUse[this.cursorClass]!;
    if (page >= this.cursorEnd) return null;
    const slot = starts.findFrom(page, this.cursorEnd);
    return slot < 0 ? null : chains[slot]!;
  }

  private classFor(pages: number): SizeClass {
    const number = pages <= 2 ** 31 ? 32 - Math.clz32(pages - 1) : Math.ceil(Math.log2(pages));
    let sizeClass = this.classes[number];
    if (sizeClass === undefined) {
      sizeClass = { reach: 2 ** number, starts: new RangeTrie(), chains: [] };
      this.classes[number] = sizeClass;
    }
    return sizeClass;
  }
}
