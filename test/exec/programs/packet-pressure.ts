/**
 * Sends packets to a virtio network card that loops them back, and gives all its buffers' memory
 * back to the system between two bursts.
 *
 * Usage: packet-pressure ROUNDS. Prints JSON: packets that came back right, and that did not.
 */
import { VfioClient } from '../../../examples/dma-copy/vfio.js';
import { allocate, HEADER, VirtioCard } from '../../../examples/packet-loop/virtio.js';
import { madvise, must } from '../../../src/mm/process/libc.js';

const IOVA = 0x2000000;
const RINGS = 6 * 4096;
const PAGE = 4096;
const SIZE = 32;
const LENGTH = 1500;
const MADV_DONTNEED = 4;

const rounds = Number(process.argv[2]);
const vfio = new VfioClient('0000:03:00.0');
const memory = allocate(RINGS + 2 * SIZE * PAGE);
vfio.map(memory.address, IOVA, memory.bytes.length);
const card = new VirtioCard(vfio, SIZE, memory.bytes.subarray(0, RINGS), IOVA, true);
const { rx, tx } = card;
/** Where a buffer begins: each has a page. */
const at = (index: number): number => RINGS + index * PAGE;
for (let index = 0; index < SIZE; index++) {
  rx.describe(index, IOVA + at(index), PAGE, true);
  tx.describe(index, IOVA + at(SIZE + index), HEADER + LENGTH, false);
  rx.add(index);
}
rx.publish();
card.start();

const byteOf = (round: number, index: number, offset: number): number =>
  (round * 7 + index * 31 + offset) & 0xff;
let right = 0;
let wrong = 0;
for (let round = 0; round < rounds; round++) {
  for (let index = 0; index < SIZE; index++) {
    const first = at(SIZE + index) + HEADER;
    for (let offset = 0; offset < LENGTH; offset++)
      memory.bytes[first + offset] = byteOf(round, index, offset);
    tx.add(index);
  }
  tx.publish();
  tx.notify();
  for (let index = 0; index < SIZE; index++) {
    while (rx.ready === 0);
    const first = at(rx.take()) + HEADER;
    let same = true;
    for (let offset = 0; offset < LENGTH; offset++)
      if (memory.bytes[first + offset] !== byteOf(round, index, offset)) same = false;
    if (same) right++;
    else wrong++;
  }
  for (let index = 0; index < SIZE; index++) {
    while (tx.ready === 0);
    tx.take();
    rx.add(index);
  }
  must('madvise', madvise(memory.address + RINGS, 2 * SIZE * PAGE, MADV_DONTNEED));
  rx.publish();
}
console.log(JSON.stringify({ right, wrong }));
