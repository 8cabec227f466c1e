/** A program answers the page requests of a network card: batches begin once pages are there. */
import { describe, expect, it } from 'vitest';
import { DeviceStatus, Feature } from '../../src/device/virtio/registers.js';
import { NetFeature } from '../../src/device/virtio-net/network-card.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import { pseudoRandom } from './nvme-driver.js';
import { PageServer } from './page-server.js';
import { HEADER_BYTES, headerOf, NetDriver, received } from './virtio-driver.js';

/** Pages of the queues: two each for table, available ring and used ring, of rx, then tx. */
const RX = { table: 0, available: 2, used: 4 };
const TX = { table: 6, available: 8, used: 10 };
const FIRST_BUFFER = 12;

function started(features: readonly number[] = []) {
  const driver = new NetDriver().start(features);
  return { driver, server: new PageServer(driver.program, driver.device) };
}

describe('a virtio-net on a fault queue', () => {
  it('asks for rings, then for buffers, each page once, and then moves frames', () => {
    const { driver, server } = started();
    const buffers = driver.fill(2);
    const frame = pseudoRandom(100);
    driver.send(frame);
    expect([server.queue.unread, driver.tx.usedIndex]).toEqual([1, 0]);
    server.serve();
    // Sent: frame 14; received: 12 and 13, whether or not there is a frame for both.
    expect(server.taken()).toEqual([
      ...[TX.available, TX.table, TX.used],
      ...[RX.available, RX.table, RX.used],
      ...[FIRST_BUFFER + 2, FIRST_BUFFER, FIRST_BUFFER + 1],
    ]);
    expect(received(driver, buffers)).toEqual([headerOf(1) + Buffer.from(frame).toString('hex')]);
    expect(driver.tx.take()).toMatchObject({ length: 0 });
    driver.send(frame);
    server.serve();
    expect(server.taken()).toEqual([FIRST_BUFFER + 3]);
    expect(driver.rx.usedIndex).toBe(2);
  });

  it('asks for indirect tables before what they lead to, and for every page of a frame', () => {
    const { driver, server } = started([Feature.INDIRECT_DESC, NetFeature.MRG_RXBUF]);
    driver.fill(6);
    const frame = pseudoRandom(2 * PAGE_SIZE);
    const table = driver.pages(1);
    const part = driver.frame(frame);
    driver.tx.add([part], table);
    driver.tx.notify();
    server.serve();
    const asked = server.taken();
    const first = part.offset! / PAGE_SIZE;
    expect(asked.slice(6, 10)).toEqual([table / PAGE_SIZE, first, first + 1, first + 2]);
    const lengths = driver.rx.takeAll().map(({ length }) => length);
    expect(lengths).toEqual([2048, 2048, 2048, 2048, HEADER_BYTES]);
  });

  it('does nothing else while it waits, and forgets that with a reset', () => {
    const { driver, server } = started();
    driver.fill(1);
    driver.send(pseudoRandom(60));
    driver.send(pseudoRandom(60));
    expect([driver.device.poll(), driver.device.poll()]).toEqual([false, false]);
    expect(server.queue.unread).toBe(1);
    driver.status = 0;
    driver.start();
    driver.fill(1);
    driver.send(pseudoRandom(60));
    server.serve();
    expect([driver.tx.usedIndex, driver.rx.usedIndex]).toEqual([1, 1]);
  });

  it('is broken by a buffer that the program refuses, and works again after a reset', () => {
    const { driver, server } = started();
    driver.fill(1);
    driver.send(pseudoRandom(60));
    server.serve([FIRST_BUFFER]);
    expect(driver.status & DeviceStatus.NEEDS_RESET).not.toBe(0);
    expect(driver.rx.usedIndex).toBe(0);
    driver.start();
    driver.fill(1);
    driver.send(pseudoRandom(60));
    server.serve();
    expect(driver.rx.usedIndex).toBe(1);
  });

  it('asks for the control queue’s pages too', () => {
    const driver = new NetDriver({ device: { queues: '2' } });
    driver.negotiate([NetFeature.CTRL_VQ, NetFeature.MQ]);
    const control = driver.createQueue(4, 64);
    driver.ready();
    const server = new PageServer(driver.program, driver.device);
    const [command, answer] = [driver.pages(1), driver.pages(1)];
    driver.bytes(command, 4).set([4, 0, 2, 0]);
    driver.bytes(answer, 1)[0] = 9;
    control.add([
      { offset: command, length: 4 },
      { offset: answer, length: 1, write: true },
    ]);
    control.notify();
    server.serve();
    expect(server.taken()).toEqual([2, 0, 4, command / PAGE_SIZE, answer / PAGE_SIZE]);
    expect([driver.bytes(answer, 1)[0], control.take()]).toEqual([0, { head: 0, length: 1 }]);
  });
});
