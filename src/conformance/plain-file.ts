/** read(2), write(2) and lseek(2) of files that are not VFIO's: memory, eventfds, /dev/null. */
import { fail } from '../abi/errno.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import { SimulatedFile } from '../mm/simulated-file.js';
import { EventFile, type OpenFile } from './process.js';
import type { VectorStep } from './vectors.js';

const SEEK_SET = 0;
const SEEK_CUR = 1;
const SEEK_END = 2;
const COUNTER_BYTES = 8;

/** The bytes read; `offset` null: from the file's position on, which moves. */
export function readPlain(open: OpenFile, offset: number | null, size: number): Uint8Array {
  const { what } = open;
  if (what instanceof EventFile) return readCounter(what, offset, size);
  if (!(what instanceof SimulatedFile)) return new Uint8Array(0);
  const at = offset ?? open.position;
  const bytes = new Uint8Array(Math.max(0, Math.min(size, what.size * PAGE_SIZE - at)));
  forEachPage(what, at, bytes, (frame, start, part) => what.memory.readPage(frame, start, part));
  if (offset === null) open.position += bytes.length;
  return bytes;
}

/** How many bytes were written. As `readPlain`; a file grows with what is written behind it. */
export function writePlain(open: OpenFile, offset: number | null, bytes: Uint8Array): number {
  const { what } = open;
  if (what instanceof EventFile) return writeCounter(what, offset, bytes);
  if (!(what instanceof SimulatedFile)) return bytes.length;
  const at = offset ?? open.position;
  const pages = Math.ceil((at + bytes.length) / PAGE_SIZE);
  if (pages > what.size) what.truncate(pages);
  forEachPage(what, at, bytes, (frame, start, part) => what.memory.writePage(frame, start, part));
  if (offset === null) open.position += bytes.length;
  return bytes.length;
}

/** The new position. ESPIPE: VFIO's files have none that could be set. */
export function seek(open: OpenFile, { offset, whence = SEEK_SET }: VectorStep): number {
  const { what } = open;
  if (what instanceof EventFile || what === 'other') return 0;
  if (!(what instanceof SimulatedFile)) return fail('ESPIPE');
  const bases: Readonly<Record<number, number>> = {
    [SEEK_SET]: 0,
    [SEEK_CUR]: open.position,
    [SEEK_END]: what.size * PAGE_SIZE,
  };
  const to = (bases[whence] ?? fail('EINVAL')) + Number(offset);
  if (to < 0) fail('EINVAL');
  open.position = to;
  return to;
}

function readCounter(event: EventFile, offset: number | null, size: number): Uint8Array {
  if (offset !== null) fail('ESPIPE');
  if (size < COUNTER_BYTES) fail('EINVAL');
  if (event.count === 0) fail('EAGAIN');
  const bytes = new Uint8Array(COUNTER_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(event.count), true);
  event.count = 0;
  return bytes;
}

function writeCounter(event: EventFile, offset: number | null, bytes: Uint8Array): number {
  if (offset !== null) fail('ESPIPE');
  if (bytes.length < COUNTER_BYTES) fail('EINVAL');
  const value = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (value === 2n ** 64n - 1n) fail('EINVAL');
  event.add(Number(value));
  return COUNTER_BYTES;
}

function forEachPage(
  file: SimulatedFile,
  at: number,
  bytes: Uint8Array,
  visit: (frame: number, start: number, part: Uint8Array) => void,
): void {
  for (let done = 0; done < bytes.length; ) {
    const start = (at + done) % PAGE_SIZE;
    const length = Math.min(PAGE_SIZE - start, bytes.length - done);
    const frame = file.frameFor(Math.floor((at + done) / PAGE_SIZE));
    visit(frame, start, bytes.subarray(done, done + length));
    done += length;
  }
}
