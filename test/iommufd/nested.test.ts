/** A guest's own first stage above a page table of an IOAS (R8.1; VT-d's nested translation). */
import { beforeEach, describe, expect, it, test } from 'vitest';
import {
  HWPT_DATA_VTD_S1,
  HWPT_INVALIDATE_DATA_VTD_S1,
  HwptAllocFlag,
  OptionId,
} from '../../src/abi/iommufd.js';
import {
  Destroy,
  FaultAlloc,
  HwInfo,
  HwInfoVtd,
  HwptAlloc,
  HwptInvalidate,
  HwptVtdS1,
  HwptVtdS1Invalidate,
  Option,
} from '../../src/abi/iommufd-structs.js';
import { readStruct, writeStruct } from '../../src/abi/layout.js';
import type { VfioFile } from '../../src/file/file.js';
import { defaultGeometry } from '../../src/iommu/geometry.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { ARGUMENTS, BUFFER, errnoOf, type KitOptions } from '../vfio/kit.js';
import { IOVA_PAGE, IommufdKit } from './kit.js';

const { IOMMU_HWPT_ALLOC_NEST_PARENT, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, IOMMU_HWPT_FAULT_ID_VALID } =
  HwptAllocFlag;
/** What calls point to; ARGUMENTS itself has their structs. */
const DATA = ARGUMENTS + PAGE_SIZE;
/** Present, writable, user. */
const ALL_BITS = 7;
/** Pages of the buffer that are tables, from the root on; page 0 is scratch. */
const TABLES = 1;
const PAGES = 16;
const nesting = { geometry: { ...defaultGeometry, nests: true } };

interface NestedOptions {
  readonly pt_id?: number;
  readonly flags?: number;
  readonly data_type?: number;
  readonly data_len?: number;
  readonly fault_id?: number;
  readonly table?: Partial<Record<keyof typeof HwptVtdS1.at, number | bigint>>;
}

class NestedKit extends IommufdKit {
  readonly file: VfioFile;
  readonly device: number;
  readonly space: number;
  readonly parent: number;

  constructor(options: KitOptions = {}) {
    super({ ...nesting, ...options });
    const { file, id } = this.bind();
    this.file = file;
    this.device = id;
    this.space = this.ioas();
    this.map(this.space, PAGES);
    this.parent = this.hwpt({ pt_id: this.space, flags: IOMMU_HWPT_ALLOC_NEST_PARENT });
    for (let level = 0; level < 3; level++) this.entry(level, 0, TABLES + level + 1);
  }

  get iommu() {
    return this.kit.functions[0]!.iommu;
  }

  hwpt(values: Partial<Record<keyof typeof HwptAlloc.at, number | bigint>>): number {
    const call = { dev_id: this.device, ...values };
    return Number(this.call('IOMMU_HWPT_ALLOC', HwptAlloc, call).out_hwpt_id);
  }

  nested({ table, ...over }: NestedOptions = {}): number {
    const root = BigInt((IOVA_PAGE + TABLES) * PAGE_SIZE);
    const config = { pgtbl_addr: root, addr_width: 48, ...table };
    this.kit.mm.copyTo(DATA, writeStruct(HwptVtdS1, config));
    return this.hwpt({
      pt_id: this.parent,
      data_type: HWPT_DATA_VTD_S1,
      data_len: HwptVtdS1.size,
      data_uptr: DATA,
      ...over,
    });
  }

  /** A nested page table whose page requests come to a queue. */
  asking(): { table: number; queue: VfioFile } {
    const made = this.call('IOMMU_FAULT_QUEUE_ALLOC', FaultAlloc, {});
    const fault_id = Number(made.out_fault_id);
    const table = this.nested({ flags: IOMMU_HWPT_FAULT_ID_VALID, fault_id });
    return { table, queue: this.kit.process.get(Number(made.out_fault_fd)).what as VfioFile };
  }

  /** Has the first stage lead from an input page (of the first 2 MiB) to a page of the buffer. */
  lead(input: number, page: number): void {
    this.entry(3, input, page);
  }

  entry(table: number, index: number, page: number): void {
    const value = page === 0 ? 0n : BigInt((IOVA_PAGE + page) * PAGE_SIZE + ALL_BITS);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    this.kit.mm.copyTo(BUFFER + (TABLES + table) * PAGE_SIZE + index * 8, bytes);
  }

  /** Lets an access bring all pages that it lacks in the second stage. */
  reach(input: number, access: number): number {
    for (let tries = 0; tries < 8; tries++) {
      const frame = this.iommu.translate(input, access);
      if (frame >= 0 || !this.iommu.fault(input, access)) return frame;
    }
    return this.iommu.translate(input, access);
  }

  invalidate(
    hwpt: number,
    entries: Partial<Record<keyof typeof HwptVtdS1Invalidate.at, number | bigint>>[],
    over: Partial<Record<keyof typeof HwptInvalidate.at, number>> = {},
  ): number {
    const { size } = HwptVtdS1Invalidate;
    for (const [index, entry] of entries.entries())
      this.kit.mm.copyTo(DATA + index * size, writeStruct(HwptVtdS1Invalidate, entry));
    const call = {
      hwpt_id: hwpt,
      data_uptr: DATA,
      data_type: HWPT_INVALIDATE_DATA_VTD_S1,
      entry_len: size,
      entry_num: entries.length,
      ...over,
    };
    return Number(this.call('IOMMU_HWPT_INVALIDATE', HwptInvalidate, call).entry_num);
  }
}

describe('a nested page table', () => {
  test('is told of by the registers of an IOMMU that has them, and there alone', () => {
    const registers = (made: IommufdKit): bigint[] => {
      const info = { dev_id: made.bind().id, data_len: HwInfoVtd.size, data_uptr: DATA };
      made.call('IOMMU_GET_HW_INFO', HwInfo, info);
      const bytes = new Uint8Array(HwInfoVtd.size);
      made.kit.mm.copyFrom(DATA, bytes);
      const { cap_reg, ecap_reg } = readStruct(HwInfoVtd, bytes);
      return [BigInt(cap_reg!), BigInt(ecap_reg!)];
    };
    const [plain, nests] = [registers(new IommufdKit()), registers(new IommufdKit(nesting))];
    expect(nests[0]! ^ plain[0]!).toBe(1n << 56n);
    expect(nests[1]! ^ plain[1]!).toBe((1n << 26n) | (1n << 43n) | (3n << 46n));
  });

  test('its registers are followed by zeros, as far as the program says it has room', () => {
    const made = new IommufdKit();
    const { mm } = made.kit;
    const info = { dev_id: made.bind().id, data_len: 2 ** 32 - 1, data_uptr: DATA };
    expect(errnoOf(() => made.call('IOMMU_GET_HW_INFO', HwInfo, info))).toBe('EFAULT');
    mm.copyTo(DATA, new Uint8Array(128).fill(0xff));
    made.call('IOMMU_GET_HW_INFO', HwInfo, { ...info, data_len: 100 });
    const bytes = new Uint8Array(128);
    mm.copyFrom(DATA, bytes);
    expect(bytes.subarray(HwInfoVtd.size, 100).every((byte) => byte === 0)).toBe(true);
    expect(bytes.subarray(100).every((byte) => byte === 0xff)).toBe(true);
  });

  test('is made of a table of VT-d above a page table for it, with the kernel’s checks', () => {
    const made = new NestedKit();
    const plain = made.hwpt({ pt_id: made.space });
    const wrong: [NestedOptions, string][] = [
      [{ data_type: 2 }, 'EOPNOTSUPP'],
      [{ flags: IOMMU_HWPT_ALLOC_DIRTY_TRACKING }, 'EOPNOTSUPP'],
      [{ data_type: 0, data_len: 0 }, 'EOPNOTSUPP'],
      [{ data_len: HwptVtdS1.size - 8 }, 'EINVAL'],
      [{ data_len: HwptVtdS1.size + 8 }, 'EINVAL'],
      [{ pt_id: plain }, 'EINVAL'],
      [{ pt_id: made.nested() }, 'EINVAL'],
      [{ flags: IOMMU_HWPT_FAULT_ID_VALID, fault_id: made.parent }, 'ENOENT'],
    ];
    for (const [over, errno] of wrong) expect(errnoOf(() => made.nested(over))).toBe(errno);
    const parent = { pt_id: made.space, flags: IOMMU_HWPT_ALLOC_NEST_PARENT };
    expect(errnoOf(() => made.hwpt({ ...parent, data_uptr: 8, data_type: 1, data_len: 24 }))).toBe(
      'EOPNOTSUPP',
    );
    const unread = { pt_id: made.parent, data_type: 1, data_len: 24, data_uptr: 8 };
    expect(errnoOf(() => made.hwpt(unread))).toBe('EFAULT');
    expect(errnoOf(() => made.call('IOMMU_DESTROY', Destroy, { id: made.parent }))).toBe('EBUSY');
  });

  test('is not there where the IOMMU has none', () => {
    const made = new IommufdKit();
    const { id } = made.bind();
    const parent = { dev_id: id, pt_id: made.ioas(), flags: IOMMU_HWPT_ALLOC_NEST_PARENT };
    expect(errnoOf(() => made.call('IOMMU_HWPT_ALLOC', HwptAlloc, parent))).toBe('EOPNOTSUPP');
  });

  test.each([
    ['57 bits', { addr_width: 57 }],
    ['supervisor requests', { flags: 1 }],
    ['extended accessed flags', { flags: 2 }],
  ])('of %s is entered by no device, which stays where it is', (_, table) => {
    const made = new NestedKit();
    made.attach(made.file, made.parent);
    const { domain } = made.iommu;
    const wrong = made.nested({ table });
    expect(errnoOf(() => made.attach(made.file, wrong))).toBe('EINVAL');
    expect(made.iommu).toMatchObject({ domain, stage1: null, iopfEnabled: true });
    made.detach(made.file);
    expect(errnoOf(() => made.attach(made.file, wrong))).toBe('EINVAL');
    expect(made.iommu.domain).toBeNull();
  });

  test('write-protects and lies off a page without anybody’s objection', () => {
    const made = new NestedKit();
    const root = (IOVA_PAGE + TABLES) * PAGE_SIZE + 0x123;
    made.attach(made.file, made.nested({ table: { flags: 4, pgtbl_addr: root } }));
    made.lead(5, 8);
    expect(made.reach(5, WRITE)).toBeGreaterThanOrEqual(0);
  });

  test('leads through two stages, whose lower one IOPF fills page by page', () => {
    const made = new NestedKit();
    expect(made.attach(made.file, made.nested())).toBe(made.parent + 1);
    made.lead(5, 8);
    const frame = made.reach(5, READ);
    expect(frame).toBeGreaterThanOrEqual(0);
    // Four tables and the page.
    expect(made.kit.counters).toMatchObject({ pagesFaultedIn: 5, pinnedPages: 0 });
    expect(made.reach(6, READ)).toBe(-1);
    // What is behind the container's addresses is not the guest's to reach.
    expect(made.reach(IOVA_PAGE, READ)).toBe(-1);
    made.detach(made.file);
    expect(made.iommu).toMatchObject({ stage1: null, domain: null, iopfEnabled: false });
  });

  test('whose root is beyond all addresses has no page, and nothing breaks', () => {
    const made = new NestedKit();
    const root = 2n ** 64n - 4096n;
    made.attach(made.file, made.nested({ table: { pgtbl_addr: root } }));
    expect(made.reach(5, READ)).toBe(-1);
  });

  test('is pinned below where IOPF is off, and asks a device’s program only through PRI', () => {
    const made = new NestedKit({ iopf: 'off' });
    made.attach(made.file, made.nested());
    expect(made.kit.counters.pinnedPages).toBe(PAGES);
    made.lead(5, 8);
    expect(made.iommu.translate(5, WRITE)).toBeGreaterThanOrEqual(0);
    expect(errnoOf(() => made.attach(made.file, made.asking().table))).toBe('ENODEV');
    made.iommu.hasPri = true;
    const { table, queue } = made.asking();
    made.attach(made.file, table);
    const request = made.iommu.request(6, READ)!;
    expect(made.read(queue)).toMatchObject([{ addr: BigInt(6 * PAGE_SIZE), dev_id: made.device }]);
    made.lead(6, 9);
    made.answer(queue, 1, 0);
    expect(request.result).toBe(true);
    expect(made.iommu.translate(6, WRITE)).toBeGreaterThanOrEqual(0);
    made.detach(made.file);
    expect(made.iommu.iopfEnabled).toBe(false);
  });
});

describe('page requests of a nested page table', () => {
  let made: NestedKit;
  let queue: VfioFile;
  let table: number;

  beforeEach(() => {
    made = new NestedKit();
    ({ table, queue } = made.asking());
    made.attach(made.file, table);
    // Brings the tables in.
    made.lead(5, 8);
    made.reach(5, READ);
  });

  it('come to its queue with the guest’s addresses, and go on with the answer', () => {
    const request = made.iommu.request(6, WRITE)!;
    expect(made.read(queue)).toMatchObject([
      { flags: 2, dev_id: made.device, perm: WRITE, addr: BigInt(6 * PAGE_SIZE), cookie: 1 },
    ]);
    made.lead(6, 9);
    made.answer(queue, 1, 0);
    expect(request.result).toBe(true);
    expect(made.reach(6, WRITE)).toBeGreaterThanOrEqual(0);
    expect(made.kit.counters.pagesFaultedIn).toBe(6);
  });

  it('are answered INVALID when the device goes elsewhere, in one step', () => {
    const request = made.iommu.request(6, READ)!;
    made.attach(made.file, made.parent);
    expect(request.result).toBe(false);
    expect(made.iommu.stage1).toBeNull();
    expect(made.read(queue)).toEqual([]);
    expect(made.reach(IOVA_PAGE + 8, READ)).toBeGreaterThanOrEqual(0);
    made.call('IOMMU_DESTROY', Destroy, { id: table });
  });

  it('are another table’s after a replace, and the old one’s entries are forgotten', () => {
    const other = made.nested();
    made.entry(0, 0, 0);
    made.attach(made.file, other);
    expect(made.iommu.translate(5, READ)).toBe(-1);
    expect(made.iommu.request(5, READ)).toBeNull();
    made.entry(0, 0, TABLES + 1);
    expect(made.reach(5, READ)).toBeGreaterThanOrEqual(0);
    made.detach(made.file);
    made.call('IOMMU_DESTROY', Destroy, { id: other });
    made.call('IOMMU_DESTROY', Destroy, { id: table });
    made.call('IOMMU_DESTROY', Destroy, { id: made.parent });
    expect(made.kit.counters.residentPages).toBe(0);
  });

  it('go on where the space is pinned and left to faults again', () => {
    const set = (val64: number): unknown =>
      made.call('IOMMU_OPTION', Option, {
        option_id: OptionId.IOMMU_OPTION_IOPF,
        object_id: made.space,
        val64,
      });
    let page = 6;
    const asks = (): boolean | null => {
      const request = made.iommu.request(page, READ)!;
      made.lead(page++, 9);
      made.answer(queue, Number(made.read(queue)[0]!.cookie), 0);
      return request.result;
    };
    set(0);
    expect(made.kit.counters.pinnedPages).toBe(PAGES);
    expect(asks()).toBe(true);
    set(1);
    expect(made.kit.counters.pinnedPages).toBe(0);
    expect(asks()).toBe(true);
    expect(made.reach(7, READ)).toBeGreaterThanOrEqual(0);
    set(0);
    made.detach(made.file);
    expect(made.iommu.iopfEnabled).toBe(false);
  });

  it('go on where pages cannot be left to faults, because of another device', () => {
    made = new NestedKit({ iopf: 'ask', groups: [{}, { canFault: false }] });
    ({ table, queue } = made.asking());
    made.attach(made.file, table);
    made.attach(made.bind(2).file, made.space);
    const option = { option_id: OptionId.IOMMU_OPTION_IOPF, object_id: made.space, val64: 1 };
    expect(errnoOf(() => made.call('IOMMU_OPTION', Option, option))).toBe('ENODEV');
    expect(made.kit.counters.pinnedPages).toBe(PAGES);
    const request = made.iommu.request(6, READ)!;
    made.lead(6, 9);
    made.answer(queue, Number(made.read(queue)[0]!.cookie), 0);
    expect(request.result).toBe(true);
  });

  it('are lost with the last close, and all is given back', () => {
    const request = made.iommu.request(6, READ)!;
    made.file.release();
    expect(request.result).toBe(false);
    made.kit.process.close(made.fd);
    queue.release();
    expect(made.kit.counters).toMatchObject({ mappedPages: 0, residentPages: 0, pinnedPages: 0 });
  });
});

describe('IOMMU_HWPT_INVALIDATE of a nested page table', () => {
  let made: NestedKit;
  let table: number;
  const cached = (input: number): boolean => made.iommu.translate(input, READ) >= 0;

  beforeEach(() => {
    made = new NestedKit();
    table = made.nested();
    made.attach(made.file, table);
    for (const input of [5, 6, 7]) {
      made.lead(input, 8);
      made.reach(input, READ);
      made.lead(input, 0);
    }
  });

  it('forgets pages entry by entry, or all at once', () => {
    const entries = [
      { addr: 5 * PAGE_SIZE, npages: 1 },
      { addr: 6 * PAGE_SIZE, npages: 1, flags: 1 },
    ];
    expect(made.invalidate(table, entries)).toBe(2);
    expect([5, 6, 7].map(cached)).toEqual([false, false, true]);
    expect(made.invalidate(table, [{ addr: 0, npages: 2n ** 64n - 1n }])).toBe(1);
    expect(cached(7)).toBe(false);
  });

  it.each<[string, Parameters<NestedKit['invalidate']>[1][number], string]>([
    ['flags', { npages: 1, flags: 2 }, 'EOPNOTSUPP'],
    ['a reserved field', { npages: 1, hw_error: 1 }, 'EOPNOTSUPP'],
    ['an address off a page', { addr: 8, npages: 1 }, 'EINVAL'],
    ['everything from an address on', { addr: 4096, npages: 2n ** 64n - 1n }, 'EINVAL'],
  ])('ends at an entry with %s, and tells how many it carried out', (_, entry, errno) => {
    const entries = [{ addr: 5 * PAGE_SIZE, npages: 1 }, entry, { addr: 6 * PAGE_SIZE, npages: 1 }];
    expect(errnoOf(() => made.invalidate(table, entries))).toBe(errno);
    expect([5, 6].map(cached)).toEqual([false, true]);
    const told = new Uint8Array(HwptInvalidate.size);
    made.kit.mm.copyFrom(ARGUMENTS, told);
    expect(readStruct(HwptInvalidate, told).entry_num).toBe(1);
  });

  it('is refused for other kinds of entries and of page tables', () => {
    const entry = { npages: 1 };
    expect(errnoOf(() => made.invalidate(table, [entry], { data_type: 1 }))).toBe('EINVAL');
    expect(errnoOf(() => made.invalidate(table, [entry], { entry_len: 16 }))).toBe('EINVAL');
    expect(errnoOf(() => made.invalidate(made.parent, [entry]))).toBe('EINVAL');
    expect(errnoOf(() => made.invalidate(99, [entry]))).toBe('ENOENT');
    const old = new NestedKit({ kernel: '6.12' });
    expect(errnoOf(() => old.invalidate(old.parent, [entry]))).toBe('ENOENT');
    expect(old.invalidate(old.nested(), [entry])).toBe(1);
  });
});
