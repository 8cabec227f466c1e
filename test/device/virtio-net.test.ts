import { describe, expect, it } from 'vitest';
import { PciCommand, PciInterruptIndex } from '../../src/abi/pci.js';
import type { NetworkPort } from '../../src/device/host.js';
import { OptionError } from '../../src/device/options.js';
import {
  CapabilityType,
  CommonRegister,
  DeviceStatus,
  Feature,
  IsrStatus,
  VIRTIO_BAR,
} from '../../src/device/virtio/registers.js';
import { NetFeature } from '../../src/device/virtio-net/device.js';
import { virtioNet } from '../../src/device/virtio-net/kind.js';
import { FRAME_MOST, PAIRS } from '../../src/device/virtio-net/limits.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import { pseudoRandom } from './nvme-driver.js';
import { command, hex, IOVA_BASE_PAGE, Program, read } from './program.js';
import { type DriverQueue, HEADER_BYTES, NEXT, NetDriver, type Part, VirtioDriver } from './virtio-driver.js';

const { NEEDS_RESET, FEATURES_OK, DRIVER_OK } = DeviceStatus;
const { MSIX } = PciInterruptIndex;
const noOffload = (buffers: number) => `${'00'.repeat(10)}${buffers.toString(16).padStart(2, '0')}00`;

/** What a card received, by its used ring: header and frame of each buffer. */
function received(driver: NetDriver, buffers: Map<number, number>): string[] {
  return driver.rx.takeAll().map(({ head, length }) => hex(driver.bytes(buffers.get(head)!, length)));
}

describe('the function', () => {
  it('is modern virtio: ids, revision, and a capability for each structure, inside its BAR and apart', () => {
    const driver = new VirtioDriver();
    const config = read(driver.device, 7, 0, 48);
    expect(hex(config.subarray(0, 4))).toBe('f41a4110');
    expect(hex(config.subarray(8, 12))).toBe('01000002');
    const places = [...driver.structures].filter(([type]) => type !== CapabilityType.PCI_CONFIG);
    expect(places.map(([type]) => type).sort()).toEqual([1, 2, 3, 4]);
    const ends = places.map(([, { bar, offset, length }]) => {
      expect(bar).toBe(VIRTIO_BAR);
      expect(offset + length).toBeLessThanOrEqual(driver.device.regions[bar]!.size);
      return [offset, offset + length] as const;
    });
    ends.sort(([a], [b]) => a - b);
    for (let i = 1; i < ends.length; i++) expect(ends[i]![0]).toBeGreaterThanOrEqual(ends[i - 1]![1]);
  });

  it('lets a program map the notifications, and nothing else of that BAR', () => {
    const driver = new VirtioDriver();
    const notify = driver.structure(CapabilityType.NOTIFY);
    const region = driver.device.regions[VIRTIO_BAR]!;
    expect(region.mappable).toBe(true);
    expect(region.sparse).toEqual([{ offset: notify.offset, size: PAGE_SIZE }]);
  });

  it('shows its address, a link that is up, and its pairs', () => {
    const driver = new VirtioDriver({ device: { mac: '02:11:22:33:44:55', queues: '3' } });
    const { bar, offset } = driver.structure(CapabilityType.DEVICE);
    expect(hex(read(driver.device, bar, offset, 10))).toBe('02112233445501000300');
    expect(driver.common(CommonRegister.NUM_QUEUES, 2)).toBe(7);
    const other = new VirtioDriver();
    expect(hex(read(other.device, bar, offset, 8))).toBe('5254000002000100');
  });

  it('is reached through the window in config space too', () => {
    const driver = new VirtioDriver();
    const { at } = driver.structure(CapabilityType.PCI_CONFIG);
    const long = (value: number) => Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
    const window = (offset: number, size: number) => {
      driver.device.writeRegion(7, at + 4, Uint8Array.of(VIRTIO_BAR));
      driver.device.writeRegion(7, at + 8, long(offset));
      driver.device.writeRegion(7, at + 12, long(size));
    };
    window(CommonRegister.NUM_QUEUES, 2);
    expect(hex(read(driver.device, 7, at + 16, 4))).toBe('02000000');
    window(CommonRegister.DEVICE_STATUS, 1);
    driver.device.writeRegion(7, at + 16, Uint8Array.of(3));
    expect(driver.status).toBe(3);
    // Where the window leads nowhere, its data are plain bytes.
    window(0xfffffff0, 4);
    driver.device.writeRegion(7, at + 16, long(0x12345678));
    expect(hex(read(driver.device, 7, at + 16, 4))).toBe('78563412');
    // The rest of the capability is fixed.
    driver.device.writeRegion(7, at, Uint8Array.of(0, 0, 0, 0));
    expect(read(driver.device, 7, at, 1)[0]).toBe(0x09);
  });

  it.each([
    [{ mac: '52:54:00:12:34' }, /mac=.*six bytes/],
    [{ mac: '01:00:5e:00:00:01' }, /mac=/],
    [{ mac: '00:00:00:00:00:00' }, /mac=/],
    [{ queues: '0' }, /queues takes a number from 1 to 8/],
    [{ queues: `${PAIRS + 1}` }, /queues/],
    [{ queues: '2', tap: 'tap0' }, /only 1 together with tap/],
    [{ tap: '' }, /tap takes the name/],
    [{ tap: 'a name' }, /tap takes the name/],
    [{ tap: 'longer-than-a-name' }, /tap takes the name/],
    [{ tap: 'tap0' }, /this run has no network/],
    [{ size: '1M' }, /no option 'size'; it takes mac, tap, queues/],
  ])('refuses the options %o', (options, message) => {
    const make = () => virtioNet.create(options as Record<string, string>, new Program().surroundings);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
  });
});

describe('negotiation', () => {
  it('offers virtio 1, the IOMMU, both ways to put off notifications and indirect tables; no offload', () => {
    expect(new VirtioDriver().offered()).toEqual([
      NetFeature.MAC,
      NetFeature.MRG_RXBUF,
      NetFeature.STATUS,
      Feature.INDIRECT_DESC,
      Feature.EVENT_IDX,
      Feature.VERSION_1,
      Feature.ACCESS_PLATFORM,
      Feature.RING_RESET,
    ]);
    expect(new VirtioDriver({ device: { queues: '2' } }).offered()).toEqual(
      expect.arrayContaining([NetFeature.CTRL_VQ, NetFeature.MQ]),
    );
  });

  it.each([
    ['a driver of before virtio 1', [Feature.ACCESS_PLATFORM]],
    ['a driver that goes around the IOMMU', [Feature.VERSION_1]],
    ['a feature that is not offered', [Feature.VERSION_1, Feature.ACCESS_PLATFORM, 0]],
  ])('refuses %s at FEATURES_OK', (_, bits) => {
    const driver = new VirtioDriver();
    driver.status = 3;
    driver.takeFeatures(bits);
    driver.status = 3 | FEATURES_OK;
    expect(driver.status).toBe(3);
    driver.takeFeatures([Feature.VERSION_1, Feature.ACCESS_PLATFORM]);
    driver.status = 3 | FEATURES_OK;
    expect(driver.status).toBe(3 | FEATURES_OK);
  });

  it('refuses a feature beyond the 64 that it knows', () => {
    const driver = new VirtioDriver();
    driver.takeFeatures([Feature.VERSION_1, Feature.ACCESS_PLATFORM]);
    driver.setCommon(CommonRegister.DRIVER_FEATURE_SELECT, 4, 2);
    driver.setCommon(CommonRegister.DRIVER_FEATURE, 4, 1);
    driver.status = 3 | FEATURES_OK;
    expect(driver.status).toBe(3);
  });

  it('features are settled with FEATURES_OK; bits of the status only come, until a reset', () => {
    const driver = new VirtioDriver();
    driver.negotiate();
    driver.takeFeatures([0]);
    driver.setCommon(CommonRegister.DRIVER_FEATURE_SELECT, 4, 1);
    expect(driver.common(CommonRegister.DRIVER_FEATURE, 4)).toBe(3);
    driver.status = 1;
    expect(driver.status).toBe(3 | FEATURES_OK);
    driver.status = 0;
    expect(driver.status).toBe(0);
    expect(driver.common(CommonRegister.DRIVER_FEATURE, 4)).toBe(0);
  });

  it('DRIVER_OK without FEATURES_OK is an error', () => {
    const driver = new VirtioDriver();
    driver.status = 3 | DRIVER_OK;
    expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
  });

  it('queues: powers of two up to what is offered; vectors that exist; fixed while enabled; absent ones have size 0', () => {
    const driver = new VirtioDriver();
    driver.negotiate();
    const size = () => driver.common(CommonRegister.QUEUE_SIZE, 2);
    expect(size()).toBe(256);
    for (const [written, then] of [
      [100, 256],
      [512, 256],
      [0, 256],
      [64, 64],
    ]) {
      driver.setCommon(CommonRegister.QUEUE_SIZE, 2, written!);
      expect(size()).toBe(then);
    }
    driver.setCommon(CommonRegister.QUEUE_MSIX_VECTOR, 2, 2);
    expect(driver.common(CommonRegister.QUEUE_MSIX_VECTOR, 2)).toBe(2);
    driver.setCommon(CommonRegister.QUEUE_MSIX_VECTOR, 2, 3);
    expect(driver.common(CommonRegister.QUEUE_MSIX_VECTOR, 2)).toBe(0xffff);
    driver.createQueue(1, 32);
    driver.setCommon(CommonRegister.QUEUE_SIZE, 2, 16);
    expect(size()).toBe(32);
    expect(driver.common(CommonRegister.QUEUE_NOTIFY_OFF, 2)).toBe(1);
    driver.setCommon(CommonRegister.QUEUE_SELECT, 2, 2);
    expect(size()).toBe(0);
  });

  it('a field is read as a whole, and a 64-bit one by its halves', () => {
    const driver = new VirtioDriver();
    expect(driver.common(CommonRegister.NUM_QUEUES, 1)).toBe(0);
    expect(driver.common(CommonRegister.NUM_QUEUES, 2)).toBe(2);
    driver.setCommon(CommonRegister.QUEUE_DESC + 4, 4, 0x80000001);
    expect(driver.common(CommonRegister.QUEUE_DESC + 4, 4)).toBe(0x80000001);
  });
});

describe('looped back', () => {
  it('every frame comes back byte by byte behind a header that says nothing but one buffer', () => {
    const driver = new NetDriver().start();
    const buffers = driver.fill(8);
    const frames = [14, 60, 64, 1500, 1514].map((length) => pseudoRandom(length, length));
    for (const frame of frames) driver.tx.add([driver.frame(frame)]);
    driver.tx.notify();
    expect(received(driver, buffers)).toEqual(frames.map((frame) => noOffload(1) + hex(frame)));
    expect(driver.tx.takeAll().map(({ length }) => length)).toEqual([0, 0, 0, 0, 0]);
  });

  it('rings wrap many times, also at a size of 1, and across pages', () => {
    for (const [size, shift] of [
      [1, 0],
      [4, 4080],
      [8, 4096 - 16],
    ]) {
      const driver = new NetDriver().start([], size, undefined, shift);
      const offset = driver.pages(1);
      const source = driver.pages(1);
      for (let round = 0; round < 70; round++) {
        const data = pseudoRandom(100, round + 1);
        driver.bytes(source + HEADER_BYTES, 100).set(data);
        driver.rx.add([{ offset, length: 256, write: true }]);
        driver.tx.add([{ offset: source, length: HEADER_BYTES + 100 }]);
        driver.tx.notify();
        expect(driver.rx.takeAll().map(({ length }) => length)).toEqual([112]);
        expect(hex(driver.bytes(offset + HEADER_BYTES, 100))).toBe(hex(data));
        expect(driver.tx.takeAll()).toHaveLength(1);
      }
      expect(driver.status & NEEDS_RESET).toBe(0);
    }
  });

  it('indexes run over 65,535 and go on from 0', () => {
    const driver = new NetDriver().start([Feature.EVENT_IDX], 256);
    const source = driver.frame(pseudoRandom(60));
    const target = driver.pages(1);
    let back = 0;
    for (let round = 0; round < 66_000 / 200; round++) {
      for (let index = 0; index < 200; index++) {
        driver.rx.add([{ offset: target, length: 128, write: true }]);
        driver.tx.add([source]);
      }
      driver.tx.notify();
      while (driver.device.poll());
      back += driver.rx.takeAll().length;
      driver.tx.takeAll();
    }
    expect(back).toBe(66_000);
    expect(driver.rx.usedIndex).toBe(66_000 - 65_536);
  });

  it('frames may be in any parts, direct or in an indirect table, on both sides', () => {
    for (const indirect of [false, true]) {
      const driver = new NetDriver().start(indirect ? [Feature.INDIRECT_DESC] : [], 64);
      const data = pseudoRandom(3000, 7);
      const source = driver.pages(2) + 100;
      driver.bytes(source, 3000).set(data);
      const header = driver.pages(1);
      const target = driver.pages(3) + 4000;
      const table = (index: number) => (indirect ? driver.pages(1) + 16 * index : undefined);
      driver.rx.add(
        [
          { offset: target, length: 5, write: true },
          { offset: target + 5, length: 0, write: true },
          { offset: target + 5, length: 1000, write: true },
          { offset: target + 1005, length: 4000, write: true },
        ],
        table(3),
      );
      driver.tx.add(
        [
          { offset: header, length: 7 },
          { offset: header + 7, length: 5 },
          { offset: source, length: 1 },
          { offset: source + 1, length: 2000 },
          { offset: source + 2001, length: 999 },
        ],
        table(0),
      );
      driver.tx.notify();
      expect(driver.rx.takeAll().map(({ length }) => length)).toEqual([3012]);
      expect(hex(driver.bytes(target + HEADER_BYTES, 3000))).toBe(hex(data));
      // Nothing was written around it.
      expect(driver.view.getUint8(target - 1)).toBe(0);
      expect(driver.view.getUint8(target + 3012)).toBe(0);
    }
  });

  it('with mergeable buffers a large frame is spread, and its header counts them', () => {
    const driver = new NetDriver().start([NetFeature.MRG_RXBUF]);
    const data = pseudoRandom(9000, 3);
    const buffers = driver.fill(8, 2048);
    driver.send(data);
    const parts = received(driver, buffers);
    expect(parts.map((part) => part.length / 2)).toEqual([2048, 2048, 2048, 2048, 820]);
    expect(parts.join('')).toBe(noOffload(5) + hex(data));
  });

  it('the largest frame goes through; runts and giants are dropped and their buffers given back', () => {
    const driver = new NetDriver().start([NetFeature.MRG_RXBUF]);
    const buffers = driver.fill(3, 33_000);
    const largest = pseudoRandom(FRAME_MOST, 5);
    for (const length of [0, 13, FRAME_MOST + 1]) driver.tx.add([driver.frame(pseudoRandom(length))]);
    driver.tx.add([driver.frame(largest)]);
    driver.tx.notify();
    expect(received(driver, buffers).join('')).toBe(noOffload(2) + hex(largest));
    expect(driver.tx.takeAll()).toHaveLength(4);
    expect(driver.status & NEEDS_RESET).toBe(0);
  });

  it('a frame for which there is no buffer, or none that is large enough, is dropped; the buffer stays', () => {
    const driver = new NetDriver().start();
    driver.send(pseudoRandom(60, 1));
    expect(driver.tx.takeAll()).toHaveLength(1);
    const buffers = driver.fill(1, 100);
    driver.send(pseudoRandom(200, 2));
    expect(driver.rx.takeAll()).toEqual([]);
    const small = pseudoRandom(80, 3);
    driver.send(small);
    expect(received(driver, buffers)).toEqual([noOffload(1) + hex(small)]);
  });

  it('of a merged frame that does not fit, no buffer is lost', () => {
    const driver = new NetDriver().start([NetFeature.MRG_RXBUF]);
    const buffers = driver.fill(2, 512);
    driver.send(pseudoRandom(2000, 1));
    expect(driver.rx.takeAll()).toEqual([]);
    const data = pseudoRandom(1000, 2);
    driver.send(data);
    expect(received(driver, buffers).join('')).toBe(noOffload(2) + hex(data));
  });

  it('buffers made available before DRIVER_OK are found; nothing is touched before', () => {
    const driver = new NetDriver();
    driver.negotiate();
    driver.rx = driver.createQueue(0, 8);
    driver.tx = driver.createQueue(1, 8);
    driver.fill(1);
    driver.send(pseudoRandom(60));
    expect(driver.rx.usedIndex).toBe(0);
    driver.ready();
    driver.device.poll();
    expect(driver.rx.usedIndex).toBe(1);
  });

  it('waits while bus mastering is off', () => {
    const driver = new NetDriver().start();
    driver.fill(1);
    command(driver.device, PciCommand.MEMORY);
    driver.send(pseudoRandom(60));
    expect(driver.rx.usedIndex).toBe(0);
    command(driver.device, PciCommand.MEMORY | PciCommand.MASTER);
    driver.device.poll();
    expect(driver.rx.usedIndex).toBe(1);
    expect(driver.status & NEEDS_RESET).toBe(0);
  });

  it('a notification by a call is as good as one through the mapped page', () => {
    const driver = new NetDriver().start();
    driver.fill(2);
    for (const [size, value] of [
      [2, 1],
      [4, 1],
    ]) {
      driver.tx.add([driver.frame(pseudoRandom(60))]);
      driver.set(CapabilityType.NOTIFY, 4, size!, value!);
    }
    expect(driver.rx.usedIndex).toBe(2);
  });

  it('a batch is moved in few calls: one look, one read, one write', () => {
    const driver = new NetDriver().start([], 256);
    driver.fill(64);
    for (let index = 0; index < 64; index++) driver.tx.add([driver.frame(pseudoRandom(60))]);
    const { memory } = driver.program;
    memory.calls = 0;
    // No interrupt can be wanted: MSI-X is on, and the queues have no vector.
    driver.device.interruptsEnabled(MSIX, 1);
    driver.tx.notify();
    expect(driver.rx.usedIndex).toBe(64);
    expect(memory.calls).toBe(3);
    memory.calls = 0;
    expect(driver.device.poll()).toBe(false);
    expect(memory.calls).toBe(0);
  });
});

describe('interrupts', () => {
  function started(features: readonly number[] = []) {
    const driver = new NetDriver();
    driver.device.interruptsEnabled(MSIX, 3);
    driver.setCommon(CommonRegister.CONFIG_MSIX_VECTOR, 2, 0);
    driver.start(features, 64, [1, 2]);
    driver.fill(32);
    driver.setCommon(CommonRegister.CONFIG_MSIX_VECTOR, 2, 0);
    driver.program.sink.take();
    return driver;
  }
  const send = (driver: NetDriver, count: number) => {
    for (let index = 0; index < count; index++) driver.tx.add([driver.frame(pseudoRandom(60))]);
    driver.tx.notify();
    while (driver.device.poll());
    return driver.program.sink.take();
  };

  it('each queue has its vector, once for a batch', () => {
    expect(send(started(), 5)).toEqual(['msix 1', 'msix 2']);
  });

  it('come where avail.flags allows them', () => {
    const driver = started();
    driver.tx.noInterrupt = true;
    expect(send(driver, 3)).toEqual(['msix 1']);
    driver.tx.noInterrupt = false;
    driver.rx.noInterrupt = true;
    expect(send(driver, 1)).toEqual(['msix 2']);
  });

  it('with event indexes come when the used index passes used_event, whatever the flags say', () => {
    const driver = started([Feature.EVENT_IDX]);
    driver.rx.usedEvent = 3;
    driver.tx.usedEvent = 100;
    driver.rx.noInterrupt = true;
    expect(send(driver, 3)).toEqual([]);
    expect(send(driver, 1)).toEqual(['msix 1']);
    expect(send(driver, 4)).toEqual([]);
    driver.rx.usedEvent = 10;
    expect(send(driver, 5)).toEqual(['msix 1']);
  });

  it('avail_event asks for the first buffer that was not taken; receive buffers need no notification', () => {
    const driver = started([Feature.EVENT_IDX]);
    send(driver, 5);
    expect(driver.tx.availableEvent).toBe(5);
    expect(driver.rx.availableEvent).toBe(0);
    const plain = started();
    send(plain, 1);
    expect([plain.rx.usedFlags, plain.tx.usedFlags]).toEqual([1, 0]);
  });

  it('a buffer whose notification is put off by an old avail_event is found by the look behind the batch', () => {
    const driver = started([Feature.EVENT_IDX]);
    let late = 2;
    driver.program.memory.beforeCopy = (_, write) => {
      // Between our look and our avail_event: the driver adds one, and sees that we did not ask to be told.
      if (write && late-- > 0) driver.tx.add([driver.frame(pseudoRandom(60))]);
    };
    send(driver, 1);
    expect(driver.tx.usedIndex).toBe(3);
  });

  it('without MSI-X: the pin and the ISR status, which a read clears', () => {
    const driver = new NetDriver().start();
    driver.fill(2);
    const isr = () => driver.get(CapabilityType.ISR, 0, 1);
    driver.send(pseudoRandom(60));
    while (driver.device.poll());
    expect(driver.program.sink.level).toBe(true);
    expect(isr()).toBe(IsrStatus.QUEUE);
    expect(driver.program.sink.level).toBe(false);
    expect(isr()).toBe(0);
  });
});

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
    ['an indirect table that was not negotiated', ({ tx }) => tx.add([{ offset: 0, length: 99 }], 0)],
    ['data that the IOMMU refuses', ({ tx }) => tx.add([{ iova: bad, length: 99 }])],
    ['data beyond all addresses', ({ tx }) => tx.add([{ iova: 2n ** 64n - 50n, length: 99 }])],
    ['a receive buffer to read', (driver) => sendTo(driver, { offset: 0, length: 2048 })],
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
      expect(received(driver, buffers)).toEqual([noOffload(1) + hex(data)]);
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
      driver.tx.describe(0, { offset: table, length: flags === 4 ? length : 16 }, flags);
      driver.tx.offer(0);
      driver.tx.notify();
      expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
    }
    const nested = new NetDriver().start([Feature.INDIRECT_DESC], 64);
    const table = nested.pages(1);
    nested.tx.describe(0, { offset: table, length: 16 }, 4, 0, table);
    nested.tx.describe(0, { offset: table, length: 16 }, 4);
    nested.tx.offer(0);
    nested.tx.notify();
    expect(nested.status & NEEDS_RESET).toBe(NEEDS_RESET);
  });

  it('a ring that is not aligned: NEEDS_RESET', () => {
    const driver = new NetDriver();
    driver.negotiate();
    driver.createQueue(0, 64, 0xffff, 8);
    expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
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

describe('reset', () => {
  it('with buffers in both queues forgets them and touches nothing more', () => {
    const driver = new NetDriver().start();
    driver.fill(4);
    driver.tx.add([driver.frame(pseudoRandom(60))]);
    driver.status = 0;
    driver.tx.notify();
    expect(driver.device.poll()).toBe(false);
    expect([driver.rx.usedIndex, driver.tx.usedIndex]).toEqual([0, 0]);
    expect(driver.common(CommonRegister.QUEUE_ENABLE, 2)).toBe(0);
  });

  it.each(['function-level reset', 'closing'])('%s is a reset too', (how) => {
    const driver = new NetDriver().start();
    driver.fill(1);
    driver.tx.add([driver.frame(pseudoRandom(60))]);
    if (how === 'closing') {
      driver.device.release();
      driver.device.open(driver.program.sink);
      command(driver.device, PciCommand.MEMORY | PciCommand.MASTER);
    } else driver.device.reset();
    driver.tx.notify();
    expect(driver.rx.usedIndex).toBe(0);
    expect(driver.status).toBe(0);
  });

  it('of one queue (RING_RESET) leaves the other; it can be enabled again with another size', () => {
    const driver = new NetDriver().start([Feature.RING_RESET]);
    driver.fill(2);
    driver.send(pseudoRandom(60, 1));
    driver.setCommon(CommonRegister.QUEUE_SELECT, 2, 1);
    driver.setCommon(CommonRegister.QUEUE_RESET, 2, 1);
    expect(driver.common(CommonRegister.QUEUE_RESET, 2)).toBe(0);
    expect(driver.common(CommonRegister.QUEUE_ENABLE, 2)).toBe(0);
    driver.send(pseudoRandom(60, 2));
    expect(driver.rx.usedIndex).toBe(1);
    driver.tx = driver.createQueue(1, 16);
    driver.send(pseudoRandom(60, 3));
    expect(driver.rx.usedIndex).toBe(2);
  });
});

describe('several pairs', () => {
  const { CTRL_VQ, MQ } = NetFeature;
  const PAIRS_SET = [4, 0];
  function setPairs(driver: NetDriver, queue: ReturnType<NetDriver['createQueue']>, bytes: number[]): number {
    const offset = driver.pages(1);
    driver.bytes(offset, 8).set([...bytes, 0xee, 0xee, 0xee, 0xee].slice(0, 8));
    const ack = driver.pages(1);
    driver.bytes(ack, 1)[0] = 0xff;
    queue.add([
      { offset, length: 2 },
      { offset: offset + 2, length: bytes.length - 2 },
      { offset: ack, length: 1, write: true },
    ]);
    queue.notify();
    return driver.bytes(ack, 1)[0]!;
  }

  it('are in use once the control queue has said so; a frame comes back on its own pair', () => {
    const driver = new NetDriver({ device: { queues: '3' } });
    driver.negotiate([CTRL_VQ, MQ]);
    const queues = [...Array(7).keys()].map((index) => driver.createQueue(index, 16));
    driver.ready();
    const control = queues[6]!;
    const sendOn = (pair: number, length: number) => {
      queues[2 * pair]!.add([{ offset: driver.pages(1), length: 2048, write: true }]);
      queues[2 * pair + 1]!.add([driver.frame(pseudoRandom(length))]);
      queues[2 * pair + 1]!.notify();
      return queues.map((queue) => queue.usedIndex);
    };
    expect(sendOn(1, 60)).toEqual([0, 0, 0, 0, 0, 0, 0]);
    expect(setPairs(driver, control, [...PAIRS_SET, 4, 0])).toBe(1);
    expect(setPairs(driver, control, [...PAIRS_SET, 0, 0])).toBe(1);
    expect(setPairs(driver, control, [1, 0, 1, 0])).toBe(1);
    expect(setPairs(driver, control, [...PAIRS_SET, 3])).toBe(1);
    expect(setPairs(driver, control, [...PAIRS_SET, 3, 0])).toBe(0);
    driver.device.poll();
    expect(queues.map((queue) => queue.usedIndex)).toEqual([0, 0, 1, 1, 0, 0, 5]);
    expect(sendOn(2, 70)).toEqual([0, 0, 1, 1, 1, 1, 5]);
    expect(sendOn(0, 80)).toEqual([1, 1, 1, 1, 1, 1, 5]);
    expect(driver.status & NEEDS_RESET).toBe(0);
  });

  it('a driver that knows of no more has the control queue behind the first pair', () => {
    const driver = new NetDriver({ device: { queues: '3' } });
    driver.negotiate([CTRL_VQ]);
    driver.createQueue(0, 16);
    driver.createQueue(1, 16);
    const control = driver.createQueue(2, 16);
    driver.ready();
    expect(setPairs(driver, control, [...PAIRS_SET, 1, 0])).toBe(1);
    expect(control.usedFlags).toBe(0);
  });

  it('when one breaks a rule the others stop at once', () => {
    const driver = new NetDriver({ device: { queues: '2' } });
    driver.negotiate([CTRL_VQ, MQ]);
    const queues = [0, 1, 2, 3, 4].map((index) => driver.createQueue(index, 16));
    driver.ready();
    expect(setPairs(driver, queues[4]!, [...PAIRS_SET, 2, 0])).toBe(0);
    queues[2]!.add([{ offset: driver.pages(1), length: 2048, write: true }]);
    queues[3]!.add([driver.frame(pseudoRandom(60))]);
    queues[1]!.add([{ offset: 0, length: 3 }]);
    for (const queue of [queues[3]!, queues[1]!])
      driver.notifications.setUint16(queue.index * 4, queue.index, true);
    driver.device.poll();
    expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
    expect(queues[3]!.usedIndex).toBe(0);
  });

  it('a command without room for an answer: NEEDS_RESET', () => {
    const driver = new NetDriver({ device: { queues: '2' } });
    driver.negotiate([CTRL_VQ, MQ]);
    const control = driver.createQueue(4, 16);
    driver.ready();
    control.add([{ offset: driver.pages(1), length: 4 }]);
    control.notify();
    expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
  });
});

describe('joined to a network', () => {
  function joined(features: readonly number[] = []) {
    const sent: string[] = [];
    const arriving: Uint8Array[] = [];
    const network: NetworkPort = {
      send: (buffer, offset, length) => void sent.push(hex(buffer.bytes.subarray(offset, offset + length))),
      receive(buffer, offset, room) {
        const frame = arriving.shift();
        if (!frame) return 0;
        expect(frame.length).toBeLessThanOrEqual(room);
        buffer.bytes.set(frame, offset);
        return frame.length;
      },
    };
    const names: string[] = [];
    const openTap = (name: string) => {
      names.push(name);
      return network;
    };
    const driver = new NetDriver({ device: { tap: 'tap7' }, openTap }).start(features);
    expect(names).toEqual(['tap7']);
    return { driver, sent, arriving };
  }

  it('frames go out and do not come back; those that arrive are received, in order', () => {
    const { driver, sent, arriving } = joined();
    const buffers = driver.fill(4);
    const out = [pseudoRandom(60, 1), pseudoRandom(1514, 2)];
    for (const frame of out) driver.tx.add([driver.frame(frame)]);
    driver.tx.notify();
    expect(sent).toEqual(out.map(hex));
    expect(driver.rx.usedIndex).toBe(0);
    const incoming = [pseudoRandom(42, 3), pseudoRandom(700, 4)];
    arriving.push(...incoming);
    expect(driver.device.poll()).toBe(true);
    expect(received(driver, buffers)).toEqual(incoming.map((frame) => noOffload(1) + hex(frame)));
    while (driver.device.poll());
    expect(driver.tx.takeAll()).toHaveLength(2);
  });

  it('a frame that arrives waits in the network until there is a buffer', () => {
    const { driver, arriving } = joined();
    arriving.push(pseudoRandom(60, 1), pseudoRandom(60, 2));
    expect(driver.device.poll()).toBe(false);
    expect(arriving).toHaveLength(2);
    driver.fill(1);
    while (driver.device.poll());
    expect(driver.rx.takeAll()).toHaveLength(1);
    expect(arriving).toHaveLength(1);
  });

  it('interrupts come for what arrives though the driver sends nothing', () => {
    const { driver, arriving } = joined();
    driver.fill(2);
    arriving.push(pseudoRandom(60));
    while (driver.device.poll());
    expect(driver.program.sink.level).toBe(true);
  });
});

describe('page faults', () => {
  it('R2.1: rings and buffers that are absent are asked for, page by page, and the frame arrives whole', () => {
    const driver = new NetDriver({ program: { faulting: true } }).start([Feature.INDIRECT_DESC]);
    const buffers = driver.fill(1);
    const data = pseudoRandom(1000, 9);
    driver.tx.add([driver.frame(data)], driver.pages(1));
    driver.tx.notify();
    expect(received(driver, buffers)).toEqual([noOffload(1) + hex(data)]);
    const { tx, rx } = driver;
    const rings = [tx.table, tx.driverArea, tx.deviceArea, rx.table, rx.driverArea, rx.deviceArea];
    const pages = rings.map((offset) => offset / PAGE_SIZE + IOVA_BASE_PAGE);
    expect(driver.program.faults).toEqual(expect.arrayContaining(pages));
    // And the receive buffer, the indirect table and the frame.
    expect(driver.program.faults).toHaveLength(pages.length + 3);
    expect(new Set(driver.program.faults).size).toBe(pages.length + 3);
  });

  it('R3.1: pages that are taken away between two batches are asked for again', () => {
    const driver = new NetDriver({ program: { faulting: true } }).start();
    for (let round = 0; round < 5; round++) {
      const buffers = driver.fill(3);
      const frames = [1, 2, 3].map((seed) => pseudoRandom(200, seed + round));
      for (const frame of frames) driver.tx.add([driver.frame(frame)]);
      for (let frame = 0; frame < 40; frame++) driver.program.unmapFrame(frame);
      driver.tx.notify();
      expect(received(driver, buffers)).toEqual(frames.map((frame) => noOffload(1) + hex(frame)));
    }
    expect(driver.status & NEEDS_RESET).toBe(0);
  });

  it('a fault that is refused ends in NEEDS_RESET, not in a frame', () => {
    const driver = new NetDriver({ program: { faulting: true } }).start();
    const [offset] = driver.fill(1).values();
    driver.program.refusedFrames.add(offset! / PAGE_SIZE);
    driver.send(pseudoRandom(60));
    expect(driver.rx.usedIndex).toBe(0);
    expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
  });
});
