/**
 * Maps on demand: a device (ats, edu or nvme) copies pages of this program, which has mapped none
 * of them, nor its queues. Each page that the device misses comes to a fault queue; the program
 * maps it and answers. With the word `iopf` all is mapped beforehand, and pages are brought in
 * without the program.
 *
 * The first way is Linux's own (7.2 here, on a device with page requests); the second needs IOPF.
 * Usage: node main.js [BDF] [iopf] [json]
 */
import { allocateNative } from '../../src/mm/process/libc.js';
import { IommufdClient } from './client.js';
import { moverOf } from './movers.js';

const PAGE = 4096;
const PAGES = 256;
const COPIES = 500;
/** Prime to the number of pages, so that copies lie scattered. */
const STRIDE = 67;
const IOVA = 0x100000;

const words = process.argv.slice(2);
const address = words.find((word) => word.includes(':')) ?? '0000:00:04.0';
const client = new IommufdClient(address, !words.includes('iopf'));
const memory = allocateNative(PAGES * PAGE);
const page = (index: number): Uint8Array => memory.bytes.subarray(index * PAGE, (index + 1) * PAGE);
for (let index = 0; index < PAGES; index++) page(index).fill(index);
const mover = moverOf(client);
client.map(memory.address, IOVA, memory.bytes.length);
const before = client.answered;
let wrong = 0;
/** Microseconds. */
let spent = 0;

for (let copy = 0; copy < COPIES; copy++) {
  const from = (copy * STRIDE) % PAGES;
  const to = (from + PAGES / 2) % PAGES;
  const value = page(from)[0]!;
  const began = performance.now();
  mover.beginLoad(IOVA + from * PAGE);
  while (mover.busy) client.serve();
  mover.beginStore(IOVA + to * PAGE);
  while (mover.busy) client.serve();
  spent += (performance.now() - began) * 1000;
  if (page(to).some((byte) => byte !== value)) wrong++;
}
client.close();

const requests = client.answered - before;
if (words.includes('json'))
  console.log(JSON.stringify({ copies: COPIES, wrong, requests, microseconds: spent }));
else
  console.log(
    `${COPIES} pages copied by the device, ${wrong} wrong; ${requests} page requests here`,
  );
process.exitCode = wrong === 0 ? 0 : 1;
