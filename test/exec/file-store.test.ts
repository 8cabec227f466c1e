/**
 * A file as a disk: what is shared, what is refused, and what happens when somebody cuts the file
 * off.
 */
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openBlockFile } from '../../src/exec/machine/file-store.js';
import { allocateNative } from '../../src/mm/process/libc.js';

const MIB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'test-file-store-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const scratch = allocateNative(8192);

let files = 0;
function file(bytes: number, byte = 0x42): string {
  const path = join(folder, `disk-${files++}`);
  writeFileSync(path, Buffer.alloc(bytes, byte));
  return path;
}
const writable = { bytes: null, readOnly: false };
const readable = { bytes: null, readOnly: true };

describe('a file as a disk', () => {
  test('is made, and grown, to the size that is asked for, and keeps a larger one', () => {
    const path = join(folder, 'new');
    expect(openBlockFile(path, { bytes: MIB, readOnly: false }).bytes).toBe(MIB);
    expect(statSync(path).size).toBe(MIB);
    const small = file(4096);
    expect(openBlockFile(small, { bytes: 8192, readOnly: false }).bytes).toBe(8192);
    expect(openBlockFile(file(8192), { bytes: 4096, readOnly: false }).bytes).toBe(8192);
  });

  test('what is written through its chunk is in the file, also by plain reads, and a flush succeeds', () => {
    const path = file(8192);
    const store = openBlockFile(path, writable);
    store.chunk(0).bytes.fill(0x43, 512, 1024);
    expect(store.flush()).toBe(true);
    expect(store.read(0, 1024, scratch)).toBe(true);
    expect([scratch.bytes[511], scratch.bytes[512], scratch.bytes[1023]]).toEqual([
      0x42, 0x43, 0x43,
    ]);
  });

  test('bytes are written from memory, and read to a place in it', () => {
    const store = openBlockFile(file(8192), writable);
    scratch.bytes.fill(0x44, 0, 1024);
    expect(store.write(4000, 1024, scratch)).toBe(true);
    scratch.bytes.fill(0);
    expect(store.read(3999, 1026, scratch, 100)).toBe(true);
    expect([99, 100, 101, 1124, 1125, 1126].map((at) => scratch.bytes[at])).toEqual([
      0, 0x42, 0x44, 0x44, 0x42, 0,
    ]);
    expect(openBlockFile(file(8192), readable).write(0, 512, scratch)).toBe(false);
  });

  test('zeroed pages give their place back, and the bytes around them stay', () => {
    const path = file(MIB);
    const before = statSync(path).blocks;
    const store = openBlockFile(path, writable);
    expect(store.zero(512, MIB - 1024)).toBe(true);
    store.flush();
    const { bytes } = store.chunk(0);
    expect([bytes[511], bytes[512], bytes[MIB - 513], bytes[MIB - 512]]).toEqual([
      0x42, 0, 0, 0x42,
    ]);
    expect(statSync(path).blocks).toBeLessThan(before / 4);
    expect(statSync(path).size).toBe(MIB);
  });

  test('that somebody cuts off cannot be read there, and nobody dies of it', () => {
    const path = file(8192);
    const store = openBlockFile(path, writable);
    truncateSync(path, 4096);
    expect(store.read(0, 4096, scratch)).toBe(true);
    expect(store.read(4096, 512, scratch)).toBe(false);
    expect(store.read(3584, 1024, scratch)).toBe(false);
  });
});

test('memory of a disk without a file is zeroed by giving pages back', () => {
  const memory = allocateNative(65536);
  memory.bytes.fill(7);
  memory.discard!(4096, 8192);
  expect([4095, 4096, 12287, 12288].map((at) => memory.bytes[at])).toEqual([7, 0, 0, 7]);
});

describe('who may have the file', () => {
  test('one who writes it has it alone; any number may read it together', () => {
    const written = file(4096);
    openBlockFile(written, writable);
    for (const options of [writable, readable])
      expect(() => openBlockFile(written, options)).toThrow(
        `${written} is the disk of another run`,
      );
    const read = file(4096);
    openBlockFile(read, readable);
    expect(openBlockFile(read, readable).readOnly).toBe(true);
    expect(() => openBlockFile(read, writable)).toThrow('is the disk of another run');
  });

  test('read-only needs no permission to write, and neither makes nor grows the file', () => {
    const path = file(4096);
    chmodSync(path, 0o444);
    const store = openBlockFile(path, readable);
    expect([store.bytes, store.readOnly]).toEqual([4096, true]);
    expect(store.read(0, 512, scratch)).toBe(true);
    expect(() => openBlockFile(file(4096), { bytes: 8192, readOnly: true })).toThrow(
      /has 4096 bytes, and with readonly=on cannot grow to 8192/,
    );
    expect(() => openBlockFile(join(folder, 'none'), { bytes: 8192, readOnly: true })).toThrow(
      /ENOENT$/,
    );
  });

  test('a file that cannot be a disk is told why, and its lock is free again', () => {
    expect(() => openBlockFile(join(folder, 'none'), writable)).toThrow(/ENOENT; size=… makes it$/);
    expect(() => openBlockFile(folder, readable)).toThrow(/is not a regular file/);
    const odd = file(1000);
    expect(() => openBlockFile(odd, writable)).toThrow(
      /has 1000 bytes; a disk needs a multiple of 512/,
    );
    const fd = openSync(odd, 'a');
    writeSync(fd, Buffer.alloc(24));
    closeSync(fd);
    expect(openBlockFile(odd, writable).bytes).toBe(1024);
  });
});
