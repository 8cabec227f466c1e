import { describe, expect, it } from 'vitest';
import { PciCommand, PciInterruptIndex } from '../../src/abi/pci.js';
import { OptionError } from '../../src/device/options.js';
import {
  CapabilityType,
  CommonRegister,
  DeviceStatus,
  Feature,
  IsrStatus,
  VIRTIO_BAR,
  VirtioBar,
} from '../../src/device/virtio/registers.js';
import { virtioNet } from '../../src/device/virtio-net/kind.js';
import { PAIRS } from '../../src/device/virtio-net/limits.js';
import { NetFeature } from '../../src/device/virtio-net/network-card.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import { pseudoRandom } from './nvme-driver.js';
import { command, hex, Program, read } from './program.js';
import { DriverQueue, NetDriver, VirtioDriver } from './virtio-driver.js';

const { NEEDS_RESET, FEATURES_OK, DRIVER_OK } = DeviceStatus;
const { MSIX } = PciInterruptIndex;

describe('the function', () => {
  it('is modern virtio: ids, revision, and a capability for each structure, inside its BAR and apart', () => {
    const driver = new VirtioDriver();
    const config = read(driver.device, 7, 0, 48);
    expect(hex(config.subarray(0, 4))).toBe('f41a4110');
    expect(hex(config.subarray(8, 12))).toBe('01000002');
    // The MSI-X table may be mapped.
    expect(driver.device.regions[1]).toMatchObject({ size: PAGE_SIZE, mappable: true });
    // Interrupt line and pin.
    expect(hex(read(driver.device, 7, 0x3c, 2))).toBe('0b01');
    const places = [...driver.structures].filter(([type]) => type !== CapabilityType.PCI_CONFIG);
    expect(places.map(([type]) => type).sort()).toEqual([1, 2, 3, 4]);
    const ends = places.map(([, { bar, offset, length }]) => {
      expect(bar).toBe(VIRTIO_BAR);
      expect(offset + length).toBeLessThanOrEqual(driver.device.regions[bar]!.size);
      return [offset, offset + length] as const;
    });
    // Each in a page of its own; the capability of notifications and the window are longer.
    expect(ends.map(([start]) => start % PAGE_SIZE)).toEqual([0, 0, 0, 0]);
    expect([...driver.structures.values()].map(({ at }) => at % 4)).toEqual([0, 0, 0, 0, 0]);
    const lengths = [...driver.structures.values()].map(
      ({ at }) => read(driver.device, 7, at + 2, 1)[0],
    );
    expect(lengths).toEqual([16, 16, 16, 20, 20]);
    // MSI-X: three vectors, table and pending bits in BAR 1.
    expect(hex(read(driver.device, 7, 0x42, 10))).toBe('02000100000001080000');
    ends.sort(([a], [b]) => a - b);
    for (let i = 1; i < ends.length; i++)
      expect(ends[i]![0]).toBeGreaterThanOrEqual(ends[i - 1]![1]);
  });

  it('has registers that trap, and notifications that are plain memory', () => {
    const driver = new VirtioDriver();
    const notify = driver.structure(CapabilityType.NOTIFY);
    const region = driver.device.regions[VIRTIO_BAR]!;
    expect(region).toMatchObject({ mappable: true, trapped: [{ offset: 0, size: notify.offset }] });
    expect(region.sparse).toBeUndefined();
    expect(hex(read(driver.device, VIRTIO_BAR, 0x1004, 4))).toBe('00000000');
    expect(notify.offset + PAGE_SIZE).toBe(region.size);
  });

  it('mmap=sparse lets a program map the notifications, and nothing else of that BAR', () => {
    const driver = new VirtioDriver({ device: { mmap: 'sparse' } });
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
    // Up to the last register of the BAR, where nothing is.
    driver.device.writeRegion(7, at + 16, long(0x12345678));
    window(VirtioBar.SIZE - 4, 4);
    expect(hex(read(driver.device, 7, at + 16, 4))).toBe('00000000');
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
    [{ size: '1M' }, /no option 'size'; it takes mac, tap, link, loss, delay, rate, seed, queues/],
  ])('refuses the options %o', (options, message) => {
    const make = () =>
      virtioNet.create(options as Record<string, string>, new Program().surroundings);
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
    expect(driver.common(CommonRegister.DRIVER_FEATURE, 4)).toBe(0);
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
      [1, 1],
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

  it('a batch goes on at the beginning of the used ring behind its end', () => {
    const driver = new NetDriver().start([], 4);
    for (const heads of [
      [0, 1, 2],
      [3, 0, 1],
    ]) {
      driver.fill(3);
      send(driver, 3);
      const [rx, tx] = [driver.rx.takeAll(), driver.tx.takeAll()];
      expect(tx.map(({ head }) => head)).toEqual(heads);
      expect(rx.map(({ head, length }) => [head, length])).toEqual(heads.map((head) => [head, 72]));
    }
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
      // Between our look and our avail_event: the driver adds one, and sees that we did not ask to
      // be told.
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

  it('of one queue does nothing where RING_RESET was not negotiated', () => {
    const driver = new NetDriver().start();
    driver.fill(2);
    driver.setCommon(CommonRegister.QUEUE_SELECT, 2, 1);
    driver.setCommon(CommonRegister.QUEUE_RESET, 2, 1);
    expect(driver.common(CommonRegister.QUEUE_ENABLE, 2)).toBe(1);
    driver.send(pseudoRandom(60, 2));
    expect(driver.rx.usedIndex).toBe(1);
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
    // What is in it before is found without a notification.
    const frame = driver.frame(pseudoRandom(60, 3));
    const base = driver.pages(0);
    const [area, end] = [base + 2 * PAGE_SIZE, base + 4 * PAGE_SIZE];
    new DriverQueue(driver, 1, 16, base, area, end).add([frame]);
    driver.tx = driver.createQueue(1, 16);
    expect(driver.rx.usedIndex).toBe(2);
  });
});
