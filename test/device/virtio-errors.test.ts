import { describe, expect, it } from 'vitest';
import { PciInterruptIndex } from '../../src/abi/pci.js';
import { CommonRegister, DeviceStatus, Feature } from '../../src/device/virtio/registers.js';
import { HEADER_BYTES } from '../../src/device/virtio-net/limits.js';
import { NetFeature } from '../../src/device/virtio-net/network-card.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import { pseudoRandom } from './nvme-driver.js';
import { hex } from './program.js';
import {
  type DriverQueue,
  headerOf,
  NEXT,
  NetDriver,
  type Part,
  received,
} from './virtio-driver.js';

const { NEEDS_RESET } = DeviceStatus;
const { MSIX } = PciInterruptIndex;

describe('errors of the driver and of memory', () => {
  const bad = 0x7000_0000_0000n;
  type Wrong = (driver: NetDriver) => void;
  const cases: [string, Wrong][] = [
    ['a head beyond the table', ({ tx }) => tx.offer(64)],
    ['a next beyond the table', ({ tx }) => offerLinked(tx, 64)],
    ['a chain in a circle', ({ tx }) => offerLinked(tx, 0)],
    [
      'more buffers than entries',
      ({ tx, view }) => view.setUint16(tx.driverArea + 2, tx.available + 65, true),
    ],
    ['a frame shorter than its header', ({ tx }) => tx.add([{ offset: 0, length: 11 }])],
    ['a transmit buffer to write', ({ tx }) => tx.add([{ offset: 0, length: 99, write: true }])],
    [
      'a part to read behind one to write',
      ({ tx }) =>
        tx.add([
          { offset: 0, length: 99, write: true },
          { offset: 0, length: 99 },
        ]),
    ],
    [
      'an indirect table that was not negotiated',
      ({ tx }) => tx.add([{ offset: 0, length: 99 }], 0),
    ],
    ['data that the IOMMU refuses', ({ tx }) => tx.add([{ iova: bad, length: 99 }])],
    ['data beyond all addresses', ({ tx }) => tx.add([{ iova: 2n ** 64n - 50n, length: 99 }])],
    ['a receive buffer to read', (driver) => sendTo(driver, { offset: 0, length: 2048 })],
    [
      'a receive buffer with a part to read before the one to write',
      (driver) => {
        const parts = [{ offset: 0, length: 9 }, driver.frame(new Uint8Array(2048))];
        driver.rx.add([parts[0]!, { ...parts[1]!, write: true }]);
        sendOne(driver);
      },
    ],
    [
      'a receive buffer shorter than a header',
      (driver) => sendTo(driver, { offset: 0, length: 11, write: true }),
    ],
    [
      'a receive buffer that the IOMMU refuses',
      (driver) => sendTo(driver, { iova: bad, length: 2048, write: true }),
    ],
    [
      'rings that the IOMMU refuses',
      (driver) => {
        driver.program.unmapFrame(driver.tx.driverArea / PAGE_SIZE);
        sendOne(driver);
      },
    ],
  ];
  function sendOne(driver: NetDriver): void {
    driver.tx.add([driver.frame(pseudoRandom(60))]);
  }
  function sendTo(driver: NetDriver, buffer: Part): void {
    driver.rx.add([buffer]);
    sendOne(driver);
  }
  function offerLinked(queue: DriverQueue, next: number): void {
    queue.describe(0, { offset: 0, length: 9 }, NEXT, next);
    queue.offer(0);
  }

  it.each(cases)(
    '%s: NEEDS_RESET, a change of configuration is told, nothing is used, a reset makes it good',
    (_, wrong) => {
      const driver = new NetDriver();
      driver.device.interruptsEnabled(MSIX, 3);
      driver.start([], 64, [1, 2]);
      driver.setCommon(CommonRegister.CONFIG_MSIX_VECTOR, 2, 0);
      driver.pages(1);
      wrong(driver);
      driver.tx.notify();
      expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
      expect(driver.program.sink.take()).toEqual(['msix 0']);
      expect([driver.tx.usedIndex, driver.rx.usedIndex]).toEqual([0, 0]);
      // Nothing more happens, and it is told once.
      driver.tx.notify();
      expect(driver.device.poll()).toBe(false);
      expect(driver.program.sink.take()).toEqual([]);

      driver.start();
      expect(driver.status & NEEDS_RESET).toBe(0);
      const buffers = driver.fill(1);
      const data = pseudoRandom(77);
      driver.send(data);
      expect(received(driver, buffers)).toEqual([headerOf(1) + hex(data)]);
    },
  );

  it.each([
    ['of no whole descriptors', 24],
    ['of nothing', 0],
    ['longer than the queue', 65 * 16],
  ])('an indirect table %s, or in another, or with a next: NEEDS_RESET', (_, length) => {
    for (const flags of [4, 4 | 1]) {
      const driver = new NetDriver().start([Feature.INDIRECT_DESC], 64);
      const table = driver.pages(1);
      // A good one before it, which must not be taken for what was not fetched.
      const buffers = driver.fill(2);
      driver.tx.add([{ offset: driver.pages(1), length: HEADER_BYTES + 60 }], table);
      driver.tx.notify();
      expect(received(driver, buffers)).toHaveLength(1);
      driver.tx.describe(1, { offset: table, length: flags === 4 ? length : 16 }, flags);
      driver.tx.offer(1);
      driver.tx.notify();
      expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
      expect(driver.rx.take()).toBeNull();
    }
    const nested = new NetDriver().start([Feature.INDIRECT_DESC], 64);
    const table = nested.pages(1);
    nested.tx.describe(0, { offset: table, length: 16 }, 4, 0, table);
    nested.tx.describe(0, { offset: table, length: 16 }, 4);
    nested.tx.offer(0);
    nested.tx.notify();
    expect(nested.status & NEEDS_RESET).toBe(NEEDS_RESET);
  });

  it('an indirect table that cannot be is not fetched', () => {
    const read = (length: number): boolean => {
      const driver = new NetDriver().start([Feature.INDIRECT_DESC], 64);
      const table = driver.pages(2);
      let isFetched = false;
      driver.program.memory.beforeCopy = (list, write) => {
        for (let index = 0; index < list.count; index++)
          if (!write && list.frame[index] === table / PAGE_SIZE) isFetched = true;
      };
      driver.tx.describe(0, { offset: table, length }, 4);
      driver.tx.offer(0);
      driver.tx.notify();
      return isFetched;
    };
    expect([16, 64 * 16].map(read)).toEqual([true, true]);
    expect([0, 24, 65 * 16, 0xfffffff0].map(read)).toEqual([false, false, false, false]);
  });

  it('a next beyond the table does not find what a larger queue has left there', () => {
    const driver = new NetDriver().start([], 128);
    const data = pseudoRandom(60);
    for (let index = 0; index < 70; index++) {
      driver.send(data);
      driver.tx.take();
    }
    driver.start([], 64);
    const buffers = driver.fill(1);
    offerLinked(driver.tx, 64);
    driver.tx.notify();
    expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
    expect(received(driver, buffers)).toEqual([]);
    // The head alone would have been too short; with the rest it is a frame.
    const good = new NetDriver().start([], 128);
    const target = good.fill(1);
    good.tx.describe(64, good.frame(data), 0);
    offerLinked(good.tx, 64);
    good.tx.notify();
    expect(good.status & NEEDS_RESET).toBe(0);
    expect(received(good, target)).toHaveLength(1);
  });

  it('a chain in a circle that might lead to an indirect table: NEEDS_RESET', () => {
    for (const next of [0, 64]) {
      const driver = new NetDriver().start([Feature.INDIRECT_DESC], 64);
      offerLinked(driver.tx, next);
      driver.tx.notify();
      expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
    }
  });

  it('a command in an indirect table that cannot be: NEEDS_RESET, and it has no answer', () => {
    const driver = new NetDriver({ device: { queues: '2' } });
    driver.negotiate([Feature.INDIRECT_DESC, NetFeature.CTRL_VQ]);
    const control = driver.createQueue(2, 64);
    driver.ready();
    control.describe(0, { offset: driver.pages(1), length: 24 }, 4);
    control.offer(0);
    control.notify();
    expect([driver.status & NEEDS_RESET, control.usedIndex]).toEqual([NEEDS_RESET, 0]);
  });

  it('a ring that is not aligned: NEEDS_RESET', () => {
    const driver = new NetDriver();
    driver.negotiate();
    driver.createQueue(0, 64, 0xffff, 8);
    expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
    // Nobody is told who is not ready.
    expect(driver.program.sink.level).toBe(false);
  });

  it('no buffer is given back whose frame could not be written: the used ring comes last', () => {
    const driver = new NetDriver().start();
    driver.fill(1);
    driver.rx.add([{ iova: bad, length: 2048, write: true }]);
    for (let index = 0; index < 2; index++) sendOne(driver);
    driver.tx.notify();
    expect([driver.tx.usedIndex, driver.rx.usedIndex]).toEqual([0, 0]);
  });
});
