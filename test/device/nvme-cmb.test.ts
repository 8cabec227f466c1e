/** The controller memory buffer: its registers, and all that may lie in it. */
import { beforeEach, describe, expect, it } from 'vitest';
import { nvme } from '../../src/device/nvme/kind.js';
import { Register } from '../../src/device/nvme/registers.js';
import { OptionError } from '../../src/device/options.js';
import { NvmeDriver, pseudoRandom, SglKind, setDescriptor, setLong } from './nvme-driver.js';
import { Program } from './program.js';

const { CAP, CMBLOC, CMBSZ, CMBMSC, CMBSTS } = Register;
const [WRITE, READ] = [1, 2];
const [CREATE_SQ, CREATE_CQ, IDENTIFY] = [1, 5, 6];
const INVALID_USE_OF_CMB = 0x12;
/** Far above the program's memory, where an IOVA could not be. */
const BASE = 2 ** 48;
const SIZE = 65536;

let driver: NvmeDriver;
/** The buffer as the program maps it. */
let buffer: Uint8Array;
let view: DataView;

/** CMBMSC, its high word first, as drivers write it. */
function control(low: number, high = BASE / 2 ** 32): void {
  driver.write(CMBMSC + 4, high);
  driver.write(CMBMSC, low);
}

beforeEach(() => {
  driver = new NvmeDriver({ size: '1M', cmb: '64K' });
  driver.enable();
  buffer = driver.program.regions.get(2)!.bytes;
  view = new DataView(buffer.buffer);
  control(3);
});

describe('the registers', () => {
  it('CAP says that there is one, and the size and place show once CMBMSC says so', () => {
    expect(driver.read(CAP + 4) >>> 25).toBe(1);
    control(0);
    expect([driver.read(CMBLOC), driver.read(CMBSZ)]).toEqual([0, 0]);
    control(1);
    expect(driver.read(CMBLOC)).toBe(0x62);
    expect(driver.read(CMBSZ)).toBe((16 << 12) | 0x1f);
    expect(driver.read(CMBSTS)).toBe(0);
    driver.write(CMBSZ, 0);
    expect(driver.read(CMBSZ)).toBe((16 << 12) | 0x1f);
  });

  it('a program that maps them finds size and place right behind its store', () => {
    const words = new Uint32Array(driver.program.regions.get(0)!.bytes.buffer);
    words[CMBMSC / 4] = 1;
    expect([words[CMBLOC / 4], words[CMBSZ / 4]]).toEqual([0x62, (16 << 12) | 0x1f]);
    words[CMBMSC / 4 + 1] = 7;
    words[CMBMSC / 4] = 3;
    expect(driver.device.poll()).toBe(true);
    expect(driver.device.poll()).toBe(false);
    const identify = { opcode: IDENTIFY, prp1: 7 * 2 ** 32, dw10: 1 };
    expect(driver.admin.run(identify).status).toBe(0);
    expect(buffer[77]).toBe(7);
  });

  it('addresses that reach over the end of the address space are told in CMBSTS, and are not had', () => {
    control(0xffff_f003, 0xffff_ffff);
    expect(driver.read(CMBSTS)).toBe(1);
    expect(driver.admin.run({ opcode: IDENTIFY, prp1: BASE, dw10: 1 }).status).toBe(4);
    control(0xffff_0003, 0xffff_ffff);
    expect(driver.read(CMBSTS)).toBe(0);
  });

  it('where there is none they are not there', () => {
    driver = new NvmeDriver();
    driver.enable();
    control(3);
    expect(driver.read(CAP + 4) >>> 25).toBe(0);
    expect([CMBLOC, CMBSZ, CMBMSC, CMBMSC + 4, CMBSTS].map((at) => driver.read(at))).toEqual([
      0, 0, 0, 0, 0,
    ]);
    expect(driver.device.regions[2]!.size).toBe(0);
    expect(driver.device.poll()).toBe(false);
  });

  it('a controller reset leaves them and what the buffer holds; a reset of the function does not', () => {
    buffer[5] = 9;
    driver.disable();
    driver.enable();
    const identify = { opcode: IDENTIFY, prp1: BASE + 4096, dw10: 1 };
    expect(driver.admin.run(identify).status).toBe(0);
    expect(buffer[5]).toBe(9);
    driver.device.reset();
    expect(driver.read(CMBMSC)).toBe(0);
    expect(buffer[5]).toBe(0);
    driver.enable();
    expect(driver.admin.run(identify).status).toBe(4);
  });

  it('BAR 2 has its size and may be mapped', () => {
    expect(driver.device.regions[2]).toMatchObject({ size: SIZE, mappable: true });
  });

  it('a run without device memory refuses it', () => {
    const { surroundings } = new Program({ pages: 1 });
    const { frameOf: _, ...host } = surroundings.host;
    expect(() => nvme.create({ cmb: '4K' }, { ...surroundings, host })).toThrow(OptionError);
  });
});

describe('what lies in it', () => {
  it('queues of both kinds, lists and data: a command then does no DMA at all', () => {
    const entries = 16;
    const [submission, completion, list, data] = [0, 4096, 8192, 16384];
    const size = 1 | ((entries - 1) << 16);
    const made = [
      driver.admin.run({ opcode: CREATE_CQ, prp1: BASE + completion, dw10: size, dw11: 1 }),
      driver.admin.run({ opcode: CREATE_SQ, prp1: BASE + submission, dw10: size, dw11: 0x10001 }),
    ];
    expect(made.map(({ status }) => status)).toEqual([0, 0]);
    const bytes = pseudoRandom(12288, 4);
    buffer.set(bytes, data);
    for (let page = 0; page < 2; page++)
      setLong(view, list + 8 * page, BASE + data + 4096 * (page + 1));
    const { counters } = driver.program.iommu;
    const before = { ...counters };
    const descriptors = [
      { kind: SglKind.DATA_BLOCK, address: BASE + 32769, length: 100 },
      { kind: SglKind.DATA_BLOCK, address: BASE + 40000, length: 12188 },
    ];
    for (const [index, one] of descriptors.entries()) setDescriptor(view, 12288 + 16 * index, one);
    for (const [index, opcode] of [WRITE, READ].entries()) {
      const at = submission + 64 * index;
      view.setUint32(at, opcode | (index << 14) | (index << 16), true);
      view.setUint32(at + 4, 1, true);
      setLong(view, at + 24, BASE + data);
      setLong(view, at + 32, BASE + list);
      const sgl = { kind: SglKind.LAST_SEGMENT, address: BASE + 12288, length: 32 };
      if (opcode === READ) setDescriptor(view, at + 24, sgl);
      view.setUint32(at + 48, 23, true);
      driver.write(Register.DOORBELLS + 8, index + 1);
      expect(view.getUint32(completion + 16 * index + 12, true) >>> 17).toBe(0);
      expect(view.getUint16(completion + 16 * index + 14, true)).toBe(1);
    }
    expect(Buffer.compare(buffer.subarray(32769, 32869), bytes.subarray(0, 100))).toBe(0);
    expect(Buffer.compare(buffer.subarray(40000, 40000 + 12188), bytes.subarray(100))).toBe(0);
    expect(counters).toEqual(before);
  });

  it('data of the program by a list in the buffer, and the other way round, is counted as DMA', () => {
    const queue = driver.createQueue(1, 8);
    const data = pseudoRandom(12288, 5);
    const source = driver.pages(3);
    driver.bytes(source, 12288).set(data);
    for (const page of [1, 2]) setLong(view, 8 * page, driver.iova(source + 4096 * page));
    const { counters } = driver.program.iommu;
    const before = counters.dmaBytesRead;
    const fields = { namespace: 1, dw12: 23 };
    const prp = { prp1: driver.iova(source), prp2: BASE + 8 };
    expect(queue.run({ opcode: WRITE, ...prp, ...fields }).status).toBe(0);
    expect(counters.dmaBytesRead - before).toBe(12288 + 64);
    const list = driver.pages(1);
    for (const page of [1, 2]) setLong(driver.view, list + 8 * page, BASE + 4096 * page);
    const back = { prp1: BASE, prp2: driver.iova(list + 8) };
    expect(queue.run({ opcode: READ, ...back, ...fields }).status).toBe(0);
    expect(Buffer.compare(buffer.subarray(0, 12288), data)).toBe(0);
  });

  it('admin queues too', () => {
    driver.disable();
    driver.write(Register.ASQ, 0);
    driver.write(Register.ASQ + 4, BASE / 2 ** 32);
    driver.write(Register.ACQ, 4096);
    driver.write(Register.ACQ + 4, BASE / 2 ** 32);
    driver.write(Register.CC, 0x00460001);
    view.setUint32(0, IDENTIFY | (77 << 16), true);
    view.setUint32(24, 8192, true);
    view.setUint32(28, BASE / 2 ** 32, true);
    view.setUint32(40, 1, true);
    driver.write(Register.DOORBELLS, 1);
    expect(view.getUint32(4096 + 12, true)).toBe(0x10000 | 77);
    expect(buffer[8192 + 77]).toBe(7);
  });

  it('is what the program sees and writes there', () => {
    const queue = driver.createQueue(1, 8);
    buffer.fill(0x5a, 4096, 8192);
    const prp = { namespace: 1, dw12: 7 };
    expect(queue.run({ opcode: WRITE, prp1: BASE + 4096, ...prp }).status).toBe(0);
    const page = driver.pages(1);
    queue.run({ opcode: READ, ...driver.prp(page, 4096), ...prp });
    expect(driver.bytes(page, 4096).every((byte) => byte === 0x5a)).toBe(true);
  });
});

describe('Invalid Use of Controller Memory Buffer', () => {
  it('is the answer to data partly in it, by PRPs and by an SGL', () => {
    const queue = driver.createQueue(1, 8);
    const page = driver.pages(2);
    const fields = { opcode: READ, namespace: 1, dw12: 15 };
    const mixed = { prp1: driver.iova(page), prp2: BASE };
    expect(queue.run({ ...fields, ...mixed })).toMatchObject({
      status: INVALID_USE_OF_CMB,
      retryable: false,
    });
    expect(queue.run({ ...fields, prp1: BASE, prp2: driver.iova(page) }).status).toBe(0x12);
    const data = (address: number, length: number) => ({
      kind: SglKind.DATA_BLOCK,
      address,
      length,
    });
    for (const [address, status] of [
      [BASE, 0],
      [BASE + SIZE - 8192, 0],
      [BASE + SIZE - 8191, INVALID_USE_OF_CMB],
      [BASE - 4096, INVALID_USE_OF_CMB],
      [BASE + SIZE, 4],
      [BASE - 8192, 4],
    ] as const) {
      expect(queue.run({ ...fields, sgl: data(address, 8192) }).status).toBe(status);
    }
    // Larger than the buffer, around it.
    const around = { ...fields, dw12: 255, sgl: data(BASE - 4096, 131072) };
    expect(queue.run(around).status).toBe(INVALID_USE_OF_CMB);
    const list = driver.pages(1);
    setDescriptor(driver.view, list, data(BASE, 4096));
    setDescriptor(driver.view, list + 16, data(driver.iova(page), 4096));
    const sgl = { kind: SglKind.LAST_SEGMENT, address: driver.iova(list), length: 32 };
    expect(queue.run({ ...fields, sgl }).status).toBe(INVALID_USE_OF_CMB);
    const identify = {
      opcode: IDENTIFY,
      dw10: 1,
      prp1: BASE + SIZE - 100,
      prp2: driver.iova(page),
    };
    expect(driver.admin.run(identify).status).toBe(INVALID_USE_OF_CMB);
  });

  it('and to a queue that reaches over its end', () => {
    const last = BASE + SIZE - 4096;
    const dw10 = (entries: number) => 1 | ((entries - 1) << 16);
    const completions = { opcode: CREATE_CQ, prp1: last, dw11: 1 };
    expect(driver.admin.run({ ...completions, dw10: dw10(257) }).status).toBe(0x12);
    expect(driver.admin.run({ ...completions, dw10: dw10(256) }).status).toBe(0);
    const commands = { opcode: CREATE_SQ, prp1: last, dw11: 0x10001 };
    expect(driver.admin.run({ ...commands, dw10: dw10(65) }).status).toBe(0x12);
    expect(driver.admin.run({ ...commands, dw10: dw10(64) }).status).toBe(0);
  });

  it('does not come up where the buffer has no addresses', () => {
    control(1);
    const page = driver.pages(1);
    const identify = { opcode: IDENTIFY, dw10: 1, prp1: driver.iova(page) + 8, prp2: BASE };
    expect(driver.admin.run(identify).status).toBe(4);
  });
});
