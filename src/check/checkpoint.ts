/**
 * The objects below a root as they were at one time, put back as often as wanted: making a container costs more than a whole
 * order does.
 *
 * Every field of every object is saved and put back, and what arrays, maps, sets and typed arrays hold. Not seen are variables of
 * closures and `#` fields. A page table is saved as its entries, for it is mostly empty.
 */
import { Bug } from '../abi/bug.js';
import { PAGE_NUMBER_LIMIT, PageTable } from '../mm/page-table.js';

type Fields = Record<string, unknown>;
/** Puts the fields of one object back. */
type Restore = (object: Fields, values: readonly unknown[]) => void;
type Bytes = Float64Array | Int32Array | Uint32Array | Uint8Array;

interface SavedObject {
  readonly object: Fields;
  readonly values: readonly unknown[];
  readonly restore: Restore;
}

interface Saved<T, S> {
  readonly object: T;
  readonly content: S;
}

export class Checkpoint {
  private readonly objects: SavedObject[] = [];
  private readonly arrays: Saved<unknown[], readonly unknown[]>[] = [];
  private readonly bytes: Saved<Bytes, Bytes>[] = [];
  private readonly maps: Saved<Map<unknown, unknown>, readonly (readonly [unknown, unknown])[]>[] = [];
  private readonly sets: Saved<Set<unknown>, readonly unknown[]>[] = [];
  private readonly tables: SavedTable[] = [];
  private readonly met: Set<object>;

  /** @param constants objects that nothing changes, or that somebody else puts back: they and what only they reach are left out */
  constructor(root: object, constants: readonly object[] = []) {
    this.met = new Set(constants);
    this.save(root);
  }

  restore(): void {
    const { objects, arrays, bytes, maps, sets, tables } = this;
    for (let i = 0; i < objects.length; i++) {
      const { object, values, restore } = objects[i]!;
      restore(object, values);
    }
    for (let i = 0; i < arrays.length; i++) restoreArray(arrays[i]!);
    for (let i = 0; i < bytes.length; i++) bytes[i]!.object.set(bytes[i]!.content);
    for (let i = 0; i < maps.length; i++) restoreMap(maps[i]!);
    for (let i = 0; i < sets.length; i++) restoreSet(sets[i]!);
    for (let i = 0; i < tables.length; i++) tables[i]!.restore();
  }

  private save(value: unknown): void {
    if (typeof value !== 'object' || value === null || this.met.has(value) || Object.isFrozen(value)) return;
    this.met.add(value);
    if (value instanceof PageTable) this.tables.push(new SavedTable(value));
    else if (isBytes(value)) this.bytes.push({ object: value, content: value.slice() });
    else if (Array.isArray(value)) this.saveArray(value);
    else if (value instanceof Map) this.saveMap(value);
    else if (value instanceof Set) this.saveSet(value);
    else if (!(value instanceof DataView)) this.saveObject(value as Fields);
  }

  private saveArray(array: unknown[]): void {
    this.arrays.push({ object: array, content: array.slice() });
    for (const each of array) this.save(each);
  }

  private saveMap(map: Map<unknown, unknown>): void {
    this.maps.push({ object: map, content: [...map] });
    for (const [key, value] of map) {
      this.save(key);
      this.save(value);
    }
  }

  private saveSet(set: Set<unknown>): void {
    this.sets.push({ object: set, content: [...set] });
    for (const each of set) this.save(each);
  }

  private saveObject(object: Fields): void {
    if (Object.prototype.toString.call(object) === '[object Generator]')
      throw new Bug('a path that is under way cannot be saved');
    const keys = Object.keys(object);
    const values = keys.map((key) => object[key]);
    if (keys.length !== 0) this.objects.push({ object, values, restore: restorerFor(keys) });
    for (const value of values) this.save(value);
  }
}

/** The entries of a page table. */
class SavedTable {
  private readonly entries: { readonly page: number; readonly frame: number; readonly bits: number }[] = [];

  constructor(private readonly table: PageTable) {
    for (let page = 0; (page = table.nextPresent(page, PAGE_NUMBER_LIMIT)) < PAGE_NUMBER_LIMIT; page++)
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
 * A restorer for objects with these fields. It is compiled, because one loop over the fields of all classes would cost ten times as
 * much; a field that is as it was is not written, so that constant fields stay constants to the compiler.
 */
function restorerFor(keys: readonly string[]): Restore {
  const name = keys.join(' ');
  let restorer = restorers.get(name);
  if (restorer === undefined) {
    const lines = keys.map((key, i) => {
      const field = `object[${JSON.stringify(key)}]`;
      return `if (${field} !== values[${i}]) ${field} = values[${i}];`;
    });
    restorer = new Function('object', 'values', lines.join('\n')) as Restore;
    restorers.set(name, restorer);
  }
  return restorer;
}

function isBytes(value: object): value is Bytes {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function restoreArray({ object, content }: Saved<unknown[], readonly unknown[]>): void {
  if (object.length > content.length) object.length = content.length;
  for (let i = 0; i < content.length; i++) if (object[i] !== content[i]) object[i] = content[i];
}

function restoreMap({ object, content }: Saved<Map<unknown, unknown>, readonly (readonly [unknown, unknown])[]>): void {
  if (isAsSaved(object.keys(), object.size, content, first) && isAsSaved(object.values(), object.size, content, second))
    return;
  object.clear();
  for (const [key, value] of content) object.set(key, value);
}

function restoreSet({ object, content }: Saved<Set<unknown>, readonly unknown[]>): void {
  if (isAsSaved(object.values(), object.size, content, itself)) return;
  object.clear();
  for (const each of content) object.add(each);
}

/** Whether the members are those of `content`, in its order. */
function isAsSaved<T>(
  members: Iterator<unknown>,
  size: number,
  content: readonly T[],
  part: (saved: T) => unknown,
): boolean {
  if (size !== content.length) return false;
  for (let i = 0; i < content.length; i++) if (members.next().value !== part(content[i]!)) return false;
  return true;
}

const itself = (saved: unknown): unknown => saved;
const first = (saved: readonly [unknown, unknown]): unknown => saved[0];
const second = (saved: readonly [unknown, unknown]): unknown => saved[1];
