import { describe, expect, it } from 'vitest';
import { CHUNK_BYTES, memoryStore } from '../../src/device/block-store.js';
import { allocatePlain, type DmaBuffer } from '../../src/mm/frame-memory.js';

describe('a disk in memory', () => {
  it('larger than a chunk is cut at the chunk, and an untouched chunk reads as zeros', () => {
    const sizes: number[] = [];
    const store = memoryStore(CHUNK_BYTES + 4096, (bytes) => {
      sizes.push(bytes);
      return allocatePlain(bytes);
    });
    store.zero(0, CHUNK_BYTES + 4096);
    expect(sizes).toEqual([]);
    expect(store.chunk(1).bytes.length).toBe(4096);
    store.chunk(1).bytes.fill(3);
    store.zero(CHUNK_BYTES - 512, 1024);
    expect(sizes).toEqual([4096]);
    expect([store.chunk(1).bytes[511], store.chunk(1).bytes[512]]).toEqual([0, 3]);
  });

  it('reads across chunks', () => {
    const store = memoryStore(CHUNK_BYTES + 4096, allocatePlain);
    store.chunk(0).bytes.fill(1, CHUNK_BYTES - 512);
    store.chunk(1).bytes.fill(2);
    const into = allocatePlain(2048);
    expect(store.read(CHUNK_BYTES - 1024, 2048, into)).toBe(true);
    expect([0, 511, 512, 1023, 1024, 2047].map((at) => into.bytes[at])).toEqual([0, 0, 1, 1, 2, 2]);
  });

  it.each([
    [0, 65536, [[0, 65536]]],
    [512, 65024, [[4096, 61440]]],
    [512, 8192, [[4096, 4096]]],
    [4096, 512, []],
    [4095, 4098, [[4096, 4096]]],
    [512, 4096, []],
  ])(
    'zeroing [+%d, %d bytes) gives whole pages back and zeroes the rest',
    (offset, length, expected) => {
      const given: number[][] = [];
      const buffer: DmaBuffer = {
        ...allocatePlain(65536),
        discard(from, bytes) {
          given.push([from, bytes]);
          buffer.bytes.fill(0, from, from + bytes);
        },
      };
      const store = memoryStore(65536, () => buffer);
      store.chunk(0).bytes.fill(9);
      expect(store.zero(offset, length)).toBe(true);
      expect(given).toEqual(expected);
      const { bytes } = buffer;
      expect(bytes.subarray(offset, offset + length).every((byte) => byte === 0)).toBe(true);
      expect(bytes.subarray(0, offset).every((byte) => byte === 9)).toBe(true);
      expect(bytes.subarray(offset + length).every((byte) => byte === 9)).toBe(true);
    },
  );
});
