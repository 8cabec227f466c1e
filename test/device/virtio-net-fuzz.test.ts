import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PciCommand } from '../../src/abi/pci.js';
import {
  CommonRegister,
  DeviceStatus,
  Feature,
  VIRTIO_BAR,
} from '../../src/device/virtio/registers.js';
import { NetFeature } from '../../src/device/virtio-net/network-card.js';
import { PAGE_SIZE, READ, WRITE as WRITABLE } from '../../src/mm/address-space.js';
import type { SegmentList } from '../../src/mm/frame-memory.js';
import { pseudoRandom } from './nvme-driver.js';
import { command, hex, IOVA_BASE_PAGE, write32 } from './program.js';
import {
  type DriverQueue,
  HEADER_BYTES,
  INDIRECT,
  NEXT,
  NetDriver,
  type Part,
  WRITE,
} from './virtio-driver.js';

const { CTRL_VQ, MQ, MRG_RXBUF } = NetFeature;
const { EVENT_IDX, INDIRECT_DESC, RING_RESET } = Feature;
const READ_WRITE = READ | WRITABLE;
const SIZE = 16;
/** Config space: the power management capability's control register. */
const POWER_CONTROL = 0x50;
/** Pages that garbage descriptors lead to, and indirect tables lie in. */
const GARBAGE_PAGES = 8;

/** Mostly queues that transmit: only they make the card do something. */
const QUEUE_OF = [0, 1, 1, 1, 2, 3, 3, 4];

/** Queue 4 is the control queue. */
const isReceive = ({ index }: DriverQueue): boolean => index === 0 || index === 2;

/** A card with two pairs, all queues on, over garbage that descriptors lead to. */
function started(seed: number) {
  const driver = new NetDriver({
    device: { queues: '2' },
    program: { pages: 256, faulting: seed % 2 === 0 },
  });
  const options = [EVENT_IDX, INDIRECT_DESC, RING_RESET, MRG_RXBUF].filter(
    (_, bit) => (seed >> (bit + 1)) & 1,
  );
  driver.negotiate([CTRL_VQ, MQ, ...options]);
  const garbage = driver.pages(GARBAGE_PAGES);
  driver
    .bytes(garbage, GARBAGE_PAGES * PAGE_SIZE)
    .set(pseudoRandom(GARBAGE_PAGES * PAGE_SIZE, seed));
  const queues = [0, 1, 2, 3, 4].map((index) => driver.createQueue(index, SIZE));
  driver.ready();
  const request = driver.pages(1);
  driver.bytes(request, 4).set([4, 0, 2, 0]); // both pairs
  queues[4]!.add([
    { offset: request, length: 4 },
    { offset: request + 8, length: 1, write: true },
  ]);
  queues[4]!.notify();
  queues[4]!.take();
  // What is good to begin with: buffers to write for rx, frames for tx.
  for (const queue of queues) {
    const write = isReceive(queue);
    for (let index = 0; index < SIZE; index++)
      queue.describe(index, { offset: garbage + 256 * index, length: write ? 2048 : 76, write }, 0);
  }
  return { driver, garbage, queues };
}

/**
 * A descriptor that has a chance: an address in the garbage or far off, a length of any size, some
 * flags, any next.
 */
function garble(
  { driver, garbage, queues }: ReturnType<typeof started>,
  place: number,
  value: number,
): void {
  const queue = queues[QUEUE_OF[place & 7]!]!;
  const { view } = driver;
  const inTable = (value & 0x100) !== 0;
  const at = inTable ? garbage + (value & 0xf0) : queue.table + ((place >>> 3) % SIZE) * 16;
  const far = (value & 0x3f) === 7;
  const lengths = [12, 64, 76, 1526, 5000, 0, 16 * (1 + (value & 3)), value & 0xffff, 0xffffffff];
  const offset = (value >>> 9) % ((GARBAGE_PAGES - 1) * PAGE_SIZE);
  view.setBigUint64(
    at,
    far ? 2n ** 64n - BigInt(value & 0xfff) : BigInt(driver.program.iova(garbage + offset)),
    true,
  );
  view.setUint32(at + 8, lengths[value % lengths.length]!, true);
  const isWrite = isReceive(queue) !== ((value & 0x1c0) === 0x1c0);
  const flags =
    ((value & 0x18) === 0x18 ? NEXT : 0) |
    (isWrite ? WRITE : 0) |
    ((value & 0xe00) === 0xe00 ? INDIRECT : 0);
  view.setUint16(at + 12, flags, true);
  view.setUint16(at + 14, (value >>> 12) % (SIZE + 1), true);
}

const action = fc.record({
  kind: fc.constantFrom(
    'descriptor', 'descriptor', 'descriptor', 'offer', 'offer', 'offer', 'index',
    'register', 'queue register', 'notify', 'config', 'restart', 'take away',
  ),
  place: fc.nat(255),
  value: fc.nat(0xffffffff),
}); // biome-ignore format: one line of kinds

interface Step {
  readonly kind: string;
  readonly place: number;
  readonly value: number;
}

/**
 * Does the steps; throws where the card writes to anything but what descriptors lead to, and its
 * used rings. Buffers used.
 */
function torment(
  steps: readonly Step[],
  seed: number,
  plant?: (list: SegmentList) => void,
): number {
  let card = started(seed);
  let used = 0;
  const watch = (): void => {
    const { driver, garbage, queues } = card;
    const areas = [
      [garbage, GARBAGE_PAGES * PAGE_SIZE],
      ...queues.map(({ deviceArea, size }) => [deviceArea, 6 + 8 * size]),
    ];
    driver.program.memory.beforeCopy = (list, isWrite) => {
      if (!isWrite) return;
      plant?.(list);
      for (let index = 0; index < list.count; index++) {
        const start = list.frame[index]! * PAGE_SIZE + list.offset[index]!;
        const end = start + list.length[index]!;
        if (!areas.some(([at, bytes]) => start >= at! && end <= at! + bytes!))
          throw new Error(`wild write to [${start}, ${end})`);
      }
    };
  };
  watch();
  for (const step of steps) {
    const { kind, place, value } = step;
    const { driver, queues } = card;
    const queue = queues[QUEUE_OF[place & 7]!]!;
    if (kind === 'descriptor') garble(card, place, value);
    if (kind === 'offer' || kind === 'offer more')
      queue.offer((value & 0x1f) === 0x1f ? value & 0xffff : value % SIZE);
    if (kind === 'index')
      driver.view.setUint16(queue.driverArea + 2 * (value & 1), value >>> 16, true);
    if (kind === 'register') write32(driver.device, VIRTIO_BAR, (place * 4) % 0x40, value);
    // Sizes, vectors, enabling, reset of a queue; not its addresses, which would lead its used ring
    // elsewhere.
    if (kind === 'queue register') {
      driver.setCommon(CommonRegister.QUEUE_SELECT, 2, value & 7);
      const register = [24, 26, 28, 58][place & 3]!;
      driver.setCommon(register, 2, (value >>> 8) % 300);
    }
    if (kind === 'notify') driver.notifications.setUint32((place * 4) % 64, value, true);
    if (kind === 'config')
      driver.device.writeRegion(7, place & 0xfc, Uint8Array.of(value & 0xff, value >> 8));
    if (kind === 'take away') driver.program.unmapFrame(value % 64);
    if (kind === 'restart') {
      card = started(seed + value);
      watch();
      continue;
    }
    for (const one of queues) one.notify();
    for (let polls = 0; polls < 100 && driver.device.poll(); polls++);
    used += queues.reduce((sum, one) => sum + one.takeAll().length, 0);
    if (kind === 'config') wake(driver);
    if ((driver.status & DeviceStatus.NEEDS_RESET) === 0) continue;
    works(driver);
    card = started(seed + value);
    watch();
  }
  works(card.driver);
  return used;
}

/** Bus mastering on, and full power. */
function wake(driver: NetDriver): void {
  command(driver.device, PciCommand.MEMORY | PciCommand.MASTER);
  driver.device.writeRegion(7, POWER_CONTROL, Uint8Array.of(0, 0));
}

/** After a reset it is as new. */
function works(driver: NetDriver): void {
  const { program } = driver;
  program.memory.beforeCopy = null;
  for (let frame = 0; frame < program.memory.pages; frame++) {
    const page = IOVA_BASE_PAGE + frame;
    if (program.domain.frameAt(page) < 0) program.domain.map(page, frame, 1, READ_WRITE);
  }
  driver.device.reset();
  wake(driver);
  driver.start();
  const [buffer] = driver.fill(1).values();
  const data = pseudoRandom(500, 77);
  driver.send(data);
  expect(driver.rx.takeAll()).toHaveLength(1);
  expect(hex(driver.bytes(buffer! + HEADER_BYTES, 500))).toBe(hex(data));
}

const steps = fc.array(action, { maxLength: 80, size: 'max' });

describe('a program can do what it likes', () => {
  it('garbage in rings, tables, registers and config space writes to nothing but its own buffers, and a reset makes it good', () => {
    let used = 0;
    fc.assert(
      fc.property(steps, fc.nat(0xffff), (list, seed) => {
        used += torment(list, seed);
      }),
      { numRuns: 60, seed: 20210409 },
    );
    // It got somewhere.
    expect(used).toBeGreaterThan(200);
  });

  it('a card that wrote eight bytes beside a buffer would be found', () => {
    const beside = (list: SegmentList): void => {
      list.offset[list.count - 1]! -= 8;
    };
    const run = fc.check(
      fc.property(steps, fc.nat(0xffff), (list, seed) => {
        torment(list, seed, beside);
      }),
      { numRuns: 300, seed: 20210409, endOnFailure: true },
    );
    expect(run.failed).toBe(true);
    expect(`${run.errorInstance}`).toMatch(/wild write/);
  });
});

const cut = fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 4 });
const packet = fc.record({
  length: fc.integer({ min: 14, max: 4000 }),
  cut,
  rx: cut,
  indirect: fc.boolean(),
});

/** Cuts `length` bytes at `offset` into parts. */
function parts(offset: number, length: number, cuts: readonly number[], write: boolean): Part[] {
  const list: Part[] = [];
  let at = 0;
  for (const size of cuts) {
    if (at + size >= length) break;
    list.push({ offset: offset + at, length: size, write });
    at += size;
  }
  return [...list, { offset: offset + at, length: length - at, write }];
}

describe('any traffic', () => {
  it('of frames in any parts, in bursts, comes back in order and byte by byte, with each set of features', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(packet, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 }),
        fc.nat(0xffff),
        (bursts, seed) => {
          const features = [EVENT_IDX, INDIRECT_DESC, MRG_RXBUF].filter(
            (_, bit) => (seed >> bit) & 1,
          );
          const driver = new NetDriver({ program: { pages: 1024, faulting: (seed & 8) !== 0 } });
          driver.start(features, 64);
          const indirect = features.includes(INDIRECT_DESC);
          const merges = features.includes(MRG_RXBUF);
          const table = (queue: DriverQueue, wanted: boolean, list: Part[]): void => {
            queue.add(list, wanted && indirect ? driver.pages(1) : undefined);
          };
          for (const [round, burst] of bursts.entries()) {
            const buffers: number[] = [];
            const expected: string[] = [];
            for (const [index, { length, cut, rx, indirect }] of burst.entries()) {
              // As many buffers as frames of this length take, or one that is large enough.
              for (let need = length + HEADER_BYTES; need > 0; need -= merges ? 2048 : need) {
                const offset = driver.pages(2);
                buffers.push(offset);
                table(driver.rx, indirect, parts(offset, merges ? 2048 : 4096, rx, true));
              }
              const data = pseudoRandom(length, seed + 100 * round + index);
              const { offset } = driver.frame(data);
              table(driver.tx, indirect, parts(offset!, length + HEADER_BYTES, cut, false));
              expected.push(hex(data));
            }
            driver.tx.notify();
            while (driver.device.poll());
            expect(driver.status & DeviceStatus.NEEDS_RESET).toBe(0);
            expect(driver.tx.takeAll()).toHaveLength(burst.length);
            const arrived = driver.rx
              .takeAll()
              .map(({ length }, index) => driver.bytes(buffers[index]!, length));
            for (const frame of expected) {
              let got = '';
              const count = arrived[0]![10]!;
              for (let part = 0; part < count; part++) got += hex(arrived.shift()!);
              expect(got.slice(2 * HEADER_BYTES)).toBe(frame);
            }
            expect(arrived).toEqual([]);
          }
        },
      ),
      { numRuns: 150, seed: 7 },
    );
  });
});
