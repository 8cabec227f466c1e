import { describe, expect, test } from 'vitest';
import { scenarios } from '../../src/check/scenarios/index.js';
import { Execution } from '../../src/check/search/execution.js';
import { Checkpoint } from '../../src/check/world/checkpoint.js';
import { type Parts, shippedParts } from '../../src/check/world/parts.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { PAGE_NUMBER_LIMIT, PageTable } from '../../src/mm/page-table.js';

/**
 * Everything below a root that a checkpoint promises, as text; an object is told once and named
 * from then on.
 */
function picture(root: unknown): string {
  const names = new Map<object, number>();
  const tell = (value: unknown): unknown => {
    if (typeof value === 'function') return `function ${value.name}`;
    if (typeof value !== 'object' || value === null)
      return value === undefined ? 'undefined' : value;
    const known = names.get(value);
    if (known !== undefined) return `object ${known}`;
    names.set(value, names.size);
    if (value instanceof PageTable) return entries(value);
    if (ArrayBuffer.isView(value))
      return [...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)];
    if (Array.isArray(value)) return Array.from(value, tell);
    if (value instanceof Map) return [...value].map((pair) => pair.map(tell));
    if (value instanceof Set) return [...value].map(tell);
    return Object.entries(value).map(([key, each]) => [key, tell(each)]);
  };
  return JSON.stringify(tell(root));
}

function entries(table: PageTable): number[][] {
  const all: number[][] = [];
  for (let page = table.nextPresent(0, PAGE_NUMBER_LIMIT); page < PAGE_NUMBER_LIMIT; ) {
    all.push([page, table.lookup(page, 0), table.bits(page)]);
    page = table.nextPresent(page + 1, PAGE_NUMBER_LIMIT);
  }
  return all;
}

class Part {
  name = 'part';
  count = 0;
  other: Part | null = null;
}

function make() {
  const part = new Part();
  const holes: (number | undefined)[] = [1];
  holes[2] = 3;
  const table = new PageTable();
  table.set(5, 50, READ);
  table.set(0x12345, 7, READ | WRITE);
  const buffer = new ArrayBuffer(64);
  return {
    flag: true,
    maybe: undefined as string | undefined,
    part,
    parts: [part, new Part()],
    holes,
    nested: [[1], [2, 3]],
    map: new Map<string, unknown>([
      ['first', part],
      ['second', { deep: 1 }],
    ]),
    keyed: new Map<object, number>([[part, 1]]),
    set: new Set<unknown>([1, part]),
    words: new Uint32Array(buffer, 8, 4),
    doubles: new Float64Array(buffer, 32, 2),
    large: new Int32Array(100),
    bytes: new Uint8Array(5),
    view: new DataView(new ArrayBuffer(6)),
    table,
    frozen: Object.freeze({ constant: 1 }),
  };
}

type World = ReturnType<typeof make>;

/** Every kind of change, each by itself; together they touch all that a checkpoint saves. */
const changes: Record<string, (world: World) => void> = {
  'a field'(w) {
    w.flag = false;
  },
  'a field that was undefined'(w) {
    w.maybe = 'now';
  },
  'a field of an object below'(w) {
    w.part.count = 9;
  },
  'a circle'(w) {
    w.part.other = w.part;
  },
  'an element'(w) {
    w.parts[0] = new Part();
  },
  'an array that grows'(w) {
    w.parts.push(new Part(), new Part());
  },
  'an array that shrinks'(w) {
    w.parts.length = 1;
  },
  'an array in an array'(w) {
    w.nested[1]!.reverse();
  },
  'an array that is emptied'(w) {
    w.nested.length = 0;
  },
  'a hole that is filled'(w) {
    w.holes[1] = 2;
  },
  'a map that grows'(w) {
    w.map.set('third', 3);
  },
  'a value of a map'(w) {
    w.map.set('first', null);
  },
  'an object in a map'(w) {
    (w.map.get('second') as { deep: number }).deep = 2;
  },
  'the order of a map'(w) {
    const first = w.map.get('first');
    w.map.delete('first');
    w.map.set('first', first);
  },
  'a map that shrinks'(w) {
    w.map.delete('first');
  },
  'a map with objects as keys'(w) {
    w.keyed.set(w.part, 2);
  },
  'a set that grows'(w) {
    w.set.add(2);
  },
  'a set that shrinks'(w) {
    w.set.delete(1);
  },
  'a set of which one went and one came'(w) {
    w.set.delete(w.part);
    w.set.add(4);
  },
  'words of a buffer'(w) {
    w.words.fill(7);
  },
  'doubles of the same buffer'(w) {
    w.doubles[1] = Math.PI;
  },
  'a large typed array'(w) {
    w.large.fill(-1, 50);
  },
  'bytes that are no whole words'(w) {
    w.bytes[4] = 255;
  },
  'a view'(w) {
    w.view.setUint16(4, 0xffff);
  },
  'an entry of a page table that goes'(w) {
    w.table.clear(0x12345, 1);
  },
  'an entry of a page table that comes'(w) {
    w.table.set(0x7fffffff, 1, READ);
  },
  'a frame of a page table'(w) {
    w.table.set(5, 51, READ);
  },
  'a permission of a page table'(w) {
    w.table.set(5, 50, WRITE);
  },
};

describe('a checkpoint', () => {
  test.each(Object.entries(changes))('puts back %s, as often as wanted', (_, change) => {
    const world = make();
    const before = picture(world);
    const checkpoint = new Checkpoint(world);
    for (let round = 0; round < 2; round++) {
      change(world);
      expect(picture(world)).not.toBe(before);
      checkpoint.restore();
      expect(picture(world)).toBe(before);
    }
  });

  test('puts back all of them together', () => {
    const world = make();
    const before = picture(world);
    const checkpoint = new Checkpoint(world);
    for (const change of Object.values(changes)) change(world);
    checkpoint.restore();
    expect(picture(world)).toBe(before);
  });

  test('keeps the objects: who held one holds it still', () => {
    const world = make();
    const { part, map, table, words } = world;
    const checkpoint = new Checkpoint(world);
    world.part = new Part();
    world.parts.length = 0;
    part.name = 'another';
    checkpoint.restore();
    expect([world.part, world.parts[0], world.map.get('first')]).toEqual([part, part, part]);
    expect(world.part).toBe(part);
    expect(part.name).toBe('part');
    expect([world.map, world.table, world.words]).toEqual([map, table, words]);
    expect(world.map).toBe(map);
  });

  test('leaves constants alone, and what only they reach', () => {
    const world = make();
    const second = world.map.get('second') as { deep: number };
    const checkpoint = new Checkpoint(world, [world.map]);
    world.map.set('third', 3);
    second.deep = 2;
    world.part.count = 5;
    checkpoint.restore();
    expect(world.map.get('third')).toBe(3);
    expect(second.deep).toBe(2);
    expect(world.part.count).toBe(0);
  });

  test('cannot be made of a path that is under way', () => {
    function* path() {
      yield 1;
    }
    expect(() => new Checkpoint({ path: path() })).toThrow(
      'a path that is under way cannot be saved',
    );
  });

  test.each(['map', 'set', 'large', 'bytes', 'table', 'holes', 'part'] as const)(
    'that forgets %s is seen: the comparison above does not pass by itself',
    (forgotten) => {
      const world = make();
      const before = picture(world);
      const checkpoint = new Checkpoint(world, [world[forgotten]]);
      for (const change of Object.values(changes)) change(world);
      checkpoint.restore();
      expect(picture(world)).not.toBe(before);
    },
  );
});

describe('an order that is run after others', () => {
  /** Digests of the world along an order that is decided by `seed`. */
  function walk(execution: Execution, seed: number): number[] {
    execution.start();
    const { fingerprint } = execution.world;
    const look = () => [fingerprint.ofContainerSide(), fingerprint.ofMemorySide()];
    const digests = look();
    let random = seed + 1;
    for (let steps = 0; steps < 200; steps++) {
      const ready = execution.names.flatMap((_, i) => (execution.isReady(i) ? [i] : []));
      if (ready.length === 0) break;
      random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
      execution.step(ready[(random >>> 16) % ready.length]!);
      digests.push(...look());
    }
    return digests;
  }

  /** The first of these orders that goes another way in a world that was used before. */
  function firstDifference(name: string, parts: Parts): number {
    const scenario = scenarios.find((each) => each.name === name)!;
    const used = new Execution(scenario, parts);
    for (let seed = 0; seed < 30; seed++) {
      const again = walk(used, seed);
      const fresh = walk(new Execution(scenario, parts), seed);
      if (again.length !== fresh.length || again.some((digest, i) => digest !== fresh[i]))
        return seed;
    }
    return -1;
  }

  test.each(scenarios.map(({ name }) => name))('goes as in a new world: %s', (name) => {
    expect(firstDifference(name, shippedParts)).toBe(-1);
  });

  test('does not where a part keeps something that no checkpoint sees', () => {
    class Tired extends IommuDevice {
      #accesses = 0;

      override translate(iovaPage: number, access: number): number {
        return this.#accesses++ > 6 ? -1 : super.translate(iovaPage, access);
      }
    }
    expect(
      firstDifference('fault-migrate-unmap', { ...shippedParts, IommuDevice: Tired }),
    ).toBeGreaterThan(0);
  });
});
