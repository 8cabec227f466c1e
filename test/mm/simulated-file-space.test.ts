import { expect, test } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { READ } from '../../src/mm/address-space.js';
import { SimulatedFile } from '../../src/mm/simulated-file.js';
import { SimulatedFileSpace } from '../../src/mm/simulated-file-space.js';
import { SimulatedMemory } from '../../src/mm/simulated-memory.js';

test('memory of a file has its bytes at their place, across pages, and nothing behind its end', () => {
  const memory = new SimulatedMemory();
  const file = new SimulatedFile(memory, 3);
  const space = new SimulatedFileSpace(file);
  const bytes = Uint8Array.from({ length: 4100 }, (_, i) => i % 251);
  expect(space.copyTo(4094, bytes)).toBe(true);
  const back = new Uint8Array(4104);
  expect(space.copyFrom(4092, back)).toBe(true);
  expect([...back]).toEqual([0, 0, ...bytes, 0, 0]);
  expect([space.copyFrom(3 * 4096 - 1, new Uint8Array(2)), file.frameFor(3)]).toEqual([false, -1]);
  expect(memory.used).toBe(3);
});

test('pages of a file are pinned up to its end; behind it is EINVAL', () => {
  const memory = new SimulatedMemory();
  const space = new SimulatedFileSpace(new SimulatedFile(memory, 3));
  const frames = new Float64Array(4);
  expect(space.pin(1, 4, READ, frames)).toBe(2);
  expect([memory.pinned, frames[0] === frames[1]]).toEqual([2, false]);
  expect(space.pin(3, 1, READ, frames.subarray(2))).toBe(-Errno.EINVAL);
  space.unpin(frames, 2);
  expect(memory.pinned).toBe(0);
});
