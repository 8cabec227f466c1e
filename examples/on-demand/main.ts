/**
 * Maps on demand: a device copies pages of this program, which has mapped none of them. Each page
 * that the device misses comes to a fault queue; the program maps it and answers. With `iopf` as
 * second argument all is mapped beforehand, and pages are brought in without the program.
 *
 * The first way is Linux's own (7.2 here, on a device with page requests); the second needs IOPF.
 * Usage: node main.js [BDF] [iopf]
 */
import { allocateNative } from '../../src/mm/process/libc.js';
import { EduDriver } from '../dma-copy/edu.js';
import { IommufdClient } from './client.js';

const PAGE = 4096;
const PAGES = 256;
const COPIES = 500;
/** Prime to the number of pages, so that copies lie scattered. */
const STRIDE = 67;
const IOVA = 0x100000;
const SUCCESS = 0;

const isIopf = process.argv[3] === 'iopf';
const client = new IommufdClient(process.argv[2] ?? '0000:00:04.0', !isIopf);
const edu = new EduDriver(client);
const memory = allocateNative(PAGES * PAGE);
const page = (index: number): Uint8Array => memory.bytes.subarray(index * PAGE, (index + 1) * PAGE);
for (let index = 0; index < PAGES; index++) page(index).fill(index);
if (isIopf) client.map(memory.address, IOVA, memory.bytes.length);
let [requests, wrong] = [0, 0];

/** Maps what the device misses, until it has done what it was asked for. */
function serve(): void {
  while (edu.busy) {
    if (isIopf) continue;
    for (const { address, cookie } of client.requests(1)) {
      requests++;
      client.map(memory.address + address - IOVA, address, PAGE);
      client.answer(cookie, SUCCESS);
    }
  }
}

for (let copy = 0; copy < COPIES; copy++) {
  const from = (copy * STRIDE) % PAGES;
  const to = (from + PAGES / 2) % PAGES;
  const value = page(from)[0]!;
  edu.beginLoad(IOVA + from * PAGE, PAGE);
  serve();
  edu.beginStore(IOVA + to * PAGE, PAGE);
  serve();
  if (page(to).some((byte) => byte !== value)) wrong++;
}
client.close();

console.log(`${COPIES} pages copied by the device, ${wrong} wrong; ${requests} page requests here`);
process.exitCode = wrong === 0 ? 0 : 1;
