import { describe, expect, it } from 'vitest';
import { PciCommand, PciInterruptIndex } from '../../src/abi/pci.js';
import type { NetworkPort } from '../../src/device/device-host.js';
import { CapabilityType, DeviceStatus, Feature } from '../../src/device/virtio/registers.js';
import { FRAME_MOST } from '../../src/device/virtio-net/limits.js';
import { NetFeature } from '../../src/device/virtio-net/network-card.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { pseudoRandom } from './nvme-driver.js';
import { command, hex, IOVA_BASE_PAGE } from './program.js';
import { HEADER_BYTES, headerOf, NetDriver, received } from './virtio-driver.js';

const { NEEDS_RESET } = DeviceStatus;
const { MSIX } = PciInterruptIndex;

describe('looped back', () => {
  it('every frame comes back byte by byte behind a header that says nothing but one buffer', () => {
    const driver = new NetDriver().start();
    const buffers = driver.fill(8);
    const frames = [14, 60, 64, 1500, 1514].map((length) => pseudoRandom(length, length));
    for (const frame of frames) driver.tx.add([driver.frame(frame)]);
    driver.tx.notify();
    expect(received(driver, buffers)).toEqual(frames.map((frame) => headerOf(1) + hex(frame)));
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

  it('rings of all entries are used to their ends', () => {
    const driver = new NetDriver().start([], 256);
    const buffers = driver.fill(256);
    const frames = [...Array(256).keys()].map((seed) => pseudoRandom(60, seed));
    for (const data of frames) driver.send(data);
    const got = driver.rx.takeAll();
    expect(got.map(({ head, length }) => [head, length])).toEqual(
      [...buffers.keys()].map((head) => [head, HEADER_BYTES + 60]),
    );
    expect(driver.tx.takeAll().map(({ head }) => head)).toEqual([...Array(256).keys()]);
  });

  it('rings, tables and buffers may lie above 4 GiB', () => {
    const FAR = 2 ** 33 / PAGE_SIZE;
    const driver = new NetDriver();
    const { domain, memory } = driver.program;
    domain.unmap(IOVA_BASE_PAGE, memory.pages);
    domain.map(FAR, 0, memory.pages, READ | WRITE);
    driver.program.iova = (offset) => offset + FAR * PAGE_SIZE;
    driver.start([Feature.INDIRECT_DESC]);
    const table = driver.pages(1);
    const buffers = driver.fill(1);
    const data = pseudoRandom(60);
    driver.tx.add([driver.frame(data)], table);
    driver.tx.notify();
    expect(received(driver, buffers)).toEqual([headerOf(1) + hex(data)]);
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
    expect(parts.join('')).toBe(headerOf(5) + hex(data));
  });

  it('the largest frame goes through; runts and giants are dropped and their buffers given back', () => {
    const driver = new NetDriver().start([NetFeature.MRG_RXBUF]);
    const buffers = driver.fill(3, 33_000);
    const largest = pseudoRandom(FRAME_MOST, 5);
    for (const length of [0, 13, FRAME_MOST + 1])
      driver.tx.add([driver.frame(pseudoRandom(length))]);
    driver.tx.add([driver.frame(largest)]);
    driver.tx.notify();
    expect(received(driver, buffers).join('')).toBe(headerOf(2) + hex(largest));
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
    expect(received(driver, buffers)).toEqual([headerOf(1) + hex(small)]);
  });

  it('of 65,553 bytes are the largest: an MTU of 65,535 behind a header with a tag', () => {
    const driver = new NetDriver().start([NetFeature.MRG_RXBUF]);
    const buffers = driver.fill(2, 66_000);
    const largest = pseudoRandom(65_553);
    for (const frame of [pseudoRandom(65_554), largest]) driver.tx.add([driver.frame(frame)]);
    driver.tx.notify();
    expect(received(driver, buffers)).toEqual([headerOf(1) + hex(largest)]);
  });

  it('many of the largest frames in one batch come back whole', () => {
    const driver = new NetDriver({ program: { pages: 8192 } }).start([NetFeature.MRG_RXBUF]);
    const buffers = driver.fill(20, 65_600);
    const frames = [...Array(20).keys()].map((seed) => pseudoRandom(FRAME_MOST, seed));
    for (const frame of frames) driver.tx.add([driver.frame(frame)]);
    driver.tx.notify();
    while (driver.device.poll());
    const got = received(driver, buffers);
    expect(got.map((each) => each.length / 2)).toEqual(frames.map(() => HEADER_BYTES + FRAME_MOST));
    expect(got.every((each, at) => each === headerOf(1) + hex(frames[at]!))).toBe(true);
  });

  it('the first buffer of a merged frame may hold its header alone', () => {
    const driver = new NetDriver().start([NetFeature.MRG_RXBUF]);
    const [header, rest] = [driver.pages(1), driver.pages(1)];
    driver.rx.add([{ offset: header, length: HEADER_BYTES, write: true }]);
    driver.rx.add([{ offset: rest, length: 2048, write: true }]);
    const data = pseudoRandom(60);
    driver.send(data);
    expect(driver.rx.takeAll().map(({ length }) => length)).toEqual([HEADER_BYTES, 60]);
    expect(hex(driver.bytes(rest, 60))).toBe(hex(data));
  });

  it('a poll says whether frames have moved', () => {
    const driver = new NetDriver().start();
    driver.fill(1);
    const notify = (): void => driver.notifications.setUint16(4, 1, true);
    notify();
    expect(driver.device.poll()).toBe(false);
    driver.tx.add([driver.frame(pseudoRandom(60))]);
    notify();
    expect(driver.device.poll()).toBe(true);
    expect(driver.device.poll()).toBe(false);
  });

  it('who was refused memory is named', () => {
    const driver = new NetDriver().start();
    const asked: (string | null)[] = [];
    driver.program.iommu.refused = (_iova, _access, _cause, asker) => void asked.push(asker());
    driver.program.unmapFrame(driver.tx.driverArea / PAGE_SIZE);
    driver.tx.notify();
    expect(asked).toEqual(['a ring or a buffer of queues 0 and 1']);
  });

  it('of a merged frame that does not fit, no buffer is lost or written', () => {
    const driver = new NetDriver().start([NetFeature.MRG_RXBUF]);
    const buffers = driver.fill(2, 512);
    driver.send(pseudoRandom(2000, 1));
    expect(driver.rx.takeAll()).toEqual([]);
    for (const offset of buffers.values())
      expect(driver.bytes(offset, 512).every((byte) => byte === 0)).toBe(true);
    const data = pseudoRandom(1000, 2);
    driver.send(data);
    expect(received(driver, buffers).join('')).toBe(headerOf(2) + hex(data));
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

it('moves 64 frames in a batch, and the next in another', () => {
  const driver = new NetDriver().start([], 128);
  driver.fill(65);
  for (let index = 0; index < 65; index++) driver.tx.add([driver.frame(pseudoRandom(60))]);
  driver.device.interruptsEnabled(MSIX, 1);
  const { memory } = driver.program;
  memory.calls = 0;
  driver.tx.notify();
  expect([driver.rx.usedIndex, memory.calls]).toEqual([65, 6]);
});

describe('several pairs', () => {
  const { CTRL_VQ, MQ } = NetFeature;
  const PAIRS_SET = [4, 0];
  function setPairs(
    driver: NetDriver,
    queue: ReturnType<NetDriver['createQueue']>,
    bytes: number[],
  ): number {
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

  it('a command is told of by the queue’s vector, and nothing is read twice', () => {
    const driver = new NetDriver({ device: { queues: '2' } });
    driver.device.interruptsEnabled(MSIX, 5);
    driver.negotiate([CTRL_VQ, MQ, Feature.INDIRECT_DESC]);
    const control = driver.createQueue(4, 16, 3);
    driver.ready();
    let pieces = 0;
    driver.program.memory.beforeCopy = (list, write) => {
      if (!write) pieces += list.count;
    };
    const [command, ack, table] = [driver.pages(1), driver.pages(1), driver.pages(1)];
    driver.bytes(command, 4).set([...PAIRS_SET, 1, 0]);
    for (let round = 0; round < 3; round++) {
      driver.bytes(ack, 1)[0] = 0xff;
      pieces = 0;
      control.add(
        [
          { offset: command, length: 4 },
          { offset: ack, length: 1, write: true },
        ],
        table,
      );
      control.notify();
      expect(driver.bytes(ack, 1)[0]).toBe(0); // one pair is a number, too
      while (driver.device.poll());
      expect(driver.program.sink.take()).toEqual(['msix 3']);
      // Two looks at index, ring and table, the indirect table, the command.
      expect(pieces).toBe(2 * 3 + 1 + 1);
      expect(driver.device.poll()).toBe(false);
    }
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
      send: (buffer, offset, length) =>
        void sent.push(hex(buffer.bytes.subarray(offset, offset + length))),
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
    expect(received(driver, buffers)).toEqual(incoming.map((frame) => headerOf(1) + hex(frame)));
    while (driver.device.poll());
    expect(driver.tx.takeAll()).toHaveLength(2);
  });

  it('a driver that has told of frames once is not looked at again and again', () => {
    const { driver, sent } = joined();
    driver.tx.add([driver.frame(pseudoRandom(60))]);
    driver.tx.notify();
    while (driver.device.poll());
    driver.notifications.setUint16(4, 1, true);
    expect([sent.length, driver.device.poll()]).toEqual([1, false]);
    const { calls } = driver.program.memory;
    expect(driver.device.poll()).toBe(false);
    expect(driver.program.memory.calls - calls).toBeLessThanOrEqual(1); // at what arrives
  });

  it('a rule that is broken in what is sent is told at once', () => {
    const { driver } = joined();
    driver.tx.add([{ offset: driver.pages(1), length: 3 }]);
    driver.notifications.setUint16(4, 1, true);
    expect(driver.device.poll()).toBe(true);
    expect(driver.status & NEEDS_RESET).toBe(NEEDS_RESET);
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
    expect(received(driver, buffers)).toEqual([headerOf(1) + hex(data)]);
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
      expect(received(driver, buffers)).toEqual(frames.map((frame) => headerOf(1) + hex(frame)));
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
