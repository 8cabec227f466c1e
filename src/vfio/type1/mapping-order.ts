import { Bug } from '../../abi/bug.js';
import type { Mapping } from './mapping.js';

/**
 * Mappings in the order of a key, ties in the order of a second one: a two-level B-tree over typed arrays.
 *
 * Terms: a *block* holds up to 128 entries; `order` lists the blocks in key order, `firstKey` repeats the first key of each so that a
 * search stays in one array. A *position* is place in `order` * 128 + place in the block; insert and remove make positions void.
 */
const CAPACITY = 128;

export class MappingOrder {
  size = 0;

  private blocks = 0;
  private order = new Int32Array(4);
  private firstKey = new Float64Array(4);
  private firstTie = new Float64Array(4);
  /** By block number: entries in use, and the entries. */
  private used = new Int32Array(4);
  private keys = new Float64Array(4 * CAPACITY);
  private ties = new Float64Array(4 * CAPACITY);
  private slots = new Int32Array(4 * CAPACITY);
  private readonly freeBlocks: number[] = [];
  private nextBlock = 0;
  private readonly mappings: (Mapping | null)[] = [];
  private readonly freeSlots: number[] = [];

  /** The last position with a key at or below `key`, or -1. */
  floor(key: number): number {
    let low = 0;
    let high = this.blocks;
    const firstKey = this.firstKey;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (firstKey[middle]! <= key) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return -1;
    const place = low - 1;
    const block = this.order[place]!;
    const base = block * CAPACITY;
    const keys = this.keys;
    low = base + 1;
    high = base + this.used[block]!;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (keys[middle]! <= key) low = middle + 1;
      else high = middle;
    }
    return place * CAPACITY + (low - 1 - base);
  }

  /** The first position at or after (key, tie), or -1. */
  ceiling(key: number, tie: number): number {
    if (this.blocks === 0) return -1;
    const place = this.placeFor(key, tie);
    const block = this.order[place]!;
    const offset = this.offsetIn(block, key, tie);
    if (offset < this.used[block]!) return place * CAPACITY + offset;
    return place + 1 < this.blocks ? (place + 1) * CAPACITY : -1;
  }

  /** The position after one, or -1. */
  next(position: number): number {
    const place = (position / CAPACITY) | 0;
    if ((position & (CAPACITY - 1)) + 1 < this.used[this.order[place]!]!) return position + 1;
    return place + 1 < this.blocks ? (place + 1) * CAPACITY : -1;
  }

  at(position: number): Mapping {
    return this.mappings[this.slots[this.cell(position)]!]!;
  }

  keyAt(position: number): number {
    return this.keys[this.cell(position)]!;
  }

  insert(mapping: Mapping, key: number, tie: number): void {
    const slot = this.freeSlots.pop() ?? this.mappings.length;
    this.mappings[slot] = mapping;
    if (this.blocks === 0) this.addBlock(0);
    let place = this.placeFor(key, tie);
    let block = this.order[place]!;
    let offset = this.offsetIn(block, key, tie);
    if (this.used[block] === CAPACITY) {
      this.split(place, offset === CAPACITY);
      place = this.placeForSplit(place, key, tie);
      block = this.order[place]!;
      offset = this.offsetIn(block, key, tie);
    }
    const used = this.used[block]!;
    const cell = block * CAPACITY + offset;
    const end = block * CAPACITY + used;
    this.keys.copyWithin(cell + 1, cell, end);
    this.ties.copyWithin(cell + 1, cell, end);
    this.slots.copyWithin(cell + 1, cell, end);
    this.keys[cell] = key;
    this.ties[cell] = tie;
    this.slots[cell] = slot;
    this.used[block] = used + 1;
    this.size++;
    if (offset === 0) this.noteFirst(place);
  }

  /** Takes a mapping out that was inserted under (key, tie). */
  remove(mapping: Mapping, key: number, tie: number): void {
    const position = this.ceiling(key, tie);
    if (position < 0 || this.at(position) !== mapping)
      throw new Bug('mapping is not in the index', { key, tie });
    const place = (position / CAPACITY) | 0;
    const block = this.order[place]!;
    const cell = this.cell(position);
    const end = block * CAPACITY + this.used[block]!;
    const slot = this.slots[cell]!;
    this.mappings[slot] = null;
    this.freeSlots.push(slot);
    this.keys.copyWithin(cell, cell + 1, end);
    this.ties.copyWithin(cell, cell + 1, end);
    this.slots.copyWithin(cell, cell + 1, end);
    this.size--;
    const left = --this.used[block]!;
    if (left === 0) this.removeBlock(place);
    else {
      if ((position & (CAPACITY - 1)) === 0) this.noteFirst(place);
      if (left < CAPACITY / 4) this.mergeAround(place);
    }
  }

  private cell(position: number): number {
    return this.order[(position / CAPACITY) | 0]! * CAPACITY + (position & (CAPACITY - 1));
  }

  /** The last place whose block starts at or before (key, tie); 0 where all start behind it. */
  private placeFor(key: number, tie: number): number {
    let low = 0;
    let high = this.blocks;
    const firstKey = this.firstKey;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const first = firstKey[middle]!;
      if (first < key || (first === key && this.firstTie[middle]! <= tie)) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : low - 1;
  }

  private placeForSplit(place: number, key: number, tie: number): number {
    const next = place + 1;
    if (this.used[this.order[next]!] === 0) return next;
    const first = this.firstKey[next]!;
    return first < key || (first === key && this.firstTie[next]! <= tie) ? next : place;
  }

  /** How many entries of a block lie before (key, tie). */
  private offsetIn(block: number, key: number, tie: number): number {
    const base = block * CAPACITY;
    let low = base;
    let high = base + this.used[block]!;
    const keys = this.keys;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = keys[middle]!;
      if (at < key || (at === key && this.ties[middle]! < tie)) low = middle + 1;
      else high = middle;
    }
    return low - base;
  }

  private noteFirst(place: number): void {
    const cell = this.order[place]! * CAPACITY;
    this.firstKey[place] = this.keys[cell]!;
    this.firstTie[place] = this.ties[cell]!;
  }

  /** Makes room behind a full block: its upper half moves, or, where entries come in ascending order, nothing does. */
  private split(place: number, ascending: boolean): void {
    const full = this.order[place]!;
    this.addBlock(place + 1);
    if (ascending) return;
    const half = CAPACITY / 2;
    this.move(full, half, this.order[place + 1]!, CAPACITY - half);
    this.noteFirst(place + 1);
  }

  /** Moves `count` entries from `offset` of one block on to the end of another. */
  private move(from: number, offset: number, to: number, count: number): void {
    const source = from * CAPACITY + offset;
    const target = to * CAPACITY + this.used[to]!;
    this.keys.copyWithin(target, source, source + count);
    this.ties.copyWithin(target, source, source + count);
    this.slots.copyWithin(target, source, source + count);
    this.used[from]! -= count;
    this.used[to]! += count;
  }

  private mergeAround(place: number): void {
    const left = place > 0 && this.fits(place - 1) ? place - 1 : place;
    if (left === place && (place + 1 >= this.blocks || !this.fits(place))) return;
    const from = this.order[left + 1]!;
    this.move(from, 0, this.order[left]!, this.used[from]!);
    this.removeBlock(left + 1);
  }

  /** Whether the block at a place and the next one make one that is at most half full. */
  private fits(place: number): boolean {
    return this.used[this.order[place]!]! + this.used[this.order[place + 1]!]! <= CAPACITY / 2;
  }

  private addBlock(place: number): void {
    if (this.blocks === this.order.length) {
      this.order = grown(this.order, new Int32Array(this.blocks * 2));
      this.firstKey = grown(this.firstKey, new Float64Array(this.blocks * 2));
      this.firstTie = grown(this.firstTie, new Float64Array(this.blocks * 2));
    }
    const block = this.freeBlocks.pop() ?? this.nextBlock++;
    if (block === this.used.length) {
      this.used = grown(this.used, new Int32Array(block * 2));
      this.keys = grown(this.keys, new Float64Array(block * 2 * CAPACITY));
      this.ties = grown(this.ties, new Float64Array(block * 2 * CAPACITY));
      this.slots = grown(this.slots, new Int32Array(block * 2 * CAPACITY));
    }
    this.order.copyWithin(place + 1, place, this.blocks);
    this.firstKey.copyWithin(place + 1, place, this.blocks);
    this.firstTie.copyWithin(place + 1, place, this.blocks);
    this.order[place] = block;
    this.used[block] = 0;
    this.blocks++;
  }

  private removeBlock(place: number): void {
    this.freeBlocks.push(this.order[place]!);
    this.order.copyWithin(place, place + 1, this.blocks);
    this.firstKey.copyWithin(place, place + 1, this.blocks);
    this.firstTie.copyWithin(place, place + 1, this.blocks);
    this.blocks--;
  }
}

function grown<T extends Int32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
