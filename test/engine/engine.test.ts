import { expect, test } from 'vitest';
import {
  createContainer,
  createIoas,
  type EngineEvent,
  type EngineOptions,
  READ,
  type SimulatedEngine,
  WRITE,
} from '../../src/engine/index.js';

const VADDR = 0x10000000;
const IOVA = 0x100000;
const SIZE = 0x8000;
const hello = Buffer.from('hello');

const fronts = [
  ['a container', createContainer],
  ['an IOAS', createIoas],
] as const;

/** A front with `SIZE` bytes of its program mapped. */
function mapped(create: (options?: EngineOptions) => SimulatedEngine, options = {}) {
  const events: EngineEvent[] = [];
  const engine = create({ ...options, onEvent: (event) => events.push(event) });
  engine.program.mmap(VADDR, SIZE);
  engine.map({ iova: IOVA, vaddr: VADDR, size: SIZE });
  return { engine, events };
}

test.each(fronts)('%s brings a page in when its device asks, and takes it away', (_, create) => {
  const { engine, events } = mapped(create);
  const { device, program } = engine;
  expect(engine.counters()).toMatchObject({ mappedBytes: SIZE, pinnedBytes: 0, residentBytes: 0 });
  expect(device.write(IOVA + 0xffe, hello)).toBe(true);
  expect(Buffer.from(program.read(VADDR + 0xffe, 5))).toEqual(hello);
  expect(engine.counters()).toMatchObject({ faults: 2, residentBytes: 0x2000 });
  expect(events.map(({ kind }) => kind)).toEqual([
    ...['page-request', 'map', 'page-response'],
    ...['page-request', 'map', 'page-response'],
  ]);
  program.discard(VADDR, SIZE);
  expect(events.at(-1)).toEqual({ kind: 'invalidate', vaddr: VADDR, size: SIZE, removed: 0x2000 });
  expect(Buffer.from(device.read(IOVA, 5)!)).toEqual(Buffer.alloc(5));
  expect(engine.counters()).toMatchObject({ faults: 3, invalidations: 1, residentBytes: 0x1000 });
  expect(engine.unmap(IOVA, SIZE)).toBe(SIZE);
  expect(device.read(IOVA, 5)).toBeNull();
  engine.close();
  expect(engine.counters()).toMatchObject({ mappedBytes: 0, pinnedBytes: 0, residentBytes: 0 });
});

test.each(fronts)('%s without IOPF pins all, to the limit of locked memory', (_, create) => {
  const { engine } = mapped(create, { iopf: false, lockLimitBytes: SIZE });
  expect(engine.counters()).toMatchObject({ pinnedBytes: SIZE, residentBytes: SIZE });
  // An IOAS charges the user, and not the process.
  expect(engine.program.lockedBytes).toBe(create === createContainer ? SIZE : 0);
  engine.program.mmap(VADDR + SIZE, 0x1000);
  const more = { iova: IOVA + SIZE, vaddr: VADDR + SIZE, size: 0x1000 };
  expect(() => engine.map(more)).toThrow(expect.objectContaining({ errno: 'ENOMEM' }));
  engine.close();
  expect(engine.program.lockedBytes).toBe(0);
});

test.each(fronts)('%s keeps a device to what was mapped', (_, create) => {
  const { engine } = mapped(create);
  const { device, program } = engine;
  program.mmap(VADDR + SIZE, 0x1000);
  engine.map({ iova: IOVA + SIZE, vaddr: VADDR + SIZE, size: 0x1000, access: READ });
  expect(device.frame(IOVA + SIZE, READ)).not.toBeNull();
  expect(device.frame(IOVA + SIZE, WRITE)).toBeNull();
  expect(device.write(IOVA + SIZE - 2, hello)).toBe(false);
  // What lies before is written.
  expect(Buffer.from(program.read(VADDR + SIZE - 2, 2))).toEqual(hello.subarray(0, 2));
  program.munmap(VADDR, SIZE);
  expect(device.read(IOVA, 1)).toBeNull();
});

test('what Linux answers with an errno is an error with its name and the call', () => {
  const { engine } = mapped(createContainer);
  const twice = { iova: IOVA, vaddr: VADDR, size: SIZE };
  expect(() => engine.map(twice)).toThrow('VFIO_IOMMU_MAP_DMA: EEXIST');
  expect(() => engine.map({ ...twice, size: 12 })).toThrow('VFIO_IOMMU_MAP_DMA: EINVAL');
  expect(() => engine.program.read(0x5000, 1)).toThrow('read: EFAULT');
  expect(() => createIoas({ kernel: '6.1' })).toThrow('open: ENOENT');
  expect(() => engine.program.mmap(1, 4096)).toThrow(RangeError);
  expect(() => createContainer({ premapPages: 0 })).toThrow('not 1 to 512');
});

test('a host that is short of memory takes pages to swap, and faults bring them back', () => {
  const { engine } = mapped(createContainer, { hostBytes: 0x3000 });
  for (let page = 0; page < 8; page++)
    expect(engine.device.write(IOVA + page * 0x1000, Uint8Array.of(page + 1))).toBe(true);
  expect(engine.program.presentBytes).toBeLessThanOrEqual(0x3000);
  expect(engine.device.read(IOVA, 1)).toEqual(Uint8Array.of(1));
  expect(engine.counters().faults).toBe(9);
});
