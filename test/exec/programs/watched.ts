/**
 * Does what a live view can be asked about: maps two buffers, lets the device read page 1 of the
 * first and write pages 0 and 3 of the second, then waits for a line on stdin; `take` takes page 3
 * of the second away and waits for another. Exits with code 7.
 *
 * Prints JSON: where the buffers are, and the descriptors that lead to sockets.
 */
import { readdirSync, readlinkSync, readSync } from 'node:fs';
import { EduDriver } from '../../../examples/dma-copy/edu.js';
import { READ_WRITE, VfioClient } from '../../../examples/dma-copy/vfio.js';
import { DmaMapFlag } from '../../../src/abi/vfio.js';
import { allocateNative, madvise, must } from '../../../src/mm/process/libc.js';

const PAGE = 4096;
const FIRST = 0x100000;
const SECOND = 0x8000000;
const MADV_DONTNEED = 4;

const sockets = readdirSync('/proc/self/fd').filter((fd) => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
  } catch {
    return false;
  }
});
const vfio = new VfioClient('0000:00:04.0');
const edu = new EduDriver(vfio);
const first = allocateNative(2 * PAGE);
const second = allocateNative(4 * PAGE);
first.bytes.fill(0x11);
second.bytes.fill(0x22);
vfio.map(first.address, FIRST, 2 * PAGE, DmaMapFlag.VFIO_DMA_MAP_FLAG_READ);
vfio.map(second.address, SECOND, 4 * PAGE, READ_WRITE);
edu.load(FIRST + PAGE, PAGE);
edu.store(SECOND, PAGE);
edu.store(SECOND + 3 * PAGE, 64);
console.log(
  JSON.stringify({ pid: process.pid, first: first.address, second: second.address, sockets }),
);

const line = Buffer.alloc(64);
const wait = (): string => line.toString('latin1', 0, readSync(0, line)).trim();
if (wait() === 'take') {
  must('madvise', madvise(second.address + 3 * PAGE, PAGE, MADV_DONTNEED));
  console.log('taken');
  wait();
}
vfio.unmap(SECOND, 4 * PAGE);
process.exit(7);
