/** Every copy, pin and descriptor that a call of an iommufd asks for fails in turn. */
import { describe, expect, it } from 'vitest';
import {
  HWPT_DATA_VTD_S1,
  HWPT_DIRTY_TRACKING_ENABLE,
  HwptAllocFlag,
} from '../../src/abi/iommufd.js';
import {
  Destroy,
  FaultAlloc,
  HwptAlloc,
  HwptGetDirtyBitmap,
  HwptSetDirtyTracking,
  HwptVtdS1,
  IoasCopy,
  IoasUnmap,
} from '../../src/abi/iommufd-structs.js';
import { writeStruct } from '../../src/abi/layout.js';
import { defaultGeometry } from '../../src/iommu/geometry.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import { type Injection, inject } from '../vfio/injection.js';
import { BUFFER, errnoOf, type KitOptions } from '../vfio/kit.js';
import { ALL, IOVA_PAGE, IommufdKit } from './kit.js';

interface Scenario {
  readonly name: string;
  readonly options?: KitOptions;
  /** Brings the kit to the state before the call, and returns the call. */
  readonly prepare: (made: IommufdKit) => () => unknown;
  /** What it may have changed where it could only not be told, as in the kernel. */
  readonly changedAfter?: Injection['failed'];
}

const { IOMMU_HWPT_ALLOC_NEST_PARENT: NEST_PARENT, IOMMU_HWPT_FAULT_ID_VALID: FAULT_ID_VALID } =
  HwptAllocFlag;
const off: KitOptions = { iopf: 'off' };
const PAGES = 600;

/** A device that is attached to an IOAS with so many pages mapped. */
function attached(made: IommufdKit, pages = PAGES): { ioas: number; id: number } {
  const { file, id } = made.bind();
  const ioas = made.ioas();
  if (pages > 0) made.map(ioas, pages);
  made.attach(file, ioas);
  return { ioas, id };
}

const scenarios: readonly Scenario[] = [
  { name: 'IOAS_ALLOC', prepare: (made) => () => made.ioas() },
  {
    name: 'IOAS_MAP of several batches',
    options: off,
    changedAfter: 'copyTo',
    prepare: (made) => {
      const { ioas } = attached(made, 0);
      return () => made.map(ioas, PAGES);
    },
  },
  {
    name: 'IOAS_MAP that nothing is pinned for',
    changedAfter: 'copyTo',
    prepare: (made) => {
      const { ioas } = attached(made, 0);
      return () => made.map(ioas, PAGES);
    },
  },
  {
    name: 'IOAS_COPY to what no device has yet',
    options: off,
    changedAfter: 'copyTo',
    prepare: (made) => {
      const { ioas } = attached(made);
      const values = { dst_ioas_id: made.ioas(), src_ioas_id: ioas, length: 4 * PAGE_SIZE };
      const src_iova = IOVA_PAGE * PAGE_SIZE;
      return () =>
        made.call('IOMMU_IOAS_COPY', IoasCopy, { flags: ALL, ...values, src_iova, dst_iova: 0 });
    },
  },
  {
    name: 'IOAS_UNMAP',
    options: off,
    changedAfter: 'copyTo',
    prepare: (made) => {
      const { ioas } = attached(made);
      const values = { ioas_id: ioas, iova: 0, length: 2n ** 64n - 1n };
      return () => made.call('IOMMU_IOAS_UNMAP', IoasUnmap, values);
    },
  },
  { name: 'BIND', prepare: (made) => () => made.bind() },
  {
    name: 'ATTACH, which pins all',
    options: off,
    prepare: (made) => {
      const { file } = made.bind();
      const ioas = made.ioas();
      made.map(ioas, PAGES);
      return () => made.attach(file, ioas);
    },
  },
  {
    // Where its answer cannot be written the device is detached (kernel: vfio_df_ioctl_attach_pt).
    name: 'ATTACH that replaces',
    options: off,
    changedAfter: 'copyTo',
    prepare: (made) => {
      const { file } = made.bind();
      const [one, two] = [made.ioas(), made.ioas()];
      made.map(one, 4);
      made.map(two, PAGES);
      made.attach(file, one);
      return () => made.attach(file, two);
    },
  },
  {
    name: 'HWPT_ALLOC, whose table pins all',
    options: off,
    prepare: (made) => {
      const { id } = made.bind();
      const ioas = made.ioas();
      made.map(ioas, PAGES);
      return () => made.call('IOMMU_HWPT_ALLOC', HwptAlloc, { dev_id: id, pt_id: ioas });
    },
  },
  {
    name: 'HWPT_ALLOC of a first stage with a fault queue',
    options: { geometry: { ...defaultGeometry, nests: true } },
    prepare: (made) => {
      const { id } = made.bind();
      const second = { flags: NEST_PARENT, dev_id: id, pt_id: made.ioas() };
      const { out_hwpt_id } = made.call('IOMMU_HWPT_ALLOC', HwptAlloc, second);
      const { out_fault_id } = made.call('IOMMU_FAULT_QUEUE_ALLOC', FaultAlloc, {});
      made.kit.mm.copyTo(BUFFER, writeStruct(HwptVtdS1, { addr_width: 48 }));
      return () =>
        made.call('IOMMU_HWPT_ALLOC', HwptAlloc, {
          flags: FAULT_ID_VALID,
          dev_id: id,
          pt_id: out_hwpt_id!,
          data_type: HWPT_DATA_VTD_S1,
          data_len: HwptVtdS1.size,
          data_uptr: BUFFER,
          fault_id: out_fault_id!,
        });
    },
  },
  {
    name: 'FAULT_QUEUE_ALLOC',
    prepare: (made) => () => made.call('IOMMU_FAULT_QUEUE_ALLOC', FaultAlloc, {}),
  },
  {
    name: 'HWPT_GET_DIRTY_BITMAP',
    prepare: (made) => {
      const { ioas, id } = attached(made);
      const flags = HwptAllocFlag.IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
      const values = { flags, dev_id: id, pt_id: ioas };
      const { out_hwpt_id } = made.call('IOMMU_HWPT_ALLOC', HwptAlloc, values);
      const on = { flags: HWPT_DIRTY_TRACKING_ENABLE, hwpt_id: out_hwpt_id! };
      made.call('IOMMU_HWPT_SET_DIRTY_TRACKING', HwptSetDirtyTracking, on);
      return () =>
        made.call('IOMMU_HWPT_GET_DIRTY_BITMAP', HwptGetDirtyBitmap, {
          hwpt_id: out_hwpt_id!,
          iova: IOVA_PAGE * PAGE_SIZE,
          length: PAGES * PAGE_SIZE,
          page_size: PAGE_SIZE,
          data: BUFFER,
        });
    },
  },
];

/** Everything that a failed call may not have changed, the next id included. */
function snapshot(made: IommufdKit): unknown {
  const { counters, memory, mm, functions } = made.kit;
  const next = made.ioas();
  made.call('IOMMU_DESTROY', Destroy, { id: next });
  return {
    next,
    charged: [mm.lockedPages, mm.pinnedPages],
    pinned: memory.pinned,
    counted: [counters.mappedPages, counters.pinnedPages, counters.residentPages],
    present: functions.map(({ iommu }) => iommu.domain?.pages ?? null),
    iopf: functions.map(({ iommu }) => iommu.iopfEnabled),
  };
}

describe('a call of an iommufd in which something fails', () => {
  it.each(scenarios)('$name: has changed nothing, and nothing leaks', (scenario) => {
    let tried = 0;
    while (failsAt(scenario, tried)) tried++;
    expect(tried).toBeGreaterThan(0);
  });
});

/** Lets the nth request of the call fail; false: it does not ask for so much. */
function failsAt({ options, prepare, changedAfter }: Scenario, nth: number): boolean {
  const made = new IommufdKit(options);
  const { kit } = made;
  const call = prepare(made);
  const before = snapshot(made);
  const injection = inject(kit);
  injection.left = nth;
  const errno = errnoOf(call);
  injection.left = Number.POSITIVE_INFINITY;
  if (injection.failed === null) return false;
  expect(['EFAULT', 'ENOMEM', 'EMFILE']).toContain(errno);
  if (injection.failed !== changedAfter) expect(snapshot(made)).toEqual(before);
  for (const file of made.opened) file.release();
  kit.process.exit();
  expect([kit.memory.pinned, kit.mm.pinnedPages, kit.mm.lockedPages]).toEqual([0, 0, 0]);
  const { mappedPages, pinnedPages, residentPages } = kit.counters;
  expect([mappedPages, pinnedPages, residentPages]).toEqual([0, 0, 0]);
  for (const { iommu } of kit.functions)
    expect([iommu.domain, iommu.iopfEnabled]).toEqual([null, false]);
  return true;
}
