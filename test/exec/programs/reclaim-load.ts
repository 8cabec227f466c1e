/**
 * Has the device copy pages of a large area at random, while the host takes the area's pages away.
 *
 * Usage: reclaim-load KIND MEBIBYTES SECONDS FILE [WHERE]; KIND is anon, memfd or file; or locked,
 * and then it only waits. With WHERE the program writes its pid and its area's address and size to
 * that file, for somebody who takes the area away, and keeps its pages clean. Prints JSON: the
 * copies made, the pages that had wrong bytes after one or at the end, and the memory that the
 * program had (VmRSS, median over the second half).
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { EduDriver } from '../../../examples/dma-copy/edu.js';
import { VfioClient } from '../../../examples/dma-copy/vfio.js';
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  O_CREAT,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from '../../../src/abi/linux.js';
import {
  bytesAt,
  ftruncate,
  memfdCreate,
  mlock,
  mmap,
  msync,
  must,
  open,
} from '../../../src/mm/process/libc.js';

const PAGE = 4096;
const WORDS = PAGE / 4;
const IOVA = 0x100000;
const SAMPLE_COPIES = 64;

const MS_SYNC = 4;

const [kind = '', mebibytes = '', seconds = '', path = '', where] = process.argv.slice(2);
const bytes = Number(mebibytes) * 2 ** 20;
const pages = bytes / PAGE;

function memory(): number {
  const protection = PROT_READ | PROT_WRITE;
  if (kind === 'anon' || kind === 'locked')
    return mmap(0, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const fd =
    kind === 'memfd' ? memfdCreate('load', 0) : must('open', open(path, O_RDWR | O_CREAT, 0o600));
  must('ftruncate', ftruncate(fd, bytes));
  return mmap(0, bytes, protection, MAP_SHARED, fd, 0);
}

const address = must('mmap', memory());
const words = new Uint32Array(bytesAt(address, bytes).buffer, 0, bytes / 4);
/** What each page holds: every word of it is this number, times its place. */
const seeds = Uint32Array.from({ length: pages }, (_, page) => page + 1);
const fill = (page: number): void => {
  for (let word = 0; word < WORDS; word++)
    words[page * WORDS + word] = Math.imul(seeds[page]!, 2 * word + 1);
};
const isRight = (page: number): boolean => {
  for (let word = 0; word < WORDS; word++)
    if (words[page * WORDS + word] !== Math.imul(seeds[page]!, 2 * word + 1) >>> 0) return false;
  return true;
};
const residentBytes = (): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]) * 1024;

for (let page = 0; page < pages; page++) fill(page);
const vfio = new VfioClient('0000:00:04.0');
const edu = new EduDriver(vfio);
vfio.map(address, IOVA, bytes);

if (where !== undefined) writeFileSync(where, `${process.pid} ${address} ${bytes}`);

if (kind === 'locked') {
  must('mlock', mlock(address, bytes));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(seconds) * 1000);
}

let state = 1;
const random = (): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * pages);
};
const samples: number[] = [];
let [copies, wrong] = [0, 0];
const end = performance.now() + Number(seconds) * 1000;
while (kind !== 'locked' && performance.now() < end) {
  const [from, to] = [random(), random()];
  edu.load(IOVA + from * PAGE, PAGE);
  edu.store(IOVA + to * PAGE, PAGE);
  seeds[to] = seeds[from]!;
  if (!isRight(to)) wrong++;
  // The program writes, too.
  const own = random();
  seeds[own] = state;
  fill(own);
  if (++copies % SAMPLE_COPIES !== 0) continue;
  samples.push(residentBytes());
  if (where !== undefined) must('msync', msync(address, bytes, MS_SYNC));
}
for (let page = 0; page < pages; page++) if (!isRight(page)) wrong++;
const settled = samples.slice(samples.length >> 1).sort((a, b) => a - b);
console.log(
  JSON.stringify({ copies, wrong, residentBytes: settled[settled.length >> 1] ?? residentBytes() }),
);
