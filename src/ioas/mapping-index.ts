import { Bug } from '../abi/bug.js';
import type { Mapping } from './mapping.js';
import { RangeTrie, TRIE_LIMIT } from './range-trie.js';

/**
 * The mappings of a space by IOVA; they do not overlap.
 *
 * Terms: mappings *beyond* end above 2^48 bytes, where no IOMMU reaches: a space without a domain
 * may have some, and they are few.
 */
export class MappingIndex {
  private readonly trie = new RangeTrie();
  private readonly bySlot: (Mapping | null)[] = [];
  /** In order of IOVAs. */
  private readonly beyond: Mapping[] = [];

  get size(): number {
    return this.trie.size + this.beyond.length;
  }

  /** The mapping that covers an IOVA page, or null. Hot. */
  covering(iovaPage: number): Mapping | null {
    const slot = this.trie.find(iovaPage);
    if (slot >= 0) return this.bySlot[slot]!;
    return this.beyond.length === 0 ? null : this.coveringBeyond(iovaPage);
  }

  /** The mapping that covers a page, or else the first behind it, or null. */
  firstFrom(iovaPage: number): Mapping | null {
    const slot = this.trie.findFrom(iovaPage);
    // What is beyond lies behind all that is not.
    if (slot >= 0) return this.bySlot[slot]!;
    if (this.beyond.length === 0) return null;
    return this.beyond.find((mapping) => mapping.iovaEnd > iovaPage) ?? null;
  }

  /** The mapping behind one in the order of IOVAs, or null; the one itself may be gone by now. */
  after(mapping: Mapping): Mapping | null {
    return this.firstFrom(mapping.iovaPage + mapping.pages);
  }

  /** Whether a mapping has a page in [first, first + count). */
  overlaps(first: number, count: number): boolean {
    if (this.trie.findFrom(first, first + count) >= 0) return true;
    if (this.beyond.length === 0) return false;
    return this.beyond.some((at) => at.iovaPage < first + count && at.iovaEnd > first);
  }

  /** Whether a mapping lies on an edge of [first, end), so that the range would cut it. */
  cuts(first: number, end: number): boolean {
    const atFirst = this.covering(first);
    if (atFirst !== null) {
      if (atFirst.iovaPage !== first) return true;
      // One mapping, as UNMAP_DMA mostly has: no second look-up.
      if (atFirst.iovaEnd >= end) return atFirst.iovaEnd !== end;
    }
    const atEnd = this.covering(end - 1);
    return atEnd !== null && atEnd.iovaEnd !== end;
  }

  /** Adds a mapping that overlaps none. */
  insert(mapping: Mapping): void {
    if (mapping.iovaEnd > TRIE_LIMIT) {
      const at = this.beyond.findIndex((other) => other.iovaPage > mapping.iovaPage);
      this.beyond.splice(at < 0 ? this.beyond.length : at, 0, mapping);
      return;
    }
    mapping.slot = this.trie.insert(mapping.iovaPage, mapping.iovaPage + mapping.pages);
    this.bySlot[mapping.slot] = mapping;
  }

  remove(mapping: Mapping): void {
    if (mapping.iovaEnd > TRIE_LIMIT) {
      const at = this.beyond.indexOf(mapping);
      if (at < 0) notThere(mapping);
      this.beyond.splice(at, 1);
      return;
    }
    const { slot } = mapping;
    if (slot < 0 || this.bySlot[slot] !== mapping) notThere(mapping);
    this.trie.remove(slot);
    this.bySlot[slot] = null;
  }

  /** All mappings in the order of IOVAs; the one at hand may be removed meanwhile. */
  *[Symbol.iterator](): Generator<Mapping, void, void> {
    for (let mapping = this.firstFrom(0); mapping !== null; mapping = this.after(mapping))
      yield mapping;
  }

  private coveringBeyond(iovaPage: number): Mapping | null {
    const found = this.beyond.find(
      (mapping) => mapping.iovaPage <= iovaPage && iovaPage < mapping.iovaEnd,
    );
    return found ?? null;
  }
}

function notThere({ iovaPage }: Mapping): never {
  throw new Bug('mapping is not in the index', { iovaPage });
}
