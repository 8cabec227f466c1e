/**
 * The engine's hot paths by themselves, at 10 to 60,000 live mappings of one page each: `npm run build && node dist/bench/engine.js`.
 */
import { bench, do_not_optimize, group, run } from 'mitata';
import { runDirect } from '../src/flow/direct.js';
import { IommuDevice } from '../src/iommu/device.js';
import { Domain } from '../src/iommu/domain.js';
import { Counters } from '../src/iommu/observer.js';
import { type MmuNotifier, READ, WRITE } from '../src/mm/address-space.js';
import { SimulatedSpace } from '../src/mm/simulated.js';
import { SimulatedMemory } from '../src/mm/simulated-memory.js';
import type { IopfBackend } from '../src/vfio/iopf/backend.js';
import { Iopf } from '../src/vfio/iopf/iopf.js';
import { Mapping } from '../src/vfio/type1/mapping.js';
import { MappingIndex } from '../src/vfio/type1/mapping-index.js';

const RW = READ | WRITE;
const SIZES = [10, 1_000, 10_000, 60_000];
const VADDR = 0x7f0000;
/** Probes, drawn ahead of time so that drawing is not measured. */
const PROBES = 1 << 16;

/** Deterministic numbers below 2^32 (xorshift). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Mappings of one page each, `gap` pages apart. */
function iovaOf(index: number): number {
  return 0x10_0000 + index * 3;
}

class BenchContainer implements IopfBackend {
  readonly counters = new Counters();
  readonly memory = new SimulatedMemory();
  readonly mm = new SimulatedSpace(this.memory);
  readonly domains = [new Domain()];
  readonly mappings = new MappingIndex();
  readonly device = new IommuDevice({ address: '0000:00:01.0', counters: this.counters });
  readonly iopf: Iopf;

  /** Our notifier on the memory, as the host would call it. */
  notifier: MmuNotifier | null = null;

  constructor(premapPages: number) {
    const subscribe = this.mm.subscribe.bind(this.mm);
    this.mm.subscribe = (notifier) => {
      this.notifier = notifier;
      return subscribe(notifier);
    };
    this.device.attach(this.domains[0]!);
    this.iopf = new Iopf(this, { premapPages });
    runDirect(this.iopf.enable());
  }

  devices(): readonly IommuDevice[] {
    return [this.device];
  }

  pinMapping(): void {
    throw new Error('nothing is pinned here');
  }

  unpinMapping(): void {
    throw new Error('nothing is pinned here');
  }

  map(iovaPage: number, pages: number, vaddrPage: number): Mapping {
    const mapping = new Mapping(iovaPage, pages, vaddrPage, RW, this.mm);
    this.iopf.mappingAdded(mapping);
    this.mappings.insert(mapping);
    return mapping;
  }

  unmap(mapping: Mapping): void {
    this.mappings.remove(mapping);
    this.iopf.mappingRemoved(mapping);
  }
}

function probes(size: number): Float64Array {
  const next = generator(size + 1);
  return Float64Array.from({ length: PROBES }, () => iovaOf(next() % size));
}

function withMappings(size: number): BenchContainer {
  const container = new BenchContainer(1);
  container.mm.mmap(VADDR, size + 1, { kind: 'anon', protection: RW });
  for (let i = 0; i < size; i++) {
    container.map(iovaOf(i), 1, VADDR + i);
    container.device.fault(iovaOf(i), WRITE);
  }
  return container;
}

const containers = new Map(SIZES.map((size) => [size, withMappings(size)]));

group('translate a random mapped page', () => {
  for (const size of SIZES) {
    const domain = containers.get(size)!.domains[0]!;
    const pages = probes(size);
    let at = 0;
    bench(`${size} mappings`, () => domain.translate(pages[at++ & (PROBES - 1)]!, WRITE));
  }
});

group('translate a random mapped page through the IOTLB', () => {
  for (const size of SIZES) {
    const { device } = containers.get(size)!;
    const pages = probes(size);
    let at = 0;
    bench(`${size} mappings`, () => device.translate(pages[at++ & (PROBES - 1)]!, WRITE));
  }
});

group('look up the mapping that covers a random IOVA', () => {
  for (const size of SIZES) {
    const { mappings } = containers.get(size)!;
    const pages = probes(size);
    let at = 0;
    bench(`${size} mappings`, () => do_not_optimize(mappings.covering(pages[at++ & (PROBES - 1)]!)));
  }
});

group('map and unmap one page', () => {
  for (const size of SIZES) {
    const container = containers.get(size)!;
    const pages = probes(size);
    let at = 0;
    bench(`${size} mappings`, () => {
      const mapping = container.map(pages[at++ & (PROBES - 1)]! + 1, 1, VADDR + size);
      container.unmap(mapping);
    });
  }
});

group('fault a page in and take it away again (pre-map 1)', () => {
  for (const size of SIZES) {
    const container = containers.get(size)!;
    const mapping = container.mappings.covering(iovaOf(size >>> 1))!;
    bench(`${size} mappings`, () => {
      container.device.fault(mapping.iovaPage, WRITE);
      container.device.pageLost(mapping.iovaPage);
    });
  }
});

group('invalidate a page that is mapped, and fault it in again', () => {
  for (const size of SIZES) {
    const container = containers.get(size)!;
    const next = generator(7);
    const order = Int32Array.from({ length: PROBES }, () => next() % size);
    let at = 0;
    bench(`${size} mappings`, () => {
      const index = order[at++ & (PROBES - 1)]!;
      container.mm.migrate(VADDR + index, 1);
      container.device.fault(iovaOf(index), WRITE);
    });
  }
});

await run();

/** Rates over a large memory: what a page costs when it is new to everyone. */
function rate(name: string, premapPages: number, pages: number): void {
  const container = new BenchContainer(premapPages);
  container.mm.mmap(VADDR, pages, { kind: 'anon', protection: RW });
  container.map(0x10_0000, pages, VADDR);
  // The process has touched its memory: what is measured is the fault, not the simulated kernel's page allocation.
  container.mm.fillPages(VADDR, pages, 1);
  const rounds = 5;
  const best = { seconds: Number.POSITIVE_INFINITY };
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    for (let page = 0; page < pages; page += premapPages) container.device.fault(0x10_0000 + page, WRITE);
    best.seconds = Math.min(best.seconds, (performance.now() - started) / 1000);
    if (container.domains[0]!.pages !== pages) throw new Error('not every page was faulted in');
    container.mm.mprotect(VADDR, pages, RW);
    if (container.domains[0]!.pages !== 0) throw new Error('not every page was taken away');
  }
  const faults = pages / premapPages / best.seconds;
  console.log(
    `${name}: ${(faults / 1e6).toFixed(2)} M faults/s, ${(pages / best.seconds / 1e6).toFixed(1)} M pages/s`,
  );
}

/** Mapped pages that are taken away between two looks at the clock. */
const BATCH = 64;

/**
 * Invalidation by itself, in ns a page: notifiers are told of single mapped pages; bringing them back is not measured. Where a
 * container has fewer mappings than a batch has pages, there are several containers.
 */
function invalidation(size: number): number {
  const containers = Array.from({ length: Math.ceil(BATCH / size) }, () => withMappings(size));
  const targets = Array.from({ length: BATCH }, (_, i) => ({
    container: containers[Math.floor(i / size)]!,
    index: size < BATCH ? i % size : i * Math.floor(size / BATCH),
  }));
  let seconds = 0;
  let pages = 0;
  for (let round = 0; pages < 200_000; round++) {
    const started = performance.now();
    for (const { container, index } of targets) container.notifier!.invalidate(VADDR + index, 1);
    const taken = performance.now() - started;
    // The first rounds warm up.
    if (round * BATCH > 100_000) {
      seconds += taken / 1000;
      pages += BATCH;
    }
    for (const { container, index } of targets) container.device.fault(iovaOf(index), WRITE);
  }
  if (containers.some(({ counters }) => counters.pagesInvalidated === 0))
    throw new Error('nothing was taken away');
  const each = (seconds / pages) * 1e9;
  console.log(`invalidate a page at ${size} mappings: ${each.toFixed(0)} ns`);
  return each;
}

rate('pre-map 1', 1, 1 << 18);
rate('pre-map 512', 512, 1 << 18);
const nanoseconds = [1, 10, 1_000, 60_000].map(invalidation);
const ratio = Math.max(...nanoseconds) / Math.min(...nanoseconds);
console.log(
  `invalidate a page at 1 to 60000 mappings: the dearest costs ${ratio.toFixed(2)} times the cheapest`,
);
const untouched = new BenchContainer(512);
untouched.map(0, 2 ** 28, VADDR);
console.log(`a mapping of 1 TiB, untouched: ${untouched.domains[0]!.bytes} bytes of page table`);
