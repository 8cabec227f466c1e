/** Copy, Verify and Write Uncorrectable. */
import { describe, expect, it } from 'vitest';
import { UncorrectableBlocks } from '../../src/device/nvme/uncorrectable.js';
import { type CommandFields, NvmeDriver, pseudoRandom, setLong } from './nvme-driver.js';

const [FLUSH, WRITE, READ, WRITE_UNCORRECTABLE, COMPARE, WRITE_ZEROES] = [0, 1, 2, 4, 5, 8];
const [DATASET_MANAGEMENT, VERIFY, COPY, FORMAT_NVM] = [9, 0x0c, 0x19, 0x80];
const [OUT_OF_RANGE, SIZE_LIMIT, READ_ERROR, WRITE_PROTECTED] = [0x80, 0x183, 0x281, 0x20];
const BLOCKS = 2048;

function started(options: Record<string, string> = {}) {
  const driver = new NvmeDriver({ size: '1M', ...options });
  driver.enable();
  const queue = driver.createQueue(1, 64);
  const page = driver.pages(1);
  const run = (opcode: number, first: number, count = 1, more: Partial<CommandFields> = {}) =>
    queue.run({
      opcode,
      namespace: 1,
      ...driver.prp(page, 4096),
      dw10: first % 2 ** 32,
      dw11: Math.floor(first / 2 ** 32),
      dw12: count - 1,
      ...more,
    }).status;
  return { driver, queue, page, run };
}

describe('Write Uncorrectable', () => {
  it('makes blocks that cannot be read, compared, verified or copied, and no others', () => {
    const { run, driver, page } = started();
    expect(run(WRITE_UNCORRECTABLE, 8, 2)).toBe(0);
    for (const opcode of [READ, COMPARE, VERIFY]) {
      expect(run(opcode, 7)).toBe(0);
      expect(run(opcode, 8)).toBe(READ_ERROR);
      expect(run(opcode, 5, 5)).toBe(READ_ERROR);
      expect(run(opcode, 10)).toBe(0);
    }
    setLong(driver.view, page + 8, 9);
    expect(run(COPY, 100)).toBe(READ_ERROR);
  });

  it('is undone by every command that writes there, block by block', () => {
    const writers: [number, Partial<CommandFields>][] = [
      [WRITE, {}],
      [WRITE_ZEROES, {}],
      [DATASET_MANAGEMENT, { dw10: 0, dw11: 4 }],
      [COPY, { dw12: 0 }],
    ];
    for (const [opcode, more] of writers) {
      const { run, driver, page } = started();
      run(WRITE_UNCORRECTABLE, 8, 3);
      if (opcode === DATASET_MANAGEMENT) {
        driver.view.setUint32(page + 4, 1, true);
        driver.view.setUint32(page + 8, 9, true);
      }
      expect(run(opcode, 9, 1, more)).toBe(0);
      expect([8, 9, 10].map((first) => run(VERIFY, first))).toEqual([READ_ERROR, 0, READ_ERROR]);
    }
  });

  it('is undone by Format NVM, and refused outside the disk and where it is write protected', () => {
    const { run, driver } = started();
    expect(run(WRITE_UNCORRECTABLE, BLOCKS - 1, 2)).toBe(OUT_OF_RANGE);
    expect(run(VERIFY, BLOCKS - 1)).toBe(0);
    expect(run(WRITE_UNCORRECTABLE, 0, BLOCKS)).toBe(0);
    expect(run(VERIFY, BLOCKS - 1)).toBe(READ_ERROR);
    expect(driver.admin.run({ opcode: FORMAT_NVM, namespace: 1 }).status).toBe(0);
    expect(run(VERIFY, BLOCKS - 1)).toBe(0);
    expect(started({ readonly: 'on' }).run(WRITE_UNCORRECTABLE, 0)).toBe(WRITE_PROTECTED);
  });

  it('remembers blocks of a disk of any size', () => {
    const blocks = new UncorrectableBlocks();
    blocks.mark(32767, 2);
    blocks.mark(2 ** 34, 1);
    expect(blocks.touches(0, 32767)).toBe(false);
    expect(blocks.touches(32767, 1)).toBe(true);
    expect(blocks.touches(32769, 100)).toBe(false);
    blocks.clear(32768, 2 ** 32 - 1);
    expect([blocks.touches(32767, 1), blocks.touches(32768, 1)]).toEqual([true, false]);
    blocks.clear(0, 1);
    expect(blocks.touches(2 ** 34 - 5, 6)).toBe(true);
    blocks.clear(2 ** 34, 1);
    expect(blocks.touches(2 ** 34, 1)).toBe(false);
    blocks.clear(32767, 0);
    expect(blocks.touches(32767, 1)).toBe(true);
  });

  it('forgets no block but those that are written, however they lie', () => {
    const blocks = new UncorrectableBlocks();
    for (let block = 0; block < 32768; block += 8) blocks.mark(block, 1);
    blocks.clear(1, 7);
    expect([0, 1, 8, 32760].map((block) => blocks.touches(block, 1))).toEqual([
      true,
      false,
      true,
      true,
    ]);
  });
});

describe('Verify', () => {
  it('reads up to a transfer of blocks that exist, and moves nothing', () => {
    const { run, driver } = started();
    const before = driver.program.iommu.counters.dmaBytesWritten;
    expect(run(VERIFY, 0, 1024)).toBe(0);
    expect(driver.program.iommu.counters.dmaBytesWritten - before).toBe(16);
    expect(run(VERIFY, 0, 1025)).toBe(2);
    expect(run(VERIFY, BLOCKS - 7, 8)).toBe(OUT_OF_RANGE);
    expect(run(VERIFY, 0, 1, { namespace: 2 })).toBe(0x0b);
  });
});

describe('Copy', () => {
  /** Writes source ranges into the page: first block and count. */
  function ranges(driver: NvmeDriver, page: number, ...given: [number, number][]): void {
    driver.bytes(page, 4096).fill(0);
    for (const [index, [first, count]] of given.entries()) {
      setLong(driver.view, page + 32 * index + 8, first);
      driver.view.setUint16(page + 32 * index + 16, count - 1, true);
    }
  }

  it('puts ranges one behind the other, all read before one is written', () => {
    for (const block of ['512', '4096']) {
      const { driver, page, run } = started({ block });
      const bytes = Number(block);
      const data = pseudoRandom(8 * bytes, 8);
      const memory = driver.pages(8);
      driver.bytes(memory, data.length).set(data);
      expect(run(WRITE, 4, 8, driver.prp(memory, data.length))).toBe(0);
      // Over its own sources.
      ranges(driver, page, [8, 3], [4, 2]);
      expect(run(COPY, 5, 2)).toBe(0);
      driver.bytes(memory, data.length).fill(0);
      expect(run(READ, 4, 8, driver.prp(memory, data.length))).toBe(0);
      const blocks = [0, 4, 5, 6, 0, 1, 6, 7];
      for (const [index, from] of blocks.entries())
        expect(
          Buffer.compare(
            driver.bytes(memory + bytes * index, bytes),
            data.subarray(bytes * from, bytes * (from + 1)),
          ),
        ).toBe(0);
    }
  });

  it('takes what the same doorbell has written before', () => {
    const { driver, queue, page, run } = started();
    const memory = driver.pages(1);
    driver.bytes(memory, 512).fill(0x61);
    ranges(driver, page, [3, 1]);
    queue.push({ opcode: WRITE, namespace: 1, ...driver.prp(memory, 512), dw10: 3 });
    queue.push({ opcode: COPY, namespace: 1, ...driver.prp(page, 32), dw10: 30 });
    queue.ring();
    expect(queue.takeAll().map(({ status }) => status)).toEqual([0, 0]);
    driver.bytes(memory, 512).fill(0);
    expect(run(READ, 30, 1, driver.prp(memory, 512))).toBe(0);
    expect(driver.bytes(memory, 512).every((byte) => byte === 0x61)).toBe(true);
  });

  it('its limits are those of Identify, and more is Command Size Limit Exceeded', () => {
    const { driver, page, run, queue } = started();
    driver.admin.run({ opcode: 6, namespace: 1, prp1: driver.iova(page) });
    expect(driver.view.getUint16(page + 74, true)).toBe(128);
    expect(driver.view.getUint32(page + 76, true)).toBe(128);
    expect(driver.bytes(page, 81)[80]).toBe(127);
    driver.admin.run({ opcode: 6, prp1: driver.iova(page), dw10: 1 });
    expect(driver.view.getUint16(page + 520, true)).toBe(0x19f);
    expect(driver.view.getUint16(page + 534, true)).toBe(1);
    ranges(driver, page, [0, 128]);
    expect(run(COPY, 1000)).toBe(0);
    ranges(driver, page, [0, 129]);
    expect(run(COPY, 1000)).toBe(SIZE_LIMIT);
    ranges(driver, page, [0, 64], [0, 65]);
    expect(run(COPY, 1000, 2)).toBe(SIZE_LIMIT);
    const all: [number, number][] = [...Array(128)].map((_, index) => [index, 1]);
    ranges(driver, page, ...all);
    expect(run(COPY, 1000, 128)).toBe(0);
    expect(run(COPY, 1000, 129)).toBe(SIZE_LIMIT);
    const unknown = { opcode: COPY, namespace: 1, ...driver.prp(page, 4096), dw12: 0x100 };
    expect(queue.run(unknown).status).toBe(2);
  });

  it('tells which range cannot be, and copies nothing then', () => {
    const { driver, page, queue, run } = started();
    run(WRITE_UNCORRECTABLE, 77);
    const copy = (first: number) =>
      queue.run({ opcode: COPY, namespace: 1, ...driver.prp(page, 4096), dw10: first, dw12: 2 });
    ranges(driver, page, [0, 1], [BLOCKS - 1, 2], [0, 1]);
    expect(copy(50)).toMatchObject({ status: OUT_OF_RANGE, result: 1 });
    ranges(driver, page, [0, 1], [2 ** 50, 1], [0, 1]);
    expect(copy(50)).toMatchObject({ status: OUT_OF_RANGE, result: 1 });
    ranges(driver, page, [0, 1], [0, 1], [76, 2]);
    expect(copy(50)).toMatchObject({ status: READ_ERROR, result: 2 });
    ranges(driver, page, [0, 1], [0, 1], [0, 2]);
    expect(copy(BLOCKS - 3)).toMatchObject({ status: OUT_OF_RANGE, result: 0 });
    expect(copy(BLOCKS - 4)).toMatchObject({ status: 0, result: 0 });
    expect(queue.run({ opcode: COPY, namespace: 1, prp1: 0x1000 }).status).toBe(4);
    expect(queue.run({ opcode: FLUSH, namespace: 1 }).result).toBe(0);
    const kept = started({ readonly: 'on' });
    expect(kept.run(COPY, 50)).toBe(WRITE_PROTECTED);
  });
});
