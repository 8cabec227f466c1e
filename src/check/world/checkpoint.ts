/**
 * The objects below a root as they were at one time, put back as often as wanted: making a
 * container costs more than a whole order does.
 *
 * Every field of every object is saved and put back, and what arrays, maps, sets and typed arrays
 * hold. Not seen are variables of closures, `#` fields, and fields that an object gets later. A
 * page table is saved as its entries, because it is mostly empty.
 */
import { Bug } from '../../abi/bug.js';
import { PAGE_NUMBER_LIMIT, PageTable } from '../../mm/page-table.js';

type Fields = Record<string, unknown>;
/**
 * Writes back into the fields and elements of `objects` what they held: what its code names, and
 * `values`.
 */
type Restore = (objects: readonly object[], values: readonly unknown[]) => void;
type Numbers = Int32Array | Uint8Array;
/** Longer arrays of numbers are put back as a whole. */
const LONG = 64;

interface Saved<T, S> {
  readonly object: T;
  readonly content: readonly S[];
}

export class Checkpoint {
  /** Objects and arrays; and what their fields and elements hold where it has no name in code. */
  private readonly objects: object[] = [];
  private readonly values: unknown[] = [];
  private readonly restoreFields: Restore;
  private readonly long: { readonly object: Numbers; readonly content: Numbers }[] = [];
  private readonly maps: Saved<Map<unknown, unknown>, readonly [unknown, unknown]>[] = [];
  private readonly sets: Saved<Set<unknown>, unknown>[] = [];
  private readonly tables: SavedTable[] = [];
  private readonly met: Set<object>;

  /**
   * @param constants objects that nothing changes, or that somebody else puts back: they and what
   * only they reach are left out
   */
  constructor(root: object, constants: readonly object[] = []) {
    this.met = new Set(constants);
    const code: string[] = [];
    this.save(root, code);
    this.restoreFields = compiled(code.join('\n'));
  }

  restore(): void {
    const { long, maps, sets, tables } = this;
    this.restoreFields(this.objects, this.values);
    for (let i = 0; i < long.length; i++) long[i]!.object.set(long[i]!.content);
    for (let i = 0; i < maps.length; i++) restoreMap(maps[i]!);
    for (let i = 0; i < sets.length; i++) restoreSet(sets[i]!);
    for (let i = 0; i < tables.length; i++) tables[i]!.restore();
  }

  private save(value: unknown, code: string[]): void {
    if (
      typeof value !== 'object' ||
      value === null ||
      this.met.has(value) ||
      Object.isFrozen(value)
    )
      return;
    this.met.add(value);
    if (value instanceof PageTable) this.tables.push(new SavedTable(value));
    else if (ArrayBuffer.isView(value)) this.saveBuffer(value.buffer, code);
    else if (Array.isArray(value)) this.saveArray(value, code);
    else if (value instanceof Map) {
      this.maps.push({ object: value, content: [...value] });
      for (const pair of value) for (const each of pair) this.save(each, code);
    } else if (value instanceof Set) {
      this.sets.push({ object: value, content: [...value] });
      for (const each of value) this.save(each, code);
    } else this.saveObject(value as Fields, code);
  }

  /** What typed arrays and views hold; those of one buffer together. */
  private saveBuffer(buffer: ArrayBufferLike, code: string[]): void {
    if (this.met.has(buffer)) return;
    this.met.add(buffer);
    const object = buffer.byteLength % 4 === 0 ? new Int32Array(buffer) : new Uint8Array(buffer);
    if (object.length > LONG) {
      this.long.push({ object, content: object.slice() });
      return;
    }
    code.push(this.begin(object));
    for (let i = 0; i < object.length; i++) code.push(`o[${i}] = ${object[i]};`);
  }

  private saveArray(array: unknown[], code: string[]): void {
    code.push(this.begin(array), `while (o.length > ${array.length}) o.pop();`);
    // Holes, too: an order may fill them.
    for (let i = 0; i < array.length; i++) code.push(this.putBack(`o[${i}]`, array[i]));
    for (const each of array) this.save(each, code);
  }

  private saveObject(object: Fields, code: string[]): void {
    if (Object.prototype.toString.call(object) === '[object Generator]')
      throw new Bug('a path that is under way cannot be saved');
    code.push(this.begin(object));
    for (const key of Object.keys(object))
      code.push(this.putBack(`o[${JSON.stringify(key)}]`, object[key]));
    for (const key of Object.keys(object)) this.save(object[key], code);
  }

  /** The code that follows is about an object. */
  private begin(object: object): string {
    return `o = objects[${this.objects.push(object) - 1}];`;
  }

  /**
   * What has not changed is not written: engines take a field that is never written for a constant.
   */
  private putBack(place: string, value: unknown): string {
    const name = nameOf(value) ?? `values[${this.values.push(value) - 1}]`;
    return `if (${place} !== ${name}) ${place} = ${name};`;
  }
}

/**
 * How code names a value, which is cheaper to compare with than an element of `values`. Null: it
 * cannot.
 */
function nameOf(value: unknown): string | null {
  const plain = Number.isFinite(value) && !Object.is(value, -0);
  return plain || typeof value === 'boolean' || value === null || value === undefined
    ? `${value}`
    : null;
}

/** The entries of a page table. */
class SavedTable {
  private readonly entries: {
    readonly page: number;
    readonly frame: number;
    readonly bits: number;
  }[] = [];

  constructor(private readonly table: PageTable) {
    const next = (from: number) => table.nextPresent(from, PAGE_NUMBER_LIMIT);
    for (let page = next(0); page < PAGE_NUMBER_LIMIT; page = next(page + 1))
      this.entries.push({ page, frame: table.lookup(page, 0), bits: table.bits(page) });
  }

  restore(): void {
    const { table, entries } = this;
    for (let page = 0; table.present !== 0; page++) {
      page = table.nextPresent(page, PAGE_NUMBER_LIMIT);
      table.clear(page, 1);
    }
    for (let i = 0; i < entries.length; i++) {
      const { page, frame, bits } = entries[i]!;
      table.set(page, frame, bits);
    }
  }
}

const restorers = new Map<string, Restore>();

/**
 * The code as a function; the same code gives the same. A loop over the fields of all classes would
 * cost ten times as much.
 */
function compiled(code: string): Restore {
  let restorer = restorers.get(code);
  if (restorer === undefined) {
    restorer = new Function('objects', 'values', `let o;\n${code}`) as Restore;
    restorers.set(code, restorer);
  }
  return restorer;
}

/**
 * What has one entry at most is compared, for making iterators costs more; of more entries the
 * order counts, too.
 */
function restoreMap({
  object,
  content,
}: Saved<Map<unknown, unknown>, readonly [unknown, unknown]>): void {
  if (object.size === content.length) {
    if (content.length === 0) return;
    const [key, value] = content[0]!;
    if (content.length === 1 && object.has(key) && object.get(key) === value) return;
  }
  object.clear();
  for (const [key, value] of content) object.set(key, value);
}

function restoreSet({ object, content }: Saved<Set<unknown>, unknown>): void {
  if (object.size === content.length) {
    if (content.length === 0) return;
    if (content.length === 1 && object.has(content[0])) return;
  }
  object.clear();
  for (const each of content) object.add(each);
}
