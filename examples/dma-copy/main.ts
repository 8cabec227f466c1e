/**
 * A VFIO program that maps far more memory than it touches: it lets an edu device copy between
 * scattered pages.
 *
 * It makes plain system calls and would drive a real edu device too (`qemu-system-x86_64 -device
 * edu`, bound to vfio-pci). Usage: node main.js [BDF]
 */
import { allocateNative } from '../../src/mm/process/libc.js';
import { EduDriver } from './edu.js';
import { VfioClient } from './vfio.js';

const PAGE = 4096;
const MAPPED = 192 * 2 ** 20;
/** Within the device's 28 address bits. */
const IOVA = 0x1000000;
const COPIES = 100;
/** Pages between two pages that a copy touches: a prime, so that they lie scattered. */
const STRIDE = 211;

const vfio = new VfioClient(process.argv[2] ?? '0000:00:04.0');
const edu = new EduDriver(vfio);
const memory = allocateNative(MAPPED);
vfio.map(memory.address, IOVA, MAPPED);

const pageOf = (index: number): number => (index * STRIDE) % (MAPPED / PAGE);
const page = (index: number): Uint8Array =>
  memory.bytes.subarray(pageOf(index) * PAGE, (pageOf(index) + 1) * PAGE);

let wrong = 0;
for (let copy = 0; copy < COPIES; copy++) {
  const source = page(2 * copy);
  for (let at = 0; at < PAGE; at++) source[at] = (at * 7 + copy * 13) & 0xff;
  edu.copy(IOVA + pageOf(2 * copy) * PAGE, IOVA + pageOf(2 * copy + 1) * PAGE, PAGE);
  if (Buffer.compare(page(2 * copy + 1), source) !== 0) wrong++;
}
vfio.unmap(IOVA, MAPPED);
vfio.close();

console.log(`${COPIES} pages copied by the device, ${wrong} wrong; ${MAPPED / 2 ** 20} MiB mapped`);
process.exitCode = wrong === 0 ? 0 : 1;
