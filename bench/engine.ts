/**
 * The engine's hot paths by themselves, at 1 to 60,000 live mappings of one page each: `npm run
 * build && node dist/bench/engine.js`.
 */
import { bench, do_not_optimize, group, run } from 'mitata';
import { runDirect } from '../src/flow/direct.js';
import type { IopfBackend } from '../src/ioas/iopf/backend.js';
import { Iopf } from '../src/ioas/iopf/iopf.js';
import { Mapping } from '../src/ioas/mapping.js';
import { MappingIndex } from '../src/ioas/mapping-index.js';
import { UserPages } from '../src/ioas/user-pages.js';
import { IommuDevice } from '../src/iommu/device.js';
import { Domain } from '../src/iommu/domain.js';
import { Counters } from '../src/iommu/observer.js';
import { type MmuNotifier, READ, WRITE } from '../src/mm/address-space.js';
import { SimulatedSpace } from '../src/mm/simulated.js';
import { SimulatedMemory } from '../src/mm/simulated-memory.js';
import { median, processorTime } from './figures.js';

const RW = READ | WRITE;
const SIZES = [1, 10, 1_000, 10_000, 60_000];
const VADDR = 0x7f0000;
/** Probes, drawn ahead of time so that drawing is not measured. */
const PROBES = 1 << 16;
/**
 * Pages, far apart, that are looked at in turn where caches shall stay warm at any number of
 * mappings.
 */
const WARM = 64;

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

/**
 * The page of a mapping that is looked at: its middle. Mappings lie apart in IOVA, side by side in
 * the process.
 */
function iovaOf(index: number, pages = 1): number {
  return 0x10_0000 + index * 3 * pages + (pages >>> 1);
}

function vaddrOf(index: number, pages = 1): number {
  return VADDR + index * pages + (pages >>> 1);
}

class BenchContainer implements IopfBackend {
  readonly counters = new Counters();
  readonly memory = new SimulatedMemory();
  readonly mm = new SimulatedSpace(this.memory);
  readonly domains = [new Domain()];
  readonly mappings = new MappingIndex();
  readonly logs = [];
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
    const mapping = new Mapping(
      iovaPage,
      pages,
      RW,
      new UserPages(this.mm, vaddrPage, pages, RW, null),
    );
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

/**
 * By their number, containers with that many mappings of `pages` pages, of each of which one page
 * is present.
 */
function containersOf(pages: number): Map<number, BenchContainer> {
  return new Map(SIZES.map((size) => [size, withMappings(size, pages)]));
}

function withMappings(size: number, pages: number): BenchContainer {
  const container = new BenchContainer(1);
  container.mm.mmap(VADDR, size * pages + 1, { kind: 'anon', protection: RW });
  for (let i = 0; i < size; i++) {
    container.map(0x10_0000 + i * 3 * pages, pages, VADDR + i * pages);
    container.device.fault(iovaOf(i, pages), WRITE);
  }
  return container;
}

function randomPages(size: number): Int32Array {
  const next = generator(7);
  return Int32Array.from({ length: PROBES }, () => next() % size);
}

function warmPage(turn: number, size: number): number {
  return size < WARM ? turn % size : (turn % WARM) * Math.floor(size / WARM);
}

const containers = containersOf(1);
const cases: (() => unknown)[] = [];

/**
 * Benches one case per number of mappings; they are warmed up together, so that none pays for being
 * the first.
 */
function compare(
  name: string,
  caseOf: (container: BenchContainer, size: number) => () => unknown,
): void {
  group(name, () => {
    for (const [size, container] of containers) {
      const run = caseOf(container, size);
      cases.push(run);
      bench(`${size} mappings`, run);
    }
  });
}

compare('translate a random mapped page', (container, size) => {
  const domain = container.domains[0]!;
  const pages = probes(size);
  let at = 0;
  return () => domain.translate(pages[at++ & (PROBES - 1)]!, WRITE);
});

compare('translate a random mapped page through the IOTLB', ({ device }, size) => {
  const pages = probes(size);
  let at = 0;
  return () => device.translate(pages[at++ & (PROBES - 1)]!, WRITE);
});

compare('look up the mapping that covers a random IOVA', ({ mappings }, size) => {
  const pages = probes(size);
  let at = 0;
  return () => do_not_optimize(mappings.covering(pages[at++ & (PROBES - 1)]!));
});

compare('map and unmap one page', (container, size) => {
  const pages = probes(size);
  let at = 0;
  return () => container.unmap(container.map(pages[at++ & (PROBES - 1)]! + 1, 1, VADDR + size));
});

compare('fault a page in and take it away again (pre-map 1)', ({ device }, size) => {
  const page = iovaOf(size >>> 1);
  return () => {
    device.fault(page, WRITE);
    device.pageLost(page);
  };
});

compare(`invalidate one of ${WARM} pages in turn, and fault it in again`, (container, size) => {
  let at = 0;
  return () => {
    const index = warmPage(at++, size);
    container.mm.migrate(vaddrOf(index), 1);
    container.device.fault(iovaOf(index), WRITE);
  };
});

// What is known of a page and its mapping has left the processor's caches by the time that it is
// its turn again.
compare('invalidate a random page, and fault it in again', (container, size) => {
  const pages = randomPages(size);
  let at = 0;
  return () => {
    const index = pages[at++ & (PROBES - 1)]!;
    container.mm.migrate(vaddrOf(index), 1);
    container.device.fault(iovaOf(index), WRITE);
  };
});

for (let round = 0; round < 20_000; round++) for (const run of cases) run();
await run();

/**
 * Rates over a large memory: what a page costs when it is new to everyone, in CPU time. The first
 * rounds warm up.
 */
function rate(name: string, premapPages: number, pages: number): void {
  const container = new BenchContainer(premapPages);
  container.mm.mmap(VADDR, pages, { kind: 'anon', protection: RW });
  container.map(0x10_0000, pages, VADDR);
  // The process has touched its memory: what is measured is the fault, not the simulated kernel's
  // page allocation.
  container.mm.fillPages(VADDR, pages, 1);
  const rounds: number[] = [];
  for (let round = 0; round < 40; round++) {
    const before = process.cpuUsage();
    for (let page = 0; page < pages; page += premapPages)
      container.device.fault(0x10_0000 + page, WRITE);
    rounds.push(processorTime(before));
    if (container.domains[0]!.pages !== pages) throw new Error('not every page was faulted in');
    container.mm.mprotect(VADDR, pages, RW);
    if (container.domains[0]!.pages !== 0) throw new Error('not every page was taken away');
  }
  const microseconds = median(rounds.slice(15));
  console.log(
    `${name}: ${(pages / premapPages / microseconds).toFixed(2)} M faults/s, ${(pages / microseconds).toFixed(1)} M pages/s`,
  );
}

/**
 * Pages that give a figure together, after as many that put what the case needs into the caches.
 */
const BLOCK = 512;

/**
 * From one look at the clock to the next with `run` in between, in ms, the mean of a block; `after`
 * is not measured.
 */
function timed(
  pages: Int32Array,
  run: (index: number) => void,
  after: (index: number) => void,
): number {
  let spent = 0;
  for (let i = 0; i < BLOCK * 2; i++) {
    const started = performance.now();
    run(pages[i]!);
    const taken = performance.now() - started;
    if (i >= BLOCK) spent += taken;
    after(pages[i]!);
  }
  return spent / BLOCK;
}

/**
 * Invalidation by itself, in ns a page: a notifier is told of one page between two looks at the
 * clock, whose own time is taken off; bringing the page back is not measured. One container per
 * number of mappings, and blocks of all of them take turns.
 */
function invalidation(
  what: string,
  containers: Map<number, BenchContainer>,
  mappingPages: number,
  pagesOf: (size: number) => Int32Array,
): void {
  const targets = [...containers].map(([size, container]) => {
    const before = container.counters.pagesInvalidated;
    return {
      size,
      container,
      before,
      pages: pagesOf(size),
      clock: [] as number[],
      whole: [] as number[],
    };
  });
  for (let round = 0; round < 60; round++) {
    for (const { container, pages, clock, whole } of targets) {
      const notifier = container.notifier!;
      const back = (index: number) =>
        void container.device.fault(iovaOf(index, mappingPages), WRITE);
      const invalidate = (index: number) => notifier.invalidate(vaddrOf(index, mappingPages), 1);
      clock.push(timed(pages, () => undefined, back));
      whole.push(timed(pages, invalidate, back));
    }
  }
  const each = targets.map(({ size, container, before, clock, whole }) => {
    if (container.counters.pagesInvalidated - before !== whole.length * BLOCK * 2)
      throw new Error('not every page was taken away');
    return { size, nanoseconds: (median(whole.slice(20)) - median(clock.slice(20))) * 1e6 };
  });
  const all = each.map(({ nanoseconds }) => nanoseconds);
  console.log(
    `invalidate ${what}: ${each.map(({ size, nanoseconds }) => `${nanoseconds.toFixed(0)} ns with ${size} mappings`).join(', ')}; ` +
      `the dearest costs ${(Math.max(...all) / Math.min(...all)).toFixed(2)} times the cheapest`,
  );
}

rate('pre-map 1', 1, 1 << 18);
rate('pre-map 512', 512, 1 << 18);
const inTurn = (size: number) =>
  Int32Array.from({ length: BLOCK * 2 }, (_, i) => warmPage(i, size));
invalidation(`one of ${WARM} pages in turn`, containers, 1, inTurn);
invalidation(`one of ${WARM} pages in turn, mappings of 64 pages`, containersOf(64), 64, inTurn);
// What mappings cost by the memory that they take: a random one of 60,000 is in no cache.
invalidation('a random page', containers, 1, randomPages);
const untouched = new BenchContainer(512);
untouched.map(0, 2 ** 28, VADDR);
console.log(`a mapping of 1 TiB, untouched: ${untouched.domains[0]!.bytes} bytes of page table`);
