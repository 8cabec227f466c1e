/**
 * A VFIO program that drives a virtio network card by polling, as DPDK does: it sends packets to a
 * card that loops them back, and checks each.
 *
 * Usage: node main.js [BDF] [PACKETS] [BYTES] [call] With `call` the card is told of packets by a
 * system call, not through mapped memory.
 */
import { VfioClient } from '../dma-copy/vfio.js';
import { allocate, HEADER, VirtioCard } from './virtio.js';

const IOVA = 0x1000000;
const MAPPED = 64 * 2 ** 20;
const RINGS = 6 * 4096;
const SIZE = 256;
const BUFFER = 2048;
/** Packets under way: the card drops what it has no buffer for, so fewer than there are. */
const WINDOW = 128;
const BURST = 32;
const PATIENCE_MS = 20_000;

const [address = '0000:03:00.0', packets = '10000', bytes = '64', how = 'map'] =
  process.argv.slice(2);
const count = Number(packets);
const length = Number(bytes);
if (!(count > 0) || !(length >= 60 && length <= BUFFER - HEADER)) {
  console.error(`usage: node main.js [BDF] [PACKETS] [BYTES from 60 to ${BUFFER - HEADER}] [call]`);
  process.exit(2);
}

const vfio = new VfioClient(address);
const memory = allocate(MAPPED);
vfio.map(memory.address, IOVA, MAPPED);
const card = new VirtioCard(vfio, SIZE, memory.bytes.subarray(0, RINGS), IOVA, how !== 'call');
const { rx, tx } = card;

const receiveAt = RINGS;
const sendAt = RINGS + SIZE * BUFFER;
const words = new Uint32Array(memory.bytes.buffer, 0, (RINGS + 2 * SIZE * BUFFER) / 4);
const wordsOfPacket = length >>> 2;
for (let index = 0; index < SIZE; index++) {
  rx.describe(index, IOVA + receiveAt + index * BUFFER, BUFFER, true);
  tx.describe(index, IOVA + sendAt + index * BUFFER, HEADER + length, false);
  rx.add(index);
}
rx.publish();
card.start();

/** Word `at` of packet `number`: each packet is its own. */
const wordOf = (number: number, at: number): number => (Math.imul(number, 0x9e3779b1) + at) >>> 0;

let sent = 0;
let received = 0;
let wrong = 0;
const free = Array.from({ length: WINDOW }, (_, index) => index);
const began = performance.now();
let lastLook = began;
while (received < count) {
  let burst = 0;
  while (burst < BURST && sent < count && free.length > 0) {
    const index = free.pop()!;
    const first = (sendAt + index * BUFFER + HEADER) / 4;
    for (let at = 0; at < wordsOfPacket; at++) words[first + at] = wordOf(sent, at);
    tx.add(index);
    sent++;
    burst++;
  }
  if (burst > 0) {
    tx.publish();
    tx.notify();
  }
  const arrived = rx.ready;
  for (let taken = 0; taken < arrived; taken++) {
    const index = rx.take();
    const first = (receiveAt + index * BUFFER + HEADER) / 4;
    let same = true;
    for (let at = 0; at < wordsOfPacket; at++)
      if (words[first + at] !== wordOf(received, at)) same = false;
    if (!same) wrong++;
    received++;
    rx.add(index);
  }
  if (arrived > 0) {
    rx.publish();
    lastLook = performance.now();
  } else if (performance.now() - lastLook > PATIENCE_MS) break;
  for (let done = tx.ready; done > 0; done--) free.push(tx.take());
}
const seconds = (performance.now() - began) / 1000;

console.log(
  `${received} of ${count} packets of ${length} bytes came back, ${wrong} wrong; ` +
    `${Math.round(received / seconds)} packets/s; device status ${card.status}`,
);
vfio.unmap(IOVA, MAPPED);
vfio.close();
process.exitCode = received === count && wrong === 0 ? 0 : 1;
