import { expect, test } from 'vitest';
import { ArgumentBuffer } from '../../src/abi/argument-buffer.js';
import { Bug } from '../../src/abi/bug.js';
import { getLong, putLong, setLong } from '../../src/abi/long.js';

/** 64 bits as they lie in memory. */
const bytesOf = (value: bigint) => [
  ...new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, value)).buffer),
];

const wholes = [0, 1, 0x1234, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 5, 0x1f_2345_6789_abcd, 2 ** 53 - 1];

test('fields of an argument are little endian, at any place', () => {
  const buffer = new ArgumentBuffer(16);
  buffer.bytes.set([0, 0xcd, 0xab, 0x34, 0x92, 0xff, 0xee, 0xdd, 0xcc]);
  expect([buffer.u16(1), buffer.u32(1), buffer.s32(1)]).toEqual([
    ...[0xabcd, 0x9234_abcd, 0x9234_abcd - 2 ** 32],
  ]);
  expect(buffer.big(1)).toBe(0xccdd_eeff_9234_abcdn);
  buffer.setU32(3, 0x8000_0001);
  expect([...buffer.bytes.subarray(2, 8)]).toEqual([0xab, 1, 0, 0, 0x80, 0xdd]);
  buffer.setBig(8, 0x0102_0304_0506_0708n);
  expect([...buffer.bytes.subarray(8)]).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
});

test('whole numbers below 2^53 are stored and read exactly', () => {
  const buffer = new ArgumentBuffer(10);
  const words = new Uint32Array(3);
  const view = new DataView(new ArrayBuffer(10));
  for (const value of wholes) {
    buffer.setU64(2, value);
    expect([...buffer.bytes.subarray(2)]).toEqual(bytesOf(BigInt(value)));
    expect([buffer.u64(2), buffer.inPage(2)]).toEqual([value, value % 4096]);
    setLong(words, 1, value);
    expect([getLong(words, 1), words[1]]).toEqual([value, value % 2 ** 32]);
    for (const signed of [value, -value]) {
      putLong(view, 2, signed);
      expect([...new Uint8Array(view.buffer, 2)]).toEqual(bytesOf(BigInt(signed)));
    }
  }
});

test('addresses are pages and what lies below one, exact in all 64 bits; 2^52 pages wrap', () => {
  const buffer = new ArgumentBuffer(8);
  for (const pages of [0, 1, 2 ** 20 - 1, 2 ** 20, 0x7_1234_5678, 2 ** 52 - 1, 2 ** 52]) {
    buffer.setPages(0, pages);
    expect([...buffer.bytes]).toEqual(bytesOf(BigInt(pages) * 4096n));
    buffer.bytes[1]! |= 0xf;
    buffer.bytes[0] = 0xee;
    expect([buffer.pages(0), buffer.inPage(0)]).toEqual([pages % 2 ** 52, 0xfee]);
  }
});

test('the first bytes of an argument are one object for each length', () => {
  const buffer = new ArgumentBuffer(8);
  expect(buffer.prefix(8)).toBe(buffer.bytes);
  const prefix = buffer.prefix(4);
  expect([prefix.length, buffer.prefix(4) === prefix, buffer.prefix(5).length]).toEqual([
    ...[4, true, 5],
  ]);
  prefix[3] = 7;
  expect(buffer.bytes[3]).toBe(7);
});

test('a broken invariant says what shows it, 64-bit numbers too', () => {
  const bug = new Bug('no room', { pages: 4, iova: 2n ** 63n });
  expect(bug.message).toBe('no room {"pages":4,"iova":"9223372036854775808"}');
  expect([bug.name, bug.state['pages']]).toEqual(['Bug', 4]);
});
