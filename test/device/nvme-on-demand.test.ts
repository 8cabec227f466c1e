/** A program answers the page requests of a controller: commands begin once pages are there. */
import { describe, expect, it } from 'vitest';
import { HwptPageResponse, HwptPgfault } from '../../src/abi/iommufd-structs.js';
import { writeStruct } from '../../src/abi/layout.js';
import { Register } from '../../src/device/nvme/registers.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import { NvmeDriver, pseudoRandom, QueuePair, SglKind, setDescriptor } from './nvme-driver.js';
import { PageServer } from './page-server.js';

const SUCCESS = 0;
const TRANSFER_ERROR = 4;
const FATAL = 2;

/** A controller that has nothing mapped, and a queue of its page requests. */
class OnDemand extends NvmeDriver {
  private readonly server: PageServer;
  readonly queue: PageServer['queue'];

  constructor() {
    super({ size: '1M' });
    this.server = new PageServer(this.program, this.device);
    this.queue = this.server.queue;
  }

  serve(refused?: readonly number[]): void {
    this.server.serve(refused);
  }

  taken(): number[] {
    return this.server.taken();
  }
}

/** With an I/O queue pair whose memory is there. */
function started() {
  const driver = new OnDemand();
  driver.enable();
  const { admin } = driver;
  const made = [driver.pages(1), driver.pages(1)] as const;
  for (const [opcode, offset, dw11] of [
    [5, made[1], 1],
    [1, made[0], 0x10001],
  ] as const) {
    admin.push({ opcode, prp1: driver.iova(offset), dw10: 1 | (31 << 16), dw11 });
    admin.ring();
    driver.serve();
    expect(admin.take()?.status).toBe(0);
  }
  expect(driver.taken()).toEqual([0, 1]);
  return { driver, io: new QueuePair(driver, 1, 32, made[0], made[1]) };
}

const transfer = (opcode: number, length: number) => ({
  opcode,
  namespace: 1,
  dw12: length / 512 - 1,
});

describe('an nvme controller on a fault queue', () => {
  it('asks for each page of a command once, lists before data, and then does it', () => {
    const { driver, io } = started();
    const data = pseudoRandom(4 * PAGE_SIZE);
    const source = driver.pages(4);
    driver.bytes(source, data.length).set(data);
    const prp = driver.prp(source, data.length);
    io.push({ ...transfer(1, data.length), ...prp });
    io.ring();
    expect([driver.queue.unread, io.take()]).toEqual([1, null]);
    driver.serve();
    expect(io.take()?.status).toBe(0);
    // Queue entries, the PRP list (frame 8), the data.
    expect(driver.taken()).toEqual([2, 3, 8, 4, 5, 6, 7]);
    const target = driver.pages(4);
    io.push({ ...transfer(2, data.length), ...driver.prp(target, data.length) });
    io.ring();
    driver.serve();
    expect(io.take()?.status).toBe(0);
    expect(driver.taken()).toEqual([13, 9, 10, 11, 12]);
    expect(Buffer.compare(driver.bytes(target, data.length), data)).toBe(0);
  });

  it('follows lists from page to page, PRPs and SGLs', () => {
    const { driver, io } = started();
    const length = 16 * PAGE_SIZE;
    const source = driver.pages(16);
    const prp = driver.prp(source, length, PAGE_SIZE - 16);
    io.push({ ...transfer(1, length), ...prp });
    io.ring();
    driver.serve();
    expect(io.take()?.status).toBe(0);
    expect(driver.taken().slice(2, 4)).toEqual([20, 21]);
    const [first, second, page] = [driver.pages(1), driver.pages(1), driver.pages(1)];
    const next = { kind: SglKind.LAST_SEGMENT, address: driver.iova(second), length: 16 };
    setDescriptor(driver.view, first, next);
    const block = { kind: SglKind.DATA_BLOCK, address: driver.iova(page), length: 512 };
    setDescriptor(driver.view, second, block);
    const sgl = { kind: SglKind.SEGMENT, address: driver.iova(first), length: 16 };
    io.push({ ...transfer(2, 512), sgl });
    io.ring();
    driver.serve();
    expect(io.take()?.status).toBe(0);
    expect(driver.taken()).toEqual([22, 23, 24]);
  });

  it('asks for ranges to copy and to deallocate', () => {
    const [DATASET_MANAGEMENT, COPY, DEALLOCATE] = [9, 0x19, 4];
    const { driver, io } = started();
    for (const [index, more] of [
      { opcode: DATASET_MANAGEMENT, dw10: 255, dw11: DEALLOCATE },
      { opcode: COPY, dw10: 100, dw12: 0 },
      { opcode: DATASET_MANAGEMENT, dw10: 0, dw11: DEALLOCATE },
    ].entries()) {
      const ranges = driver.pages(1);
      io.push({ namespace: 1, prp1: driver.iova(ranges), ...more });
      io.ring();
      driver.serve();
      expect(io.take()?.status).toBe(0);
      expect(driver.taken().slice(index === 0 ? -1 : 0)).toEqual([4 + index]);
    }
  });

  it('fails a command whose page is refused, and no other', () => {
    const { driver, io } = started();
    const [bad, good] = [driver.pages(2), driver.pages(1)];
    io.push({ ...transfer(2, 2 * PAGE_SIZE), ...driver.prp(bad, 2 * PAGE_SIZE) });
    io.push({ ...transfer(2, PAGE_SIZE), ...driver.prp(good, PAGE_SIZE) });
    io.ring();
    driver.serve([5]);
    expect(io.takeAll().map(({ status }) => status)).toEqual([TRANSFER_ERROR, 0]);
    expect(driver.taken()).toEqual([2, 3, 4, 5, 6]);
  });

  it('asks again where SUCCESS came without a page', () => {
    const { driver, io } = started();
    io.push({ ...transfer(2, 512), prp1: driver.iova(driver.pages(1)) });
    io.ring();
    const record = new Uint8Array(HwptPgfault.size);
    for (let round = 0; round < 3; round++) {
      expect(driver.queue.read(record)).toBe(HwptPgfault.size);
      const cookie = new DataView(record.buffer).getUint32(HwptPgfault.at.cookie, true);
      driver.queue.write(writeStruct(HwptPageResponse, { cookie, code: SUCCESS }));
      driver.device.poll();
    }
    driver.serve();
    expect(io.take()?.status).toBe(0);
  });

  it('is dead once a queue is refused, and alive after a reset while it waits', () => {
    const driver = new OnDemand();
    driver.enable();
    driver.admin.push({ opcode: 6, prp1: driver.iova(driver.pages(1)), dw10: 1 });
    driver.admin.ring();
    driver.serve([0]);
    expect(driver.read(Register.CSTS) & FATAL).toBe(FATAL);
    driver.disable();
    driver.enable();
    driver.admin.ring();
    driver.admin.push({ opcode: 6, prp1: driver.iova(driver.pages(1)), dw10: 1 });
    driver.admin.ring();
    expect(driver.queue.unread).toBe(1);
    driver.disable();
    driver.enable();
    driver.admin.push({ opcode: 6, prp1: driver.iova(driver.pages(1)), dw10: 1 });
    driver.admin.ring();
    driver.serve();
    expect(driver.admin.take()?.status).toBe(0);
  });
});
