/** What becomes of the disk: formats, durability, write protection. */
import { describe, expect, it } from 'vitest';
import type { BlockFileOptions } from '../../src/device/device-host.js';
import { Register } from '../../src/device/nvme/registers.js';
import { NvmeDriver } from './nvme-driver.js';

const [FLUSH, WRITE, READ, COMPARE, WRITE_ZEROES, DATASET_MANAGEMENT] = [0, 1, 2, 5, 8, 9];
const [IDENTIFY, SET_FEATURES, FORMAT_NVM] = [6, 9, 0x80];
const FORCE_UNIT_ACCESS = 0x40000000;
const WRITE_CACHE = 6;

function started(options: Record<string, string> = {}) {
  const driver = new NvmeDriver(options);
  driver.enable();
  return { driver, queue: driver.createQueue(1, 64) };
}

/** A driver of a disk on a file of 8 KiB that can be made to fail. */
function onFile(options: Record<string, string> = {}) {
  const disk = { bytes: new Uint8Array(8192).fill(0x42), address: 0 };
  const file = {
    asked: [] as [string, BlockFileOptions][],
    flushes: 0,
    durable: true,
    works: true,
  };
  const driver = new NvmeDriver({ file: 'disk.img', ...options }, {}, (path, asked) => {
    file.asked.push([path, asked]);
    return {
      bytes: 8192,
      readOnly: asked.readOnly,
      chunk: () => disk,
      read: (offset, length, into, intoOffset = 0) => {
        into.bytes.set(disk.bytes.subarray(offset, offset + length), intoOffset);
        return file.works;
      },
      write: (offset, length, from) => {
        if (file.works) disk.bytes.set(from.bytes.subarray(0, length), offset);
        return file.works;
      },
      zero: (offset, length) => {
        if (file.works) disk.bytes.fill(0, offset, offset + length);
        return file.works;
      },
      flush: () => {
        file.flushes++;
        return file.durable;
      },
    };
  });
  driver.enable();
  const queue = driver.createQueue(1, 64);
  const page = driver.pages(1);
  const block = { namespace: 1, ...driver.prp(page, 512) };
  return { driver, queue, disk, file, page, block };
}

describe('the block formats', () => {
  const identify = (driver: NvmeDriver) => {
    const page = driver.pages(1);
    driver.admin.run({ opcode: IDENTIFY, namespace: 1, prp1: driver.iova(page) });
    const bytes = driver.bytes(page, 4096);
    return {
      blocks: Number(driver.view.getBigUint64(page, true)),
      formats: bytes[25]! + 1,
      format: bytes[26],
      shifts: [bytes[130], bytes[134]],
      attributes: bytes[99],
    };
  };

  it('both are told whichever the namespace has', () => {
    const two = { formats: 2, shifts: [9, 12], attributes: 0 };
    expect(identify(started({ block: '512' }).driver)).toEqual({
      ...two,
      blocks: 131072,
      format: 0,
    });
    expect(identify(started({ block: '4096' }).driver)).toEqual({
      ...two,
      blocks: 16384,
      format: 1,
    });
  });

  it('Format NVM changes the size of a block and leaves zeros', () => {
    const { driver, queue } = started({ size: '1M' });
    const page = driver.pages(1);
    const prp = driver.prp(page, 4096);
    driver.bytes(page, 4096).fill(7);
    expect(queue.run({ opcode: WRITE, namespace: 1, ...prp, dw10: 8, dw12: 7 }).status).toBe(0);
    expect(driver.admin.run({ opcode: FORMAT_NVM, namespace: 1, dw10: 1 }).status).toBe(0);
    expect(identify(driver)).toMatchObject({ blocks: 256, format: 1 });
    expect(queue.run({ opcode: READ, namespace: 1, ...prp, dw10: 1 }).status).toBe(0);
    expect(driver.bytes(page, 4096).every((byte) => byte === 0)).toBe(true);
    expect(queue.run({ opcode: READ, namespace: 1, ...prp, dw10: 256 }).status).toBe(0x80);
    driver.bytes(page, 4096).fill(8);
    expect(queue.run({ opcode: WRITE, namespace: 1, ...prp, dw10: 255 }).status).toBe(0);
  });

  it('a format outlives a controller reset and a function reset', () => {
    const { driver } = started();
    driver.admin.run({ opcode: FORMAT_NVM, namespace: 0xffffffff, dw10: 1 });
    driver.disable();
    driver.enable();
    expect(identify(driver)).toMatchObject({ format: 1 });
    driver.device.reset();
    driver.enable();
    expect(identify(driver)).toMatchObject({ format: 1 });
  });

  it.each([
    ['a format that does not exist', 2, 0x10a],
    ['metadata in the data', 1 | (1 << 4), 0x10a],
    ['protection information', 1 | (1 << 5), 0x10a],
    ['a cryptographic erase', 1 | (2 << 9), 0x02],
  ])('Format NVM with %s is refused, and nothing is erased', (_what, dw10, status) => {
    const { driver, queue } = started({ size: '1M' });
    const page = driver.pages(1);
    driver.bytes(page, 512).fill(7);
    queue.run({ opcode: WRITE, namespace: 1, ...driver.prp(page, 512) });
    expect(driver.admin.run({ opcode: FORMAT_NVM, namespace: 1, dw10 }).status).toBe(status);
    driver.bytes(page, 512).fill(0);
    queue.run({ opcode: READ, namespace: 1, ...driver.prp(page, 512) });
    expect(driver.bytes(page, 1)[0]).toBe(7);
    expect(identify(driver)).toMatchObject({ format: 0 });
  });

  it('a disk smaller than a block cannot be formatted to it, and namespace 2 not at all', () => {
    const { driver } = started({ size: '1024' });
    expect(driver.admin.run({ opcode: FORMAT_NVM, namespace: 1, dw10: 1 }).status).toBe(0x10a);
    expect(driver.admin.run({ opcode: FORMAT_NVM, namespace: 2, dw10: 0 }).status).toBe(0x0b);
  });

  it('a disk that cannot be emptied keeps its format', () => {
    const { driver, file } = onFile();
    file.works = false;
    expect(driver.admin.run({ opcode: FORMAT_NVM, namespace: 1, dw10: 1 }).status).toBe(0x280);
    expect(identify(driver)).toMatchObject({ format: 0 });
  });
});

describe('durability', () => {
  it('file= is the store that the host opens; writes reach it at once and are flushed when the host asks', () => {
    const { queue, disk, file, page, block, driver } = onFile();
    expect(file.asked).toEqual([['disk.img', { bytes: null, readOnly: false }]]);
    queue.run({ opcode: READ, ...block, dw10: 15 });
    expect(driver.bytes(page, 1)[0]).toBe(0x42);
    driver.bytes(page, 512).fill(0x43);
    queue.run({ opcode: WRITE, ...block, dw10: 1 });
    expect([disk.bytes[511], disk.bytes[512], file.flushes]).toEqual([0x42, 0x43, 0]);
    expect(queue.run({ opcode: FLUSH, namespace: 1 }).status).toBe(0);
    expect(queue.run({ opcode: WRITE, ...block, dw12: FORCE_UNIT_ACCESS }).status).toBe(0);
    expect(queue.run({ opcode: WRITE_ZEROES, namespace: 1, dw12: FORCE_UNIT_ACCESS }).status).toBe(
      0,
    );
    expect(file.flushes).toBe(3);
  });

  it('with the write cache off every write, write zeroes and deallocation is flushed, and reads are not', () => {
    const { driver, queue, file, block } = onFile();
    const ranges = driver.pages(1);
    driver.view.setUint32(ranges + 4, 1, true);
    expect(driver.admin.run({ opcode: SET_FEATURES, dw10: WRITE_CACHE, dw11: 0 }).status).toBe(0);
    // What the cache held.
    expect(file.flushes).toBe(1);
    queue.run({ opcode: READ, ...block });
    expect(file.flushes).toBe(1);
    queue.run({ opcode: WRITE, ...block });
    queue.run({ opcode: WRITE_ZEROES, namespace: 1 });
    queue.run({ opcode: DATASET_MANAGEMENT, namespace: 1, ...driver.prp(ranges, 16), dw11: 4 });
    expect(file.flushes).toBe(4);
  });

  it('many flushes of one doorbell are one flush of the file, after the data of the writes beside them', () => {
    const { driver, queue, disk, file, page, block } = onFile();
    driver.bytes(page, 512).fill(0x55);
    let atFlush: number | undefined;
    queue.push({ opcode: FLUSH, namespace: 1 });
    queue.push({ opcode: WRITE, ...block });
    queue.push({ opcode: FLUSH, namespace: 1 });
    Object.defineProperty(file, 'flushes', {
      get: () => 0,
      set: () => {
        atFlush = disk.bytes[0];
      },
    });
    queue.ring();
    expect(queue.takeAll().map(({ status }) => status)).toEqual([0, 0, 0]);
    expect(atFlush).toBe(0x55);
  });

  it('a flush that fails fails the flush and the writes of its batch, and nothing else', () => {
    const { driver, queue, file, block } = onFile();
    file.durable = false;
    queue.push({ opcode: READ, ...block });
    queue.push({ opcode: WRITE, ...block, dw10: 99 });
    queue.push({ opcode: WRITE, ...block });
    queue.push({ opcode: FLUSH, namespace: 1 });
    queue.ring();
    expect(queue.takeAll().map(({ status }) => status)).toEqual([0, 0x80, 0x280, 0x280]);
    expect(queue.run({ opcode: WRITE, ...block }).status).toBe(0);
    expect(driver.admin.run({ opcode: SET_FEATURES, dw10: WRITE_CACHE, dw11: 0 }).status).toBe(
      0x280,
    );
    expect(queue.run({ opcode: WRITE, ...block }).status).toBe(0);
  });

  it('shutdown notification flushes, once, and is complete only when that worked', () => {
    for (const shutdown of [0x4000, 0x8000]) {
      const { driver, file } = onFile();
      driver.write(Register.CC, 0x00460001 | shutdown);
      driver.write(Register.INTMS, 1);
      expect([driver.read(Register.CSTS), file.flushes]).toEqual([0x9, 1]);
      driver.write(Register.CC, 0);
      driver.enable();
      file.durable = false;
      driver.write(Register.CC, 0x00460001 | shutdown);
      expect([driver.read(Register.CSTS), file.flushes]).toEqual([0x5, 2]);
    }
  });

  it('a file that cannot be read or zeroed any more is told', () => {
    const { driver, queue, file, block } = onFile();
    const ranges = driver.pages(1);
    driver.view.setUint32(ranges + 4, 1, true);
    file.works = false;
    expect(queue.run({ opcode: COMPARE, ...block }).status).toBe(0x281);
    expect(queue.run({ opcode: WRITE_ZEROES, namespace: 1 }).status).toBe(0x280);
    const deallocate = {
      opcode: DATASET_MANAGEMENT,
      namespace: 1,
      ...driver.prp(ranges, 16),
      dw11: 4,
    };
    expect(queue.run(deallocate).status).toBe(0x280);
  });
});

describe('readonly=on', () => {
  it('the namespace says so, reads go on, and whatever would change the disk is refused', () => {
    const { driver, queue, disk, file, page, block } = onFile({ readonly: 'on' });
    expect(file.asked[0]![1]).toEqual({ bytes: null, readOnly: true });
    const identity = driver.pages(1);
    driver.admin.run({ opcode: IDENTIFY, namespace: 1, prp1: driver.iova(identity) });
    expect(driver.bytes(identity, 100)[99]).toBe(1);
    const ranges = driver.pages(1);
    driver.view.setUint32(ranges + 4, 1, true);
    const discard = { opcode: DATASET_MANAGEMENT, namespace: 1, ...driver.prp(ranges, 16) };
    expect(queue.run({ opcode: WRITE, ...block })).toMatchObject({
      status: 0x20,
      retryable: false,
    });
    expect(queue.run({ opcode: WRITE_ZEROES, namespace: 1 }).status).toBe(0x20);
    expect(queue.run({ ...discard, dw11: 4 }).status).toBe(0x20);
    expect(queue.run(discard).status).toBe(0);
    expect(driver.admin.run({ opcode: FORMAT_NVM, namespace: 1 }).status).toBe(0x20);
    expect(disk.bytes.every((byte) => byte === 0x42)).toBe(true);
    expect(queue.run({ opcode: READ, ...block }).status).toBe(0);
    expect(driver.bytes(page, 1)[0]).toBe(0x42);
    expect(queue.run({ opcode: COMPARE, ...block }).status).toBe(0);
    expect(queue.run({ opcode: FLUSH, namespace: 1 }).status).toBe(0);
  });
});
