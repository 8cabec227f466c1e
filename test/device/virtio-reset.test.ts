/** What a reset leaves of a virtio card: nothing. */
import { expect, it } from 'vitest';
import { PciInterruptIndex } from '../../src/abi/pci.js';
import {
  CapabilityType,
  CommonRegister,
  DeviceStatus,
  Feature,
} from '../../src/device/virtio/registers.js';
import { NetFeature } from '../../src/device/virtio-net/network-card.js';
import { pseudoRandom } from './nvme-driver.js';
import { type DriverQueue, NetDriver, type VirtioDriver } from './virtio-driver.js';

const { CTRL_VQ, MQ } = NetFeature;
const { QUEUE_SELECT, DRIVER_FEATURE_SELECT, DEVICE_FEATURE_SELECT } = CommonRegister;

/** What is of the device as a whole. */
function registers(driver: VirtioDriver): Record<string, number | number[]> {
  const selectors = [
    driver.common(DEVICE_FEATURE_SELECT, 4),
    driver.common(DRIVER_FEATURE_SELECT, 4),
    driver.common(QUEUE_SELECT, 2),
  ];
  const taken = [0, 1].map((word) => {
    driver.setCommon(DRIVER_FEATURE_SELECT, 4, word);
    return driver.common(CommonRegister.DRIVER_FEATURE, 4);
  });
  return {
    selectors,
    taken,
    vector: driver.common(CommonRegister.CONFIG_MSIX_VECTOR, 2),
    status: driver.status,
    pin: Number(driver.program.sink.level),
    isr: driver.get(CapabilityType.ISR, 0, 1),
    notified: [0, 1].map((queue) => driver.notifications.getUint32(4 * queue, true)),
  };
}

/** What is of one queue. */
function queueRegisters(driver: VirtioDriver, queue: number): number[] {
  driver.setCommon(QUEUE_SELECT, 2, queue);
  const { QUEUE_SIZE, QUEUE_MSIX_VECTOR, QUEUE_ENABLE, QUEUE_DESC } = CommonRegister;
  const halves = [QUEUE_SIZE, QUEUE_MSIX_VECTOR, QUEUE_ENABLE];
  const words = Array.from({ length: 6 }, (_, index) => QUEUE_DESC + 4 * index);
  return [
    ...halves.map((offset) => driver.common(offset, 2)),
    ...words.map((offset) => driver.common(offset, 4)),
  ];
}

const all = (driver: VirtioDriver) => [
  registers(driver),
  queueRegisters(driver, 0),
  queueRegisters(driver, 1),
];

/** A card that has moved a frame, with something in each register; `vectors`: it has MSI-X. */
function used(vectors: boolean, features: readonly number[] = []): NetDriver {
  const driver = new NetDriver();
  if (vectors) driver.device.interruptsEnabled(PciInterruptIndex.MSIX, 3);
  driver.start(features, 64, vectors ? [1, 2] : undefined);
  driver.setCommon(CommonRegister.CONFIG_MSIX_VECTOR, 2, vectors ? 0 : 0xffff);
  driver.fill(4);
  driver.send(pseudoRandom(60));
  while (driver.device.poll());
  driver.setCommon(DEVICE_FEATURE_SELECT, 4, 1);
  driver.setCommon(QUEUE_SELECT, 2, 1);
  driver.notifications.setUint16(4, 1, true);
  return driver;
}

it.each([true, false])('every register is as at first, with MSI-X: %s', (vectors) => {
  const driver = used(vectors);
  expect(driver.program.sink.level).toBe(!vectors);
  driver.status = 0;
  expect(registers(driver)).toEqual({
    selectors: [0, 0, 0],
    taken: [0, 0],
    vector: 0xffff,
    status: 0,
    pin: 0,
    isr: 0,
    notified: [0xffffffff, 0xffffffff],
  });
  driver.status = 0;
  expect(all(driver)).toEqual(all(new NetDriver()));
});

it('a feature that does not exist is forgotten with the others', () => {
  const driver = new NetDriver();
  driver.setCommon(DRIVER_FEATURE_SELECT, 4, 2);
  driver.setCommon(CommonRegister.DRIVER_FEATURE, 4, 1);
  driver.negotiate();
  expect(driver.status & DeviceStatus.FEATURES_OK).not.toBe(0);
});

it('a card that worked works on nothing before it is ready again', () => {
  const driver = used(false);
  driver.negotiate();
  driver.rx = driver.createQueue(0, 64);
  driver.tx = driver.createQueue(1, 64);
  driver.fill(1);
  driver.send(pseudoRandom(60));
  expect([driver.rx.usedIndex, driver.tx.usedIndex]).toEqual([0, 0]);
  driver.ready();
  driver.device.poll();
  expect([driver.rx.usedIndex, driver.tx.usedIndex]).toEqual([1, 1]);
});

it('one pair is in use, and the control queue is where features say, or nowhere', () => {
  const driver = new NetDriver({ device: { queues: '2' } });
  const queues = (features: readonly number[]): DriverQueue[] => {
    driver.negotiate(features);
    const made = [0, 1, 2, 3, 4].map((index) => driver.createQueue(index, 16));
    driver.ready();
    return made;
  };
  /** A command that sets two pairs, in a table of its own. */
  const command = (control: DriverQueue): number => {
    const table = driver.pages(1);
    const offset = driver.pages(1);
    driver.bytes(offset, 5).set([4, 0, 2, 0, 0xff]);
    const ack = { offset: offset + 4, length: 1, write: true };
    control.add([{ offset, length: 4 }, ack], table);
    control.notify();
    return driver.bytes(offset + 4, 1)[0]!;
  };
  const frameOnSecond = ([, , rx, tx]: DriverQueue[]): number => {
    rx!.add([{ offset: driver.pages(1), length: 2048, write: true }]);
    tx!.add([driver.frame(pseudoRandom(60))]);
    tx!.notify();
    return tx!.usedIndex;
  };
  const first = queues([CTRL_VQ, MQ, Feature.INDIRECT_DESC]);
  expect(command(first[4]!)).toBe(0);
  expect(frameOnSecond(first)).toBe(1);
  const second = queues([Feature.INDIRECT_DESC]);
  expect(frameOnSecond(second)).toBe(0);
  expect(command(second[4]!)).toBe(0xff);
  expect(second[4]!.usedIndex).toBe(0);
});

it('of one queue (RING_RESET): its registers are as at first, the others stay', () => {
  const driver = used(true, [Feature.RING_RESET]);
  const [of, before] = [registers(driver), queueRegisters(driver, 0)];
  driver.setCommon(QUEUE_SELECT, 2, 1);
  driver.setCommon(CommonRegister.QUEUE_RESET, 2, 1);
  expect(queueRegisters(driver, 1)).toEqual(queueRegisters(new NetDriver(), 1));
  expect(queueRegisters(driver, 0)).toEqual(before);
  expect({ ...registers(driver), selectors: of['selectors'] }).toEqual(of);
});

it.each([false, true])(
  'a receive buffer with a part to read is an error, in a table: %s',
  (indirect) => {
    const driver = new NetDriver().start([Feature.INDIRECT_DESC]);
    const offset = driver.pages(1);
    const parts = [
      { offset, length: 64 },
      { offset: offset + 64, length: 2048, write: true },
    ];
    driver.rx.add(parts, indirect ? driver.pages(1) : undefined);
    driver.send(pseudoRandom(60));
    expect(driver.status & DeviceStatus.NEEDS_RESET).not.toBe(0);
    expect(driver.rx.usedIndex).toBe(0);
  },
);
