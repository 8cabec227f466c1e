/** The legacy interface of a virtio card (4.1.4.8): an I/O BAR, as drivers of before 1.0 use it. */
import { describe, expect, it, test } from 'vitest';
import { PciCommand, PciInterruptIndex } from '../../src/abi/pci.js';
import {
  CommonRegister,
  DeviceStatus,
  Feature,
  IsrStatus,
  LEGACY_BAR,
  LegacyRegister,
} from '../../src/device/virtio/registers.js';
import { virtioNet } from '../../src/device/virtio-net/kind.js';
import { LEGACY_HEADER_BYTES } from '../../src/device/virtio-net/limits.js';
import { NetFeature } from '../../src/device/virtio-net/network-card.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import { pseudoRandom } from './nvme-driver.js';
import { command, hex, Program, read } from './program.js';
import { DriverQueue, VirtioDriver } from './virtio-driver.js';

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, NEEDS_RESET } = DeviceStatus;
const { QUEUE_SELECT, QUEUE_ADDRESS, QUEUE_NOTIFY, QUEUE_VECTOR, CONFIG_VECTOR } = LegacyRegister;

/** A driver that knows the legacy interface alone. */
class LegacyDriver extends VirtioDriver {
  constructor() {
    super({ device: { legacy: 'on', mac: '02:11:22:33:44:55' } });
    command(this.device, PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER);
  }

  at(offset: number, size: number): number {
    const bytes = read(this.device, LEGACY_BAR, offset, size);
    return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
  }

  put(offset: number, size: number, value: number): void {
    const bytes = Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) & 0xff);
    this.device.writeRegion(LEGACY_BAR, offset, bytes);
  }

  get state(): number {
    return this.at(LegacyRegister.DEVICE_STATUS, 1);
  }

  set state(value: number) {
    this.put(LegacyRegister.DEVICE_STATUS, 1, value);
  }

  /** A queue of 256 entries, each of its parts in a page. */
  legacyQueue(index: number): DriverQueue {
    const table = this.pages(3);
    this.put(QUEUE_SELECT, 2, index);
    this.put(QUEUE_ADDRESS, 4, this.program.iova(table) / PAGE_SIZE);
    return new DriverQueue(this, index, 256, table, table + PAGE_SIZE, table + 2 * PAGE_SIZE);
  }

  /** Reset, features, queues, DRIVER_OK. */
  begin(features = 0, last: number = DRIVER_OK): { rx: DriverQueue; tx: DriverQueue } {
    this.state = 0;
    this.state = ACKNOWLEDGE | DRIVER;
    this.put(LegacyRegister.DRIVER_FEATURES, 4, features);
    const queues = { rx: this.legacyQueue(0), tx: this.legacyQueue(1) };
    this.state = ACKNOWLEDGE | DRIVER | last;
    return queues;
  }

  /** Sends a frame with a header of so many bytes; what has come back, in hexadecimal. */
  loop({ rx, tx }: { rx: DriverQueue; tx: DriverQueue }, header: number): string | null {
    const [offset, target] = [this.pages(1), this.pages(1)];
    const frame = pseudoRandom(60);
    this.bytes(offset + header, 60).set(frame);
    rx.add([{ offset: target, length: 2048, write: true }]);
    tx.add([{ offset, length: header + 60 }]);
    this.put(QUEUE_NOTIFY, 2, 1);
    const got = rx.take();
    return got === null ? null : hex(this.bytes(target, got.length));
  }
}

test.each([
  ['off', 'f41a4110', '01', [1, 4], 5],
  ['on', 'f41a0010', '00', [0, 1, 4], 5],
  ['only', 'f41a0010', '00', [0, 1], 0],
])('legacy=%s: ids, revision, BARs and structures', (legacy, ids, revision, bars, structures) => {
  const program = new Program();
  const device = virtioNet.create({ legacy }, program.surroundings);
  device.open(program.sink);
  const config = read(device, 7, 0, 256);
  expect([hex(config.subarray(0, 4)), hex(config.subarray(8, 9))]).toEqual([ids, revision]);
  expect([0, 1, 2, 3, 4, 5].filter((bar) => (device.regions[bar]?.size ?? 0) > 0)).toEqual(bars);
  // I/O or memory.
  expect(config[0x10]! & 1).toBe(legacy === 'off' ? 0 : 1);
  let vendors = 0;
  for (let at = config[0x34]!; at !== 0; at = config[at + 1]!) if (config[at] === 9) vendors++;
  expect(vendors).toBe(structures);
  // A transitional device has the number of its kind as subsystem.
  expect(hex(config.subarray(0x2e, 0x30))).toBe(legacy === 'off' ? '0011' : '0100');
});

describe('registers', () => {
  it('lie in an I/O BAR of 64 bytes', () => {
    expect(new LegacyDriver().device.regions[0]).toMatchObject({ size: 64, mappable: false });
  });

  it('are read as a whole: a read of another shape finds 0', () => {
    const driver = new LegacyDriver();
    driver.state = ACKNOWLEDGE;
    driver.put(LegacyRegister.DRIVER_FEATURES, 4, 1 << NetFeature.MAC);
    const { rx } = driver.begin(1 << NetFeature.MAC, 0);
    driver.put(QUEUE_SELECT, 2, 0);
    const features = [NetFeature.MAC, NetFeature.MRG_RXBUF, NetFeature.STATUS];
    const transport = [Feature.ANY_LAYOUT, Feature.INDIRECT_DESC, Feature.EVENT_IDX];
    const offered = [...features, ...transport].reduce((sum, bit) => sum + 2 ** bit, 0);
    const fields = [
      [LegacyRegister.DEVICE_FEATURES, 4, offered],
      [LegacyRegister.DRIVER_FEATURES, 4, 1 << NetFeature.MAC],
      [QUEUE_ADDRESS, 4, driver.program.iova(rx.table) / PAGE_SIZE],
      [LegacyRegister.QUEUE_SIZE, 2, 256],
      [LegacyRegister.DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER],
    ] as const;
    for (const [offset, size, value] of fields) {
      expect(driver.at(offset, size)).toBe(value);
      for (const other of [1, 2, 4].filter((each) => each !== size && offset % each === 0))
        expect(driver.at(offset, other), `${offset}, ${other} bytes`).toBe(0);
    }
    // Nothing begins there.
    expect([2, 6, 10].map((offset) => driver.at(offset, 2))).toEqual([0, 0, 0]);
    expect([13, 15, 17].map((offset) => driver.at(offset, 1))).toEqual([0, 0, 0]);
  });

  it('are written as a whole: a write of another shape is lost', () => {
    const driver = new LegacyDriver();
    driver.put(QUEUE_SELECT, 1, 1);
    driver.put(LegacyRegister.DRIVER_FEATURES, 2, 0xffff);
    driver.put(LegacyRegister.DEVICE_STATUS, 2, 3);
    expect(driver.at(QUEUE_SELECT, 2)).toBe(0);
    expect(driver.at(LegacyRegister.DRIVER_FEATURES, 4)).toBe(0);
    expect(driver.state).toBe(0);
  });

  it('a queue that is not there has no size, no address, no vector', () => {
    const driver = new LegacyDriver();
    driver.device.interruptsEnabled(PciInterruptIndex.MSIX, 3);
    driver.put(QUEUE_SELECT, 2, 2);
    driver.put(QUEUE_ADDRESS, 4, 0x100);
    driver.put(QUEUE_VECTOR, 2, 1);
    expect(driver.at(QUEUE_SELECT, 2)).toBe(2);
    expect(driver.at(LegacyRegister.QUEUE_SIZE, 2)).toBe(0);
    expect(driver.at(QUEUE_ADDRESS, 4)).toBe(0);
    expect(driver.at(QUEUE_VECTOR, 2)).toBe(0xffff);
    driver.state = 0;
    expect(driver.at(QUEUE_SELECT, 2)).toBe(0);
  });

  it('the configuration lies behind them, and with MSI-X behind the vectors', () => {
    const driver = new LegacyDriver();
    const config = '021122334455' + '0100' + '0100' + '0000' + '00';
    expect(hex(read(driver.device, LEGACY_BAR, 20, 13))).toBe(config);
    driver.device.interruptsEnabled(PciInterruptIndex.MSIX, 3);
    expect(hex(read(driver.device, LEGACY_BAR, 24, 13))).toBe(config);
    expect([driver.at(CONFIG_VECTOR, 2), driver.at(QUEUE_VECTOR, 2)]).toEqual([0xffff, 0xffff]);
    for (const [written, then] of [
      [2, 2],
      [3, 0xffff],
    ] as const) {
      driver.put(CONFIG_VECTOR, 2, written);
      driver.put(QUEUE_VECTOR, 2, written);
      expect([driver.at(CONFIG_VECTOR, 2), driver.at(QUEUE_VECTOR, 2)]).toEqual([then, then]);
    }
  });

  it('a queue is taken away with address 0, and keeps its vector', () => {
    const driver = new LegacyDriver();
    driver.device.interruptsEnabled(PciInterruptIndex.MSIX, 3);
    const queues = driver.begin();
    driver.put(QUEUE_SELECT, 2, 1);
    driver.put(QUEUE_VECTOR, 2, 2);
    driver.put(QUEUE_ADDRESS, 4, 0);
    expect([driver.at(QUEUE_ADDRESS, 4), driver.at(QUEUE_VECTOR, 2)]).toEqual([0, 2]);
    expect(driver.loop(queues, LEGACY_HEADER_BYTES)).toBeNull();
    const tx = driver.legacyQueue(1);
    expect(driver.at(QUEUE_VECTOR, 2)).toBe(2);
    expect(driver.loop({ ...queues, tx }, LEGACY_HEADER_BYTES)).not.toBeNull();
    expect(driver.program.sink.take()).toEqual(['msix 2']);
  });

  it('a queue may lie above 4 GiB', () => {
    const driver = new LegacyDriver();
    driver.put(QUEUE_ADDRESS, 4, 0xfedc_ba98);
    expect(driver.at(QUEUE_ADDRESS, 4)).toBe(0xfedc_ba98);
    driver.setCommon(CommonRegister.QUEUE_SELECT, 2, 0);
    const addresses = [0, 1, 2].map((area) =>
      [0, 4].map((half) => driver.common(CommonRegister.QUEUE_DESC + 8 * area + half, 4)),
    );
    expect(addresses).toEqual([
      [0xcba9_8000, 0xfed],
      [0xcba9_9000, 0xfed],
      [0xcba9_a000, 0xfed],
    ]);
  });
});

describe('a driver', () => {
  it.each([
    ['the short header', 0, LEGACY_HEADER_BYTES],
    ['merged buffers', 2 ** NetFeature.MRG_RXBUF, 12],
  ])('moves frames, with %s', (_, features, header) => {
    const driver = new LegacyDriver();
    const queues = driver.begin(features);
    const merged = header === 12 ? '0100' : '';
    const expected = `${'00'.repeat(10)}${merged}${hex(pseudoRandom(60))}`;
    expect(driver.loop(queues, header)).toBe(expected);
    expect(queues.tx.take()).toEqual({ head: 0, length: 0 });
    expect(driver.program.sink.level).toBe(true);
    expect(driver.at(LegacyRegister.ISR, 1)).toBe(IsrStatus.QUEUE);
    expect(driver.program.sink.level).toBe(false);
  });

  it('that is not ready yet moves none, and finds its buffers moved when it is', () => {
    const driver = new LegacyDriver();
    const queues = driver.begin(0, 0);
    expect(driver.loop(queues, LEGACY_HEADER_BYTES)).toBeNull();
    driver.state = ACKNOWLEDGE | DRIVER | DRIVER_OK;
    driver.device.poll();
    expect(queues.rx.take()).not.toBeNull();
  });

  it('may take features back with its status, but not NEEDS_RESET', () => {
    const driver = new LegacyDriver();
    driver.begin(1); // A feature that is not offered.
    expect(driver.state & NEEDS_RESET).toBe(NEEDS_RESET);
    driver.state = ACKNOWLEDGE;
    expect(driver.state).toBe(ACKNOWLEDGE | NEEDS_RESET);
    driver.state = 0;
    expect(driver.state).toBe(0);
    expect(driver.loop(driver.begin(), LEGACY_HEADER_BYTES)).not.toBeNull();
  });

  it('may use indirect tables where it has said so', () => {
    const driver = new LegacyDriver();
    const send = (features: number): number => {
      const { rx, tx } = driver.begin(features);
      rx.add([{ offset: driver.pages(1), length: 2048, write: true }]);
      tx.add([{ offset: driver.pages(1), length: 70 }], driver.pages(1));
      driver.put(QUEUE_NOTIFY, 2, 1);
      return tx.usedIndex;
    };
    expect([send(0), send(2 ** Feature.INDIRECT_DESC)]).toEqual([0, 1]);
  });

  it('that notifies of a queue that is not there is not heard', () => {
    const driver = new LegacyDriver();
    driver.begin();
    driver.put(QUEUE_NOTIFY, 2, 2);
    expect(driver.state & NEEDS_RESET).toBe(0);
  });
});
