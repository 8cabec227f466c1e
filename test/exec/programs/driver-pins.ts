/**
 * Lets an edu device copy between a page that it can wait for and one that its driver must pin
 * (`faultable=0x100000-0x101000`). Prints JSON: what arrived, and the locked memory in KiB while
 * the page is pinned and after it is unmapped.
 */
import { readFileSync } from 'node:fs';
import { EduDriver } from '../../../examples/dma-copy/edu.js';
import { VfioClient } from '../../../examples/dma-copy/vfio.js';
import { allocateNative } from '../../../src/mm/process/libc.js';

const PAGE = 4096;
const IOVA = 0x100000;
const FILL = 0x5a;

const vfio = new VfioClient('0000:00:04.0');
const edu = new EduDriver(vfio);
const memory = allocateNative(16 * PAGE);
memory.bytes.fill(FILL, 0, PAGE);
vfio.map(memory.address, IOVA, 16 * PAGE);

const locked = (): number =>
  Number(/^VmLck:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]);

const before = locked();
edu.copy(IOVA, IOVA + 8 * PAGE, PAGE);
edu.copy(IOVA, IOVA + 8 * PAGE, PAGE);
const pinned = locked() - before;
const arrived = memory.bytes.subarray(8 * PAGE, 9 * PAGE).every((byte) => byte === FILL);
vfio.unmap(IOVA, 16 * PAGE);
const after = locked() - before;
// Pinned again, and left for the device's close.
vfio.map(memory.address, IOVA, 16 * PAGE);
edu.copy(IOVA, IOVA + 9 * PAGE, PAGE);
console.log(JSON.stringify({ arrived, pinned, after }));
