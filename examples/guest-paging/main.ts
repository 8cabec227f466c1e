/**
 * A guest that pages: an edu device reads pages of the guest's all over its address space, for
 * which there are 8 frames. The program owns the device's first stage; each page that the device
 * misses is a page request, for which it takes the oldest frame.
 *
 * The calls for that are ours (docs/iopf-abi.md), so it runs under `iopf exec` only. Usage: node
 * main.js [BDF]
 */
import { VfioExtension } from '../../src/abi/vfio.js';
import { allocateNative } from '../../src/mm/process/libc.js';
import { EduDriver } from '../dma-copy/edu.js';
import { VfioClient } from '../dma-copy/vfio.js';
import { GuestTable } from './table.js';

const PAGE = 4096;
const FRAMES = 8;
const PAGES = 511;
const READS = 200;
/** Pages between two reads: prime to their number, so that they lie scattered. */
const STRIDE = 211;
/**
 * The container's addresses: the table, and the frames, the last of which takes what the device has
 * read.
 */
const TABLE = 0x10000;
const DATA = 0x20000;
/**
 * The guest's addresses, within the device's 28 bits; the last page leads to the last frame for
 * ever.
 */
const GUEST = 0x4000000;
const RESULT = GUEST + PAGES * PAGE;
const SUCCESS = 0;

const vfio = new VfioClient(
  process.argv[2] ?? '0000:00:04.0',
  VfioExtension.VFIO_TYPE1_NESTING_IOMMU,
);
const edu = new EduDriver(vfio);
const memory = allocateNative((FRAMES + 1) * PAGE);
vfio.map(memory.address, DATA, memory.bytes.length);
const table = new GuestTable(vfio, TABLE, GUEST);
table.set(RESULT, DATA + FRAMES * PAGE);
table.attach();

const frame = (index: number): Uint8Array =>
  memory.bytes.subarray(index * PAGE, (index + 1) * PAGE);
const byteOf = (address: number, at: number): number => (at * 7 + (address / PAGE) * 13) & 0xff;
/** The guest's address in each frame, -1: none; and the frame that is next. */
const held = new Array<number>(FRAMES).fill(-1);
let hand = 0;
let [requests, takenAway, wrong] = [0, 0, 0];

/**
 * Brings a page into the oldest frame. The device must not find the frame under its old address:
 * that goes first.
 */
function bring(address: number): void {
  const old = held[hand]!;
  if (old >= 0) {
    table.set(old, null);
    table.invalidate(old, 1);
    takenAway++;
  }
  const bytes = frame(hand);
  for (let at = 0; at < PAGE; at++) bytes[at] = byteOf(address, at);
  table.set(address, DATA + hand * PAGE);
  held[hand] = address;
  hand = (hand + 1) % FRAMES;
}

/** Answers page requests until the device has done what it was asked for. */
function serve(): void {
  while (edu.busy) {
    if (!table.readable(1)) continue;
    for (const { address, cookie } of table.read()) {
      requests++;
      bring(address);
      table.answer(cookie, SUCCESS);
    }
  }
}

for (let read = 0; read < READS; read++) {
  const address = GUEST + ((read * STRIDE) % PAGES) * PAGE;
  edu.beginLoad(address, PAGE);
  serve();
  edu.store(RESULT, PAGE);
  if (frame(FRAMES).some((byte, at) => byte !== byteOf(address, at))) wrong++;
}
table.detach();
table.close();
vfio.close();

console.log(
  `${READS} pages read by the device through ${FRAMES} frames, ${wrong} wrong; ` +
    `${requests} page requests, ${takenAway} pages taken away`,
);
process.exitCode = wrong === 0 ? 0 : 1;
