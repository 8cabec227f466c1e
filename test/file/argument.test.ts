import { beforeEach, describe, expect, test } from 'vitest';
import { ArgumentBuffer } from '../../src/abi/argument-buffer.js';
import { Errno } from '../../src/abi/errno.js';
import { EventFile, OpenFile, Process } from '../../src/conformance/process.js';
import { ProcessMemory } from '../../src/conformance/process-memory.js';
import { copyIn, copyOut, copyStruct, takeEventfd } from '../../src/file/argument.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { SimulatedMemory } from '../../src/mm/simulated-memory.js';
import { errnoOf } from '../errno-of.js';

const AREA = 0x10_0000;
const PAGES = 4;
const END = AREA + PAGES * PAGE_SIZE;

let caller: Process;
let buffer: ArgumentBuffer;
beforeEach(() => {
  const memory = { zeroPageUnshared: true, lockLimitPages: 16, ipcLock: true };
  caller = new Process(ProcessMemory.create(new SimulatedMemory(), memory));
  caller.mm.space.mmap(AREA / PAGE_SIZE, PAGES, { kind: 'anon', protection: READ | WRITE });
  buffer = new ArgumentBuffer(16);
});

/** Puts 32-bit words at an address of the program. */
function put(address: number, ...words: number[]): void {
  const bytes = new Uint8Array(4 * words.length);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of words.entries()) view.setUint32(4 * index, word, true);
  caller.mm.copyTo(address, bytes);
}

describe('a struct that begins with its size', () => {
  test('is copied in where the size is large enough and the bytes are there', () => {
    put(AREA, 12, 7, 9);
    copyIn(caller, AREA, buffer, 12);
    expect([buffer.u32(4), buffer.u32(8)]).toEqual([7, 9]);
    expect(errnoOf(() => copyIn(caller, AREA, buffer, 16))).toBe(Errno.EINVAL);
    expect(errnoOf(() => copyIn(caller, END - 8, buffer, 12))).toBe(Errno.EFAULT);
  });

  test('may be shorter than ours: the rest is 0', () => {
    put(AREA, 8, 7, 9, 11);
    buffer.bytes.fill(0xee);
    expect(copyStruct(caller, AREA, buffer, 8)).toBe(8);
    expect([4, 8, 12].map((at) => buffer.u32(at))).toEqual([7, 0, 0]);
    expect(errnoOf(() => copyStruct(caller, AREA, buffer, 12))).toBe(Errno.EINVAL);
    expect(errnoOf(() => copyStruct(caller, END, new ArgumentBuffer(16), 4))).toBe(Errno.EFAULT);
  });

  test('may be longer: E2BIG where a byte behind ours is not 0, EFAULT where it is not there', () => {
    const size = 2 * PAGE_SIZE + 100;
    put(AREA + 20, size, 7, 9, 11);
    expect(copyStruct(caller, AREA + 20, buffer, 8)).toBe(size);
    expect([4, 8, 12].map((at) => buffer.u32(at))).toEqual([7, 9, 11]);
    for (const last of [16, PAGE_SIZE, size - 4]) {
      put(AREA + 20 + last, 0x0100_0000);
      expect(errnoOf(() => copyStruct(caller, AREA + 20, buffer, 8))).toBe(Errno.E2BIG);
      put(AREA + 20 + last, 0);
    }
    put(AREA + 20 + size, 1);
    expect(copyStruct(caller, AREA + 20, buffer, 8)).toBe(size);
    put(AREA, PAGES * PAGE_SIZE);
    put(AREA + 20 + size, 0);
    expect(errnoOf(() => copyStruct(caller, AREA, buffer, 8))).toBe(Errno.E2BIG);
    put(AREA + 20, 0, 0, 0, 0);
    expect(copyStruct(caller, AREA, buffer, 8)).toBe(PAGES * PAGE_SIZE);
    put(AREA, PAGES * PAGE_SIZE + 1);
    expect(errnoOf(() => copyStruct(caller, AREA, buffer, 8))).toBe(Errno.EFAULT);
    // What is not 0 comes before what is not there.
    put(END - 4, 1);
    expect(errnoOf(() => copyStruct(caller, AREA, buffer, 8))).toBe(Errno.E2BIG);
    put(END - 8, 12, 0);
    expect(errnoOf(() => copyStruct(caller, END - 8, buffer, 8))).toBe(Errno.EFAULT);
  });

  test('is copied out as far as is asked', () => {
    put(AREA, 0, 0, 1);
    buffer.bytes.fill(5);
    copyOut(caller, AREA, buffer, 8);
    copyIn(caller, AREA, buffer, 12);
    expect([buffer.u32(4), buffer.u32(8)]).toEqual([0x0505_0505, 1]);
    expect(errnoOf(() => copyOut(caller, END - 4, buffer, 8))).toBe(Errno.EFAULT);
  });
});

test('a number that an eventfd is wanted by is EBADF where it is closed, EINVAL where it is none', () => {
  const event = new EventFile();
  const fd = caller.add(new OpenFile(event));
  expect(errnoOf(() => takeEventfd(caller, fd + 1))).toBe(Errno.EBADF);
  takeEventfd(caller, fd).signal();
  expect(event.count).toBe(1);
  const vfio = caller.install({ kind: 'container', ioctl: () => 0 } as never);
  expect(errnoOf(() => takeEventfd(caller, vfio))).toBe(Errno.EINVAL);
});
