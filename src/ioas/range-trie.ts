import { Bug } from '../abi/bug.js';

/**
 * Ranges of page numbers that do not overlap, found by a page: a radix trie over typed arrays that
 * grows only as deep as it must to tell ranges apart.
 *
 * Terms: a *node* has 64 *cells*, six levels of them cover page numbers below 2^36. A cell is empty
 * (0), leads to a node (its number), or holds a *slot* (minus slot - 1): the one range that has
 * pages under it. A slot names a range for its owner.
 */
export const TRIE_LIMIT = 2 ** 36;

const CELLS = 64;
const LAST_LEVEL = 5;
/** Pages under a cell, by level. */
const SPANS = [2 ** 30, 2 ** 24, 2 ** 18, 2 ** 12, 2 ** 6, 1] as const;
const HALF = 2 ** 18;

export class RangeTrie {
  size = 0;
  private cells = new Int32Array(CELLS);
  /**
   * Two words per node: which cells are not empty. For a free node the first holds the next free
   * one.
   */
  private used = new Int32Array(2);
  private freeNode = 0;
  private nextNode = 1;
  /** First page and end by slot, side by side. */
  private bounds = new Float64Array(8);
  private readonly freeSlots: number[] = [];
  private nextSlot = 0;
  /** Nodes on the way to a page, by level; the first is always 0. */
  private readonly path = new Int32Array(LAST_LEVEL + 1);

  /** The slot of the range that covers a page, or -1. Hot. */
  find(page: number): number {
    if (!(page >= 0 && page < TRIE_LIMIT)) return -1;
    const cells = this.cells;
    const high = (page / HALF) | 0;
    const low = page & (HALF - 1);
    let cell = cells[high >>> 12]!;
    if (cell > 0) cell = cells[cell * CELLS + ((high >>> 6) & 63)]!;
    if (cell > 0) cell = cells[cell * CELLS + (high & 63)]!;
    if (cell > 0) cell = cells[cell * CELLS + (low >>> 12)]!;
    if (cell > 0) cell = cells[cell * CELLS + ((low >>> 6) & 63)]!;
    if (cell > 0) cell = cells[cell * CELLS + (low & 63)]!;
    if (cell === 0) return -1;
    const slot = -cell - 1;
    return page < this.bounds[slot * 2 + 1]! && page >= this.bounds[slot * 2]! ? slot : -1;
  }

  /**
   * The slot of the range that covers a page, or else of the first behind it that starts below
   * `limit`, or -1. Hot.
   */
  findFrom(page: number, limit = TRIE_LIMIT): number {
    if (this.size === 0) return -1;
    const covering = this.find(page);
    if (covering >= 0 || limit - page === 1) return covering;
    const from = Math.max(0, page);
    if (!(from < TRIE_LIMIT)) return -1;
    const { cells, bounds, path } = this;
    let level = 0;
    let cell = cells[digit(from, 0)]!;
    while (cell > 0) {
      path[++level] = cell;
      cell = cells[cell * CELLS + digit(from, level)]!;
    }
    if (cell === 0 || bounds[-cell * 2 - 1]! <= from) {
      // Nothing under this cell lies at or behind the page: the next cell that is used, of this
      // node or of one above, begins behind it.
      let index = this.nextUsed(path[level]!, digit(from, level) + 1);
      while (index === CELLS) {
        if (level === 0) return -1;
        level--;
        index = this.nextUsed(path[level]!, digit(from, level) + 1);
      }
      cell = cells[path[level]! * CELLS + index]!;
      while (cell > 0) cell = cells[cell * CELLS + this.nextUsed(cell, 0)]!;
    }
    const slot = -cell - 1;
    return bounds[slot * 2]! < limit ? slot : -1;
  }

  /** Adds [first, end), which overlaps no range, and gives it a slot. */
  insert(first: number, end: number): number {
    if (!(first >= 0 && first < end && end <= TRIE_LIMIT))
      throw new Bug('range outside the trie', { first, end });
    const slot = this.freeSlots.pop() ?? this.nextSlot++;
    if (slot * 2 === this.bounds.length)
      this.bounds = grown(this.bounds, new Float64Array(slot * 4));
    this.bounds[slot * 2] = first;
    this.bounds[slot * 2 + 1] = end;
    this.size++;
    // Most ranges lie in one cell on every level: no recursion, no divisions.
    let node = 0;
    for (let level = 0; level <= LAST_LEVEL; level++) {
      const index = digit(first, level);
      if (index !== digit(end - 1, level)) {
        this.insertInto(node, level, first - (first % (SPANS[level]! * CELLS)), slot);
        return slot;
      }
      const cell = this.cells[node * CELLS + index]!;
      if (cell === 0) {
        this.cells[node * CELLS + index] = -slot - 1;
        this.used[node * 2 + (index >>> 5)]! |= 1 << (index & 31);
        return slot;
      }
      node = cell > 0 ? cell : this.expand(node, level, index, first - (first % SPANS[level]!));
    }
    throw new Bug('ranges overlap', { first, end });
  }

  /** Takes a range out; its slot may be given to another. */
  remove(slot: number): void {
    const first = this.bounds[slot * 2]!;
    const end = this.bounds[slot * 2 + 1]!;
    const path = this.path;
    let level = 0;
    let node = 0;
    for (;;) {
      const index = digit(first, level);
      path[level] = node;
      if (index !== digit(end - 1, level)) {
        this.removeFrom(node, level, first - (first % (SPANS[level]! * CELLS)), slot);
        break;
      }
      const cell = this.cells[node * CELLS + index]!;
      if (cell <= 0) {
        this.empty(node, index, 0);
        break;
      }
      node = cell;
      level++;
    }
    for (; level > 0; level--) {
      const left = this.collapsed(path[level]!);
      if (left === path[level]) break;
      this.empty(path[level - 1]!, digit(first, level - 1), left);
    }
    this.freeSlots.push(slot);
    this.size--;
  }

  private insertInto(node: number, level: number, base: number, slot: number): void {
    const span = SPANS[level]!;
    const last = this.lastIndex(base, span, slot);
    for (let index = this.firstIndex(base, span, slot); index <= last; index++) {
      const at = node * CELLS + index;
      const cell = this.cells[at]!;
      if (cell === 0) {
        this.cells[at] = -slot - 1;
        this.used[node * 2 + (index >>> 5)]! |= 1 << (index & 31);
        continue;
      }
      const child = cell > 0 ? cell : this.expand(node, level, index, base + index * span);
      this.insertInto(child, level + 1, base + index * span, slot);
    }
  }

  /**
   * Puts a node in place of the range that a cell holds, with that range in it; `base` is the
   * cell's first page.
   */
  private expand(node: number, level: number, index: number, base: number): number {
    if (level === LAST_LEVEL) throw new Bug('ranges overlap', { page: base });
    const at = node * CELLS + index;
    const other = -this.cells[at]! - 1;
    const child = this.takeNode();
    this.cells[at] = child;
    this.insertInto(child, level + 1, base, other);
    return child;
  }

  private removeFrom(node: number, level: number, base: number, slot: number): void {
    const span = SPANS[level]!;
    const last = this.lastIndex(base, span, slot);
    for (let index = this.firstIndex(base, span, slot); index <= last; index++) {
      const cell = this.cells[node * CELLS + index]!;
      if (cell > 0) {
        this.removeFrom(cell, level + 1, base + index * span, slot);
        this.empty(node, index, this.collapsed(cell));
      } else this.empty(node, index, 0);
    }
  }

  /** Sets a cell to what is left in it, mostly nothing. */
  private empty(node: number, index: number, left: number): void {
    this.cells[node * CELLS + index] = left;
    if (left === 0) this.used[node * 2 + (index >>> 5)]! &= ~(1 << (index & 31));
  }

  /**
   * What a cell that leads to a node holds from now on: a node that tells nothing apart any more is
   * freed.
   */
  private collapsed(node: number): number {
    const low = this.used[node * 2]!;
    const high = this.used[node * 2 + 1]!;
    if ((low & (low - 1)) !== 0 || (high & (high - 1)) !== 0 || (low !== 0 && high !== 0))
      return node;
    let content = 0;
    if (low !== 0 || high !== 0) {
      const at = node * CELLS + this.nextUsed(node, 0);
      content = this.cells[at]!;
      if (content > 0) return node;
      this.cells[at] = 0;
    }
    this.used[node * 2] = this.freeNode;
    this.used[node * 2 + 1] = 0;
    this.freeNode = node;
    return content;
  }

  private firstIndex(base: number, span: number, slot: number): number {
    return Math.max(0, Math.floor((this.bounds[slot * 2]! - base) / span));
  }

  private lastIndex(base: number, span: number, slot: number): number {
    return Math.min(CELLS - 1, Math.floor((this.bounds[slot * 2 + 1]! - 1 - base) / span));
  }

  /** The first cell at or after `index` that is not empty, or 64. */
  private nextUsed(node: number, index: number): number {
    if (index >= CELLS) return CELLS;
    let at = node * 2 + (index >>> 5);
    let word = this.used[at]! & (-1 << (index & 31));
    let base = index & 32;
    if (word === 0) {
      if (base !== 0) return CELLS;
      word = this.used[++at]!;
      base = 32;
      if (word === 0) return CELLS;
    }
    return base + 31 - Math.clz32(word & -word);
  }

  private takeNode(): number {
    const free = this.freeNode;
    if (free !== 0) {
      this.freeNode = this.used[free * 2]!;
      this.used[free * 2] = 0;
      return free;
    }
    if (this.nextNode * 2 === this.used.length) {
      this.cells = grown(this.cells, new Int32Array(this.cells.length * 2));
      this.used = grown(this.used, new Int32Array(this.used.length * 2));
    }
    return this.nextNode++;
  }
}

/** Which cell of a level a page lies under. */
function digit(page: number, level: number): number {
  if (level < 3) return (((page / HALF) | 0) >>> (12 - 6 * level)) & 63;
  return ((page & (HALF - 1)) >>> (30 - 6 * level)) & 63;
}

function grown<T extends Int32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
