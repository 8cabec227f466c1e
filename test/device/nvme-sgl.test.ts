/** Scatter gather lists: where they lead, and the status of each that cannot be. */
import { describe, expect, it } from 'vitest';
import {
  type CommandFields,
  NvmeDriver,
  pseudoRandom,
  type QueuePair,
  type SglDescriptor,
  SglKind,
  setDescriptor,
} from './nvme-driver.js';

const { DATA_BLOCK, BIT_BUCKET, SEGMENT, LAST_SEGMENT } = SglKind;
const [WRITE, READ, COMPARE, DATASET_MANAGEMENT, COPY] = [1, 2, 5, 9, 0x19];
const [TRANSFER_ERROR, INVALID_SEGMENT, INVALID_COUNT] = [0x04, 0x0d, 0x0e];
const [LENGTH_INVALID, TYPE_INVALID] = [0x0f, 0x11];

function started() {
  const driver = new NvmeDriver({ size: '1M' });
  driver.enable();
  return { driver, queue: driver.createQueue(1, 64) };
}

/** Writes a segment into memory; returns the descriptor that names it. */
function segment(
  driver: NvmeDriver,
  descriptors: readonly SglDescriptor[],
  kind: number = LAST_SEGMENT,
  at = driver.pages(Math.ceil((descriptors.length * 16) / 4096)),
): SglDescriptor {
  for (const [index, descriptor] of descriptors.entries())
    setDescriptor(driver.view, at + 16 * index, descriptor);
  return { kind, address: driver.iova(at), length: descriptors.length * 16 };
}

function block(driver: NvmeDriver, offset: number, length: number): SglDescriptor {
  return { kind: DATA_BLOCK, address: driver.iova(offset), length };
}

/** Puts `length` pseudo-random bytes on the disk, from block 0 on. */
function fill(driver: NvmeDriver, queue: QueuePair, length: number): Uint8Array {
  const data = pseudoRandom(length, 9);
  const source = driver.pages(Math.ceil(length / 4096));
  driver.bytes(source, length).set(data);
  const written = { opcode: WRITE, namespace: 1, ...driver.prp(source, length) };
  expect(queue.run({ ...written, dw12: length / 512 - 1 }).status).toBe(0);
  return data;
}

describe('an SGL', () => {
  it('is told of in Identify: any alignment, bit buckets, nothing longer than the data', () => {
    const { driver } = started();
    const page = driver.pages(1);
    driver.admin.run({ opcode: 6, prp1: driver.iova(page), dw10: 1 });
    expect(driver.view.getUint32(page + 536, true)).toBe(0x10001);
  });

  it('of one data block goes to any byte, over page ends', () => {
    const { driver, queue } = started();
    const data = fill(driver, queue, 8192);
    const target = driver.pages(4) + 4093;
    for (const flags of [0x40, 0x80]) {
      driver.bytes(target, 8192).fill(0);
      const read = { opcode: READ, namespace: 1, dw12: 15, flags };
      expect(queue.run({ ...read, sgl: block(driver, target, 8192) }).status).toBe(0);
      expect(Buffer.compare(driver.bytes(target, 8192), data)).toBe(0);
      expect([driver.bytes(target - 1, 1)[0], driver.bytes(target + 8192, 1)[0]]).toEqual([0, 0]);
    }
  });

  it('gathers what is written and scatters what is read, in order, through segments', () => {
    const { driver, queue } = started();
    const pieces = [1, 511, 4096, 3, 2045, 1536];
    const memory = driver.pages(8);
    const blocks = pieces.map((length, index) => block(driver, memory + 5000 * index + 77, length));
    const last = segment(driver, blocks.slice(4));
    const middle = segment(driver, [...blocks.slice(1, 4), last], SEGMENT);
    const first = segment(driver, [blocks[0]!, { kind: DATA_BLOCK, length: 0 }, middle], SEGMENT);
    const data = pseudoRandom(8192, 3);
    let done = 0;
    for (const [index, length] of pieces.entries()) {
      driver.bytes(memory + 5000 * index + 77, length).set(data.subarray(done, done + length));
      done += length;
    }
    const fields = { namespace: 1, dw12: 15, sgl: first };
    expect(queue.run({ opcode: WRITE, ...fields }).status).toBe(0);
    expect(queue.run({ opcode: COMPARE, ...fields }).status).toBe(0);
    driver.bytes(memory, 8 * 4096).fill(0);
    expect(queue.run({ opcode: COMPARE, ...fields }).status).toBe(0x285);
    expect(queue.run({ opcode: READ, ...fields }).status).toBe(0);
    done = 0;
    for (const [index, length] of pieces.entries()) {
      const got = driver.bytes(memory + 5000 * index + 77, length);
      expect(Buffer.compare(got, data.subarray(done, done + length))).toBe(0);
      done += length;
    }
  });

  it('of more descriptors than a page holds, in a segment that begins in the middle of one', () => {
    const { driver, queue } = started();
    const data = fill(driver, queue, 65536);
    const target = driver.pages(17);
    const descriptors = [...Array(1024).keys()].map((index) =>
      block(driver, target + 64 * (index ^ 1), 64),
    );
    const sgl = segment(driver, descriptors, LAST_SEGMENT, driver.pages(6) + 2056);
    expect(queue.run({ opcode: READ, namespace: 1, dw12: 127, sgl }).status).toBe(0);
    for (const index of [0, 1, 255, 256, 1023])
      expect(
        Buffer.compare(
          driver.bytes(target + 64 * (index ^ 1), 64),
          data.subarray(64 * index, 64 * index + 64),
        ),
      ).toBe(0);
  });

  it('bit buckets take what a read does not want, and count for nothing in a write', () => {
    const { driver, queue } = started();
    const data = fill(driver, queue, 4096);
    const target = driver.pages(1);
    const bucket = (length: number) => ({ kind: BIT_BUCKET, length });
    const read = (...descriptors: SglDescriptor[]) =>
      queue.run({ opcode: READ, namespace: 1, dw12: 7, sgl: segment(driver, descriptors) }).status;
    expect(read(bucket(1000), block(driver, target, 96), bucket(3000))).toBe(0);
    expect(Buffer.compare(driver.bytes(target, 96), data.subarray(1000, 1096))).toBe(0);
    expect(driver.bytes(target + 96, 4000).every((byte) => byte === 0)).toBe(true);
    const all = { opcode: READ, namespace: 1, dw12: 7, sgl: bucket(4096) };
    expect(queue.run(all).status).toBe(0);
    driver.bytes(target, 512).fill(0x33);
    const sgl = segment(driver, [bucket(9999), block(driver, target, 512), bucket(1)]);
    expect(queue.run({ opcode: WRITE, namespace: 1, sgl }).status).toBe(0);
    expect(queue.run({ opcode: COMPARE, namespace: 1, sgl }).status).toBe(0);
  });

  it('serves the lists of Dataset Management and Copy', () => {
    const { driver, queue } = started();
    const data = fill(driver, queue, 4096);
    const list = driver.pages(1);
    const halves = (length: number) =>
      segment(driver, [block(driver, list, length / 2), block(driver, list + 2048, length / 2)]);
    driver.view.setUint32(list + 8, 3, true);
    driver.view.setUint16(list + 2048, 1, true);
    const copy = { opcode: COPY, namespace: 1, dw10: 100, sgl: halves(32) };
    expect(queue.run(copy).status).toBe(0);
    const target = driver.pages(1);
    const read = { opcode: READ, namespace: 1, dw10: 100, dw12: 1, ...driver.prp(target, 1024) };
    queue.run(read);
    expect(Buffer.compare(driver.bytes(target, 1024), data.subarray(1536, 2560))).toBe(0);
    driver.bytes(list, 4096).fill(0);
    driver.view.setUint32(list + 4, 1, true);
    driver.view.setUint32(list + 2048, 100, true);
    const discard = { opcode: DATASET_MANAGEMENT, namespace: 1, dw11: 4, sgl: halves(16) };
    expect(queue.run(discard).status).toBe(0);
    queue.run(read);
    expect(driver.bytes(target, 512).every((byte) => byte === 0)).toBe(true);
    expect(Buffer.compare(driver.bytes(target + 512, 512), data.subarray(2048, 2560))).toBe(0);
  });
});

describe('an SGL that cannot be', () => {
  const { driver, queue } = started();
  const target = driver.pages(2);
  const data = block(driver, target, 512);
  const half = block(driver, target, 256);
  const nowhere = { kind: DATA_BLOCK, address: 0x10, length: 512 };
  const last = segment(driver, [data]);
  const tooMany = segment(
    driver,
    [...Array(1025)].map(() => ({ kind: DATA_BLOCK, length: 0 })),
  );
  const circle = driver.pages(1);
  setDescriptor(driver.view, circle, {
    kind: SEGMENT,
    address: driver.iova(circle),
    length: 16,
  });
  const cases: [string, SglDescriptor, number][] = [
    ['a data block too short', half, LENGTH_INVALID],
    ['a data block too long', block(driver, target, 513), LENGTH_INVALID],
    ['a block too short', segment(driver, [half]), LENGTH_INVALID],
    ['blocks too long', segment(driver, [half, data]), LENGTH_INVALID],
    ['no block at all', segment(driver, [block(driver, target, 0)]), LENGTH_INVALID],
    ['an unknown type', { ...data, kind: 0x40 }, TYPE_INVALID],
    ['an offset and not an address', { ...data, kind: 0x01 }, TYPE_INVALID],
    ['a segment by offset', { ...last, kind: 0x31 }, TYPE_INVALID],
    ['a keyed block in a segment', segment(driver, [{ ...data, kind: 0x40 }]), TYPE_INVALID],
    ['a segment of no bytes', { ...last, length: 0 }, INVALID_SEGMENT],
    ['a segment of half a descriptor', { ...last, length: 24 }, INVALID_SEGMENT],
    ['a segment that is not aligned', { ...last, address: Number(last.address) + 4 }, 0x0d],
    ['a last segment that goes on', segment(driver, [half, last]), INVALID_SEGMENT],
    ['a segment that ends', segment(driver, [data], SEGMENT), INVALID_SEGMENT],
    ['a pointer before the end', segment(driver, [last, data], SEGMENT), INVALID_COUNT],
    ['too many descriptors', tooMany, INVALID_COUNT],
    ['a circle', { kind: SEGMENT, address: driver.iova(circle), length: 16 }, INVALID_COUNT],
    ['data that is not mapped', nowhere, TRANSFER_ERROR],
    ['a segment that is not mapped', { ...last, address: 0x10 }, TRANSFER_ERROR],
    ['a later one that is not', segment(driver, [{ ...last, address: 0 }], SEGMENT), 0x04],
    ['a long one that is not', { ...last, address: 0x10, length: 8192 }, TRANSFER_ERROR],
    ['the end of addresses', { ...data, address: 2n ** 64n - 256n }, TRANSFER_ERROR],
    ['a segment there', { ...last, address: 2n ** 64n - 16n, length: 32 }, TRANSFER_ERROR],
  ];
  for (const [what, sgl, status] of cases) {
    it(`${what} is status ${status.toString(16)}, and nothing is written`, () => {
      driver.bytes(target, 4096).fill(0);
      queue.run({ opcode: READ, namespace: 1, sgl: data });
      driver.bytes(target, 4096).fill(0x77);
      expect(queue.run({ opcode: READ, namespace: 1, sgl })).toMatchObject({
        status,
        retryable: status === TRANSFER_ERROR,
      });
      expect(queue.run({ opcode: WRITE, namespace: 1, dw10: 9, sgl }).status).toBe(status);
      // One that fails does not spoil the next.
      expect(queue.run({ opcode: READ, namespace: 1, sgl: data }).status).toBe(0);
      const seen = driver.bytes(target + 512, 3584);
      expect(seen.every((byte) => byte === 0x77)).toBe(true);
    });
  }

  it('both kinds at once, and any in an admin command, are Invalid Field', () => {
    const both: CommandFields = { opcode: READ, namespace: 1, sgl: data, flags: 0xc0 };
    expect(queue.run(both).status).toBe(2);
    for (const flags of [0x40, 0x80])
      expect(
        driver.admin.run({ opcode: 6, dw10: 1, sgl: block(driver, target, 4096), flags }).status,
      ).toBe(2);
  });

  it('a command without data does not look at it', () => {
    const sgl = { kind: SEGMENT, address: 0x10, length: 16 };
    const faults = driver.program.iommu.counters.faults;
    for (const opcode of [0, 4, 8, 0x0c])
      expect(queue.run({ opcode, namespace: 1, dw10: 40, sgl }).status).toBe(0);
    expect(driver.program.iommu.counters.faults).toBe(faults);
  });
});
