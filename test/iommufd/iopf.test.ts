/** What recordings cannot show: IOPF, fault queues and dirty tracking of an IOAS. */
import { describe, expect, it } from 'vitest';
import { HWPT_DIRTY_TRACKING_ENABLE, HwptAllocFlag, OptionId } from '../../src/abi/iommufd.js';
import {
  Destroy,
  HwptAlloc,
  HwptGetDirtyBitmap,
  HwptPageResponse,
  HwptPgfault,
  HwptSetDirtyTracking,
  IoasCopy,
  IoasMap,
  IoasUnmap,
  Option,
} from '../../src/abi/iommufd-structs.js';
import type { Domain } from '../../src/iommu/domain.js';
import { type AddressSpace, PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { BUFFER, errnoOf } from '../vfio/kit.js';
import { ALL, IOVA_PAGE, IommufdKit } from './kit.js';

describe('an IOAS with IOPF', () => {
  it('is not pinned while its devices can wait: their page requests bring pages in', () => {
    const made = new IommufdKit();
    const { file, iommu } = made.bind();
    const ioas = made.ioas();
    made.map(ioas, 8);
    made.attach(file, ioas);
    expect(made.kit.counters.pinnedPages).toBe(0);
    expect(iommu.translate(IOVA_PAGE, READ)).toBe(-1);
    expect(iommu.fault(IOVA_PAGE, READ)).toBe(true);
    expect(iommu.translate(IOVA_PAGE, READ)).toBeGreaterThanOrEqual(0);
    expect(iommu.fault(IOVA_PAGE + 8, READ)).toBe(false);
    expect(made.kit.counters).toMatchObject({ pagesFaultedIn: 1, residentPages: 1 });
    made.detach(file);
    expect(iommu.iopfEnabled).toBe(false);
    expect(made.kit.counters.residentPages).toBe(0);
  });

  it('is pinned once a device is attached that cannot wait, and charged once for a copy', () => {
    const made = new IommufdKit({ groups: [{}, { canFault: false }] });
    const [one, two] = [made.bind(1), made.bind(2)];
    const ioas = made.ioas();
    made.map(ioas, 8);
    made.attach(one.file, ioas);
    const copy = made.ioas();
    made.call('IOMMU_IOAS_COPY', IoasCopy, {
      flags: ALL,
      dst_ioas_id: copy,
      src_ioas_id: ioas,
      length: 8 * PAGE_SIZE,
      dst_iova: 0x200 * PAGE_SIZE,
      src_iova: IOVA_PAGE * PAGE_SIZE,
    });
    made.attach(two.file, copy);
    expect(made.kit.counters.pinnedPages).toBe(8);
    expect(two.iommu.translate(0x207, WRITE)).toBeGreaterThanOrEqual(0);
    made.attach(two.file, ioas);
    expect(made.kit.counters.pinnedPages).toBe(8);
    expect(one.iommu.translate(IOVA_PAGE, READ)).toBeGreaterThanOrEqual(0);
    made.detach(two.file);
    made.detach(one.file);
    expect(made.kit.counters).toMatchObject({ pinnedPages: 0, residentPages: 0 });
    expect(made.kit.mm.pinnedPages).toBe(0);
  });

  it('takes no registers of a device, as it could not pin them', () => {
    const made = new IommufdKit();
    const { file } = made.bind();
    const ioas = made.ioas();
    const memory: AddressSpace = made.kit.mm;
    memory.hasDevicePages = (first, count) => first + count > BUFFER / PAGE_SIZE + 3;
    made.map(ioas, 4);
    expect(errnoOf(() => made.attach(file, ioas))).toBe('EFAULT');
    made.call('IOMMU_IOAS_UNMAP', IoasUnmap, { ioas_id: ioas, iova: 0, length: 2n ** 64n - 1n });
    made.map(ioas, 3);
    made.attach(file, ioas);
    expect(errnoOf(() => made.map(ioas, 4, 0x200))).toBe('EFAULT');
    expect(made.kit.counters.mappedPages).toBe(3);
  });

  it('can be switched on and off by an option of its own, but not with IOPF off', () => {
    const made = new IommufdKit({ iopf: 'ask' });
    const { file, iommu } = made.bind();
    const ioas = made.ioas();
    made.map(ioas, 4);
    made.attach(file, ioas);
    expect(made.kit.counters.pinnedPages).toBe(4);
    const set = (value: number): unknown =>
      made.call('IOMMU_OPTION', Option, {
        option_id: OptionId.IOMMU_OPTION_IOPF,
        object_id: ioas,
        val64: value,
      });
    set(1);
    expect(made.kit.counters.pinnedPages).toBe(0);
    expect(iommu.iopfEnabled).toBe(true);
    set(0);
    expect(made.kit.counters.pinnedPages).toBe(4);
    const off = new IommufdKit({ iopf: 'off' });
    const values = { option_id: OptionId.IOMMU_OPTION_IOPF, object_id: off.ioas(), val64: 1 };
    expect(errnoOf(() => off.call('IOMMU_OPTION', Option, values))).toBe('EOPNOTSUPP');
  });
});

describe('a page table with a fault queue', () => {
  it('asks its program alone, once for each page, and goes on with the answer', () => {
    const made = new IommufdKit();
    const { file, id, iommu } = made.bind();
    const ioas = made.ioas();
    const { table, queue } = made.queued(id, ioas);
    made.attach(file, table);
    const request = iommu.request(IOVA_PAGE, READ)!;
    expect(request.done).toBe(false);
    const records = made.read(queue);
    expect(records).toMatchObject([
      { flags: 2, dev_id: id, perm: READ, addr: BigInt(IOVA_PAGE * PAGE_SIZE), cookie: 1 },
    ]);
    expect(made.read(queue)).toEqual([]);
    made.map(ioas, 1);
    expect(made.answer(queue, 1, 0)).toBe(HwptPageResponse.size);
    expect(request.done).toBe(true);
    expect(iommu.translate(IOVA_PAGE, READ)).toBeGreaterThanOrEqual(0);
    expect(errnoOf(() => made.answer(queue, 1, 0))).toBe('EINVAL');
    expect(made.kit.counters.pagesFaultedIn).toBe(0);
  });

  it('answers INVALID what waits when its device goes elsewhere', () => {
    const made = new IommufdKit();
    const { file, id, iommu } = made.bind();
    const ioas = made.ioas();
    const { table, queue, fault } = made.queued(id, ioas);
    made.attach(file, table);
    const [read, unread] = [iommu.request(1, READ)!, iommu.request(2, WRITE)!];
    expect(queue.read(made.kit.process, BUFFER, HwptPgfault.size, 0)).toBe(HwptPgfault.size);
    made.attach(file, ioas);
    expect([read.done, unread.done]).toEqual([true, true]);
    expect(made.kit.counters.responsesInvalid).toBe(2);
    expect(made.read(queue)).toEqual([]);
    expect(errnoOf(() => made.answer(queue, 1, 0))).toBe('EINVAL');
    const gone = { id: table };
    made.call('IOMMU_DESTROY', Destroy, gone);
    expect(errnoOf(() => made.call('IOMMU_DESTROY', Destroy, { id: fault }))).toBe('EBUSY');
  });

  it('is left and entered in one step, and there is no moment without a page table', () => {
    const made = new IommufdKit();
    const { file, id, iommu } = made.bind();
    const [first, second] = [made.ioas(), made.ioas()];
    made.map(first, 1);
    made.map(second, 1);
    const tables = [first, made.queued(id, first).table, made.queued(id, second).table, second];
    made.attach(file, first);
    let { domain } = iommu;
    const domains: (Domain | null)[] = [];
    Object.defineProperty(iommu, 'domain', {
      get: () => domain,
      set: (next: Domain | null) => {
        domain = next;
        domains.push(next);
      },
    });
    for (const table of tables) made.attach(file, table);
    expect(domains.length).toBe(3);
    expect(domains).not.toContain(null);
    expect(iommu.translate(IOVA_PAGE, WRITE)).toBeGreaterThanOrEqual(0);
    expect(errnoOf(() => made.attach(file, id))).toBe('EINVAL');
    expect(iommu.domain).toBe(domains[2]);
    made.detach(file);
    for (const gone of [tables[1]!, tables[2]!, first, second])
      made.call('IOMMU_DESTROY', Destroy, { id: gone });
    expect(made.kit.counters).toMatchObject({ pinnedPages: 0, residentPages: 0, mappedPages: 0 });
  });

  it('stays where it was when it cannot be moved', () => {
    const made = new IommufdKit({ iopf: 'ask', groups: [{ canFault: false }] });
    const { file, id, iommu } = made.bind();
    const [first, second] = [made.ioas(), made.ioas()];
    made.map(first, 4);
    made.attach(file, first);
    const option = { option_id: OptionId.IOMMU_OPTION_IOPF, object_id: second, val64: 1 };
    made.call('IOMMU_OPTION', Option, option);
    expect(errnoOf(() => made.attach(file, second))).toBe('ENODEV');
    expect(errnoOf(() => made.attach(file, made.queued(id, second).table))).toBe('ENODEV');
    expect(iommu.translate(IOVA_PAGE + 3, WRITE)).toBeGreaterThanOrEqual(0);
    made.detach(file);
    expect(errnoOf(() => made.attach(file, second))).toBe('ENODEV');
    expect(iommu.domain).toBeNull();
    made.call('IOMMU_OPTION', Option, { ...option, val64: 0 });
    made.attach(file, second);
  });

  it('can be opened on Linux 7.2 alone, and no device without page requests enters it', () => {
    const old = new IommufdKit({ kernel: '6.12' });
    const { id } = old.bind();
    expect(errnoOf(() => old.queued(id, old.ioas()))).toBe('EOPNOTSUPP');
    const off = new IommufdKit({ iopf: 'off' });
    const bound = off.bind();
    const { table } = off.queued(bound.id, off.ioas());
    expect(errnoOf(() => off.attach(bound.file, table))).toBe('ENODEV');
  });

  it('has devices with PRI with IOPF off as well, and they are pinned', () => {
    const made = new IommufdKit({ iopf: 'off' });
    made.kit.functions[0]!.iommu.hasPri = true;
    const { file, id, iommu } = made.bind();
    const ioas = made.ioas();
    const { table, queue } = made.queued(id, ioas);
    made.attach(file, table);
    const request = iommu.request(IOVA_PAGE, READ)!;
    expect(made.read(queue)).toMatchObject([{ dev_id: id, addr: BigInt(IOVA_PAGE * PAGE_SIZE) }]);
    made.map(ioas, 2);
    expect(made.kit.counters.pinnedPages).toBe(2);
    made.answer(queue, 1, 0);
    expect(request.result).toBe(true);
    made.attach(file, ioas);
    expect(iommu.iopfEnabled).toBe(false);
  });
});

describe('dirty tracking', () => {
  const bitmapOf = (made: IommufdKit, hwpt: number, pages: number, flags = 0): number => {
    made.kit.mm.copyTo(BUFFER, new Uint8Array(8));
    made.call('IOMMU_HWPT_GET_DIRTY_BITMAP', HwptGetDirtyBitmap, {
      hwpt_id: hwpt,
      flags,
      iova: IOVA_PAGE * PAGE_SIZE,
      length: pages * PAGE_SIZE,
      page_size: PAGE_SIZE,
      data: BUFFER,
    });
    const bytes = new Uint8Array(8);
    made.kit.mm.copyFrom(BUFFER, bytes);
    return new DataView(bytes.buffer).getUint32(0, true);
  };

  it('tells exactly what a device wrote through this page table, until it was told', () => {
    const made = new IommufdKit({ groups: [{}, {}] });
    const [one, two] = [made.bind(1), made.bind(2)];
    const ioas = made.ioas();
    const flags = HwptAllocFlag.IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
    const hwpt = (device: number): number =>
      Number(
        made.call('IOMMU_HWPT_ALLOC', HwptAlloc, { flags, dev_id: device, pt_id: ioas })
          .out_hwpt_id,
      );
    const [first, second] = [hwpt(one.id), hwpt(two.id)];
    made.attach(one.file, first);
    made.attach(two.file, second);
    made.map(ioas, 8);
    const on = { flags: HWPT_DIRTY_TRACKING_ENABLE, hwpt_id: first };
    expect(bitmapOf(made, first, 8)).toBe(0);
    made.call('IOMMU_HWPT_SET_DIRTY_TRACKING', HwptSetDirtyTracking, on);
    made.call('IOMMU_HWPT_SET_DIRTY_TRACKING', HwptSetDirtyTracking, { ...on, hwpt_id: second });
    expect(one.iommu.fault(IOVA_PAGE + 1, WRITE)).toBe(true);
    expect(one.iommu.fault(IOVA_PAGE + 2, READ)).toBe(true);
    expect(two.iommu.fault(IOVA_PAGE + 5, WRITE)).toBe(true);
    expect(bitmapOf(made, first, 8, 1)).toBe(0b10);
    expect(bitmapOf(made, first, 8)).toBe(0b10);
    expect(bitmapOf(made, first, 8)).toBe(0);
    expect(bitmapOf(made, second, 8)).toBe(0b100000);
  });

  it('is not there with IOPF off, as the recorded IOMMU has none', () => {
    const made = new IommufdKit({ iopf: 'off' });
    const { id } = made.bind();
    const flags = HwptAllocFlag.IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
    const values = { flags, dev_id: id, pt_id: made.ioas() };
    expect(errnoOf(() => made.call('IOMMU_HWPT_ALLOC', HwptAlloc, values))).toBe('EOPNOTSUPP');
  });
});

it('the last close ends everything, whatever is left in it', () => {
  const made = new IommufdKit();
  const { file, id } = made.bind();
  const ioas = made.ioas();
  made.map(ioas, 8);
  const { queue } = made.queued(id, ioas);
  made.attach(file, ioas);
  made.kit.process.close(made.fd);
  expect(made.kit.counters.mappedPages).toBe(8);
  queue.release();
  file.release();
  expect(made.kit.counters).toMatchObject({ mappedPages: 0, pinnedPages: 0, residentPages: 0 });
});

it('an IOAS takes addresses of all 64 bits while it has no page table, and none beyond after', () => {
  const made = new IommufdKit();
  const { file } = made.bind();
  const ioas = made.ioas();
  const high = { flags: ALL, ioas_id: ioas, user_va: BUFFER, length: 3, iova: 2n ** 64n - 4n };
  made.call('IOMMU_IOAS_MAP', IoasMap, high);
  expect(errnoOf(() => made.attach(file, ioas))).toBe('EADDRINUSE');
  made.call('IOMMU_IOAS_UNMAP', IoasUnmap, { ioas_id: ioas, iova: 2n ** 64n - 4n, length: 3 });
  made.attach(file, ioas);
  expect(errnoOf(() => made.call('IOMMU_IOAS_MAP', IoasMap, high))).toBe('EINVAL');
});
