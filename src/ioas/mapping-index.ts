import { Bug } from '../abi/bug.js';
import type { Mapping } from './mapping.js';
import { RangeTrie } from './range-trie.js';

/** The mappings of a container by IOVA; they do not overlap. */
export class MappingIndex {
  private readonly trie = new RangeTrie();
  private readonly bySlot: (Mapping | null)[] = [];

  get size(): number {
    return this.trie.size;
  }

  /** The mapping that covers an IOVA page, or null. Hot. */
  covering(iovaPage: number): Mapping | null {
    const slot = this.trie.find(iovaPage);
    return slot < 0 ? null : this.bySlot[slot]!;
  }

  /** The mapping that covers a page, or else the first behind it, or null. */
  firstFrom(iovaPage: number): Mapping | null {
    const slot = this.trie.findFrom(iovaPage);
    return slot < 0 ? null : this.bySlot[slot]!;
  }

  /** The mapping behind one in the order of IOVAs, or null; the one itself may be gone by now. */
  after(mapping: Mapping): Mapping | null {
    return this.firstFrom(mapping.iovaPage + mapping.pages);
  }

  /** Whether a mapping has a page in [first, first + count). */
  overlaps(first: number, count: number): boolean {
    return this.trie.findFrom(first, first + count) >= 0;
  }

  /** Adds a mapping that overlaps none. */
  insert(mapping: Mapping): void {
    const slot = this.trie.insert(mapping.iovaPage, mapping.iovaPage + mapping.pages);
    this.bySlot[slot] = mapping;
  }

  remove(mapping: Mapping): void {
    const slot = this.trie.find(mapping.iovaPage);
    if (slot < 0 || this.bySlot[slot] !== mapping) {
      throw new Bug('mapping is not in the index', { iovaPage: mapping.iovaPage });
    }
    this.trie.remove(slot);
    this.bySlot[slot] = null;
  }

  /** All mappings in the order of IOVAs; the one at hand may be removed meanwhile. */
  *[Symbol.iterator](): Generator<Mapping, void, void> {
    for (let mapping = this.firstFrom(0); mapping !== null; mapping = this.after(mapping))
      yield mapping;
  }
}
