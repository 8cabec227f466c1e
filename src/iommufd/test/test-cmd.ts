/** IOMMU_TEST_CMD: one call for everything (kernel: iommufd_test). */
import { fail } from '../../abi/errno.js';
import {
  AddReserved,
  CheckDevCache,
  CheckIotlb,
  MemoryLimit,
  MOCK_CACHE_ENTRIES,
  MockDomain,
  MockDomainReplace,
  PasidCmd,
  TestDirty,
  TestOp,
  TriggerIopf,
  TriggerVevent,
} from '../../abi/iommufd-test.js';
import { NO_PASID as WITHOUT_PASID } from '../../iommu/page-request.js';
import { type Call, respond } from '../call.js';
import { BoundDevice, NO_PASID } from '../device.js';
import { type Hwpt, isHwpt, NestedHwpt } from '../hwpt.js';
import { Ioas } from '../ioas.js';
import { ADDRESS_END, PAGE } from '../ranges.js';
import {
  accessPages,
  accessReplaceIoas,
  accessRw,
  createAccess,
  destroyAccessPages,
} from './access-file.js';
import { dmabufGet, dmabufRevoke } from './dma-buf.js';
import { checkMap, checkRefs, mockTable } from './memory-checks.js';
import { MockDeviceObject, MockIommu } from './mock-iommu.js';
import { MockNested } from './mock-nested.js';

/** The least of SET_TEMP_MEMORY_LIMIT: one element of a kernel's batch. */
const MEMORY_LIMIT_LEAST = 12;
const DIRTY_BITS_MAX = 16n << 23n;

const handlers: Readonly<Record<number, (call: Call) => void>> = {
  [TestOp.ADD_RESERVED]: addReserved,
  [TestOp.MOCK_DOMAIN]: (call) => mockDomain(call, 0),
  [TestOp.MOCK_DOMAIN_FLAGS]: (call) => mockDomain(call, call.buffer.u32(MockDomain.at.dev_flags)),
  [TestOp.MOCK_DOMAIN_REPLACE]: mockDomainReplace,
  [TestOp.MD_CHECK_MAP]: checkMap,
  [TestOp.MD_CHECK_REFS]: checkRefs,
  [TestOp.MD_CHECK_IOTLB]: checkIotlb,
  [TestOp.DEV_CHECK_CACHE]: checkDevCache,
  [TestOp.CREATE_ACCESS]: createAccess,
  [TestOp.ACCESS_REPLACE_IOAS]: accessReplaceIoas,
  [TestOp.ACCESS_PAGES]: accessPages,
  [TestOp.DESTROY_ACCESS_PAGES]: destroyAccessPages,
  [TestOp.ACCESS_RW]: accessRw,
  [TestOp.SET_TEMP_MEMORY_LIMIT]: setMemoryLimit,
  [TestOp.DIRTY]: dirty,
  [TestOp.TRIGGER_IOPF]: triggerIopf,
  [TestOp.TRIGGER_VEVENT]: triggerVevent,
  [TestOp.PASID_ATTACH]: pasidAttach,
  [TestOp.PASID_REPLACE]: pasidReplace,
  [TestOp.PASID_DETACH]: pasidDetach,
  [TestOp.PASID_CHECK_HWPT]: pasidCheck,
  [TestOp.DMABUF_GET]: dmabufGet,
  [TestOp.DMABUF_REVOKE]: dmabufRevoke,
};

/** EOPNOTSUPP: no such operation, or none of this kernel's. */
export function testCmd(call: Call): void {
  const op = call.buffer.u32(4);
  const handler = op <= call.context.machine.kernel.testOpLast ? handlers[op] : undefined;
  (handler ?? fail('EOPNOTSUPP'))(call);
}

/** ADD_RESERVED: keeps a range free for good. EINVAL: no length; EOVERFLOW, ENOENT, EADDRINUSE. */
function addReserved({ buffer, context }: Call): void {
  const { at } = AddReserved;
  const first = buffer.big(at.start);
  const end = first + buffer.big(at.length);
  if (first === end) fail('EINVAL');
  if (end > ADDRESS_END) fail('EOVERFLOW');
  const ioas = context.objects.get(buffer.u32(at.id), Ioas);
  ioas.reserve({ first, end }, ioas);
}

/** MOCK_DOMAIN: a device that is attached. EINVAL: its flags; and what attaching answers. */
function mockDomain(call: Call, flags: number): void {
  const { buffer, context } = call;
  const { at } = MockDomain;
  const object = MockDeviceObject.create(context, flags);
  try {
    // It has its number, and is not there yet.
    if (buffer.u32(at.id) === object.id) fail('ENOENT');
    const hwptId = object.device.attach(buffer.u32(at.id));
    buffer.setU32(at.out_hwpt_id, hwptId);
    buffer.setU32(at.out_stdev_id, object.id);
    buffer.setU32(at.out_idev_id, object.device.id);
    respond(call);
  } catch (error) {
    context.objects.remove(object);
    throw error;
  }
}

function mockDevice({ context }: Call, id: number): BoundDevice {
  return context.objects.get(id, MockDeviceObject).device;
}

/** The mock IOMMU of a bound device. ENOENT; EINVAL: it has another one. */
function mockIommu({ context }: Call, id: number): { bound: BoundDevice; iommu: MockIommu } {
  const bound = context.objects.get(id, BoundDevice);
  const { iommu } = bound;
  return iommu instanceof MockIommu ? { bound, iommu } : fail('EINVAL');
}

function mockDomainReplace(call: Call): void {
  const { buffer } = call;
  const { at } = MockDomainReplace;
  const device = mockDevice(call, buffer.u32(at.id));
  buffer.setU32(at.pt_id, device.replace(buffer.u32(at.pt_id)));
  respond(call);
}

/** MD_CHECK_IOTLB. ENOENT: no nested page table; EINVAL. */
function checkIotlb({ buffer, context }: Call): void {
  const { at } = CheckIotlb;
  const { table } = context.objects.get(buffer.u32(at.id), NestedHwpt);
  if (!(table instanceof MockNested)) return fail('EINVAL');
  table.check(buffer.u32(at.entry), buffer.u32(at.iotlb));
}

/** DEV_CHECK_CACHE. ENOENT; EINVAL. */
function checkDevCache(call: Call): void {
  const { buffer } = call;
  const { at } = CheckDevCache;
  const entry = buffer.u32(at.entry);
  const { cache } = mockIommu(call, buffer.u32(at.id)).iommu;
  if (entry >= MOCK_CACHE_ENTRIES || cache[entry] !== buffer.u32(at.cache)) fail('EINVAL');
}

/** SET_TEMP_MEMORY_LIMIT: how much a kernel takes at once, which nothing here goes by. EINVAL. */
function setMemoryLimit({ buffer }: Call): void {
  if (buffer.u32(MemoryLimit.at.limit) < MEMORY_LIMIT_LEAST) fail('EINVAL');
}

/**
 * DIRTY: a device has written what the bits of the program's bitmap say. EINVAL: no unit, length or
 * bitmap, not aligned; EOVERFLOW: too many bits; ENOENT; EINVAL: no log is kept; EFAULT.
 */
function dirty(call: Call): void {
  const { buffer, caller } = call;
  const { at } = TestDirty;
  const iova = buffer.big(at.iova);
  const length = buffer.big(at.length);
  const unit = buffer.big(at.page_size);
  const address = buffer.u64(at.uptr);
  if (unit === 0n || length === 0n || address === 0) fail('EINVAL');
  if (iova % unit !== 0n || length % unit !== 0n) fail('EINVAL');
  const bits = length / unit;
  if (bits > DIRTY_BITS_MAX) fail('EOVERFLOW');
  const table = mockTable(call, buffer.u32(at.id));
  if (!table.isLogging) fail('EINVAL');
  const bitmap = new Uint8Array(Math.ceil(Number(bits) / 8));
  if (!caller.mm.copyFrom(address, bitmap)) fail('EFAULT');
  let count = 0;
  for (let bit = 0; bit < Number(bits); bit++) {
    if (((bitmap[bit >> 3]! >> (bit & 7)) & 1) === 0) continue;
    if (table.setDirty(iova + BigInt(bit) * unit)) count++;
  }
  buffer.setU64(at.out_nr_dirty, count);
  respond(call);
}

/**
 * TRIGGER_IOPF: a device asks for a page, and whoever answers gets it. Without a PASID its page
 * table's program does; with one that of the PASID, or if nothing is attached there that of its
 * nested page table. ENOENT, EINVAL.
 */
function triggerIopf(call: Call): void {
  const { buffer } = call;
  const { at } = TriggerIopf;
  const { bound, iommu } = mockIommu(call, buffer.u32(at.dev_id));
  const pasid = buffer.u32(at.pasid);
  const plain = bound.hwpt();
  const own = bound.hwpt(pasid);
  const at0 = own === null && plain instanceof NestedHwpt ? NO_PASID : pasid;
  const hwpt: Hwpt | null = bound.hwpt(at0);
  const device = iommu.asker(at0);
  if (hwpt === null || hwpt.fault === null || device === null) return;
  const address = buffer.big(at.addr);
  const group = buffer.u32(at.grpid);
  const asked = {
    level: 'flat',
    pasid: pasid === NO_PASID ? WITHOUT_PASID : pasid,
    group,
  } as const;
  const request = {
    ...asked,
    kind: 'page-request',
    iovaPage: Number(address / PAGE),
    address,
    access: buffer.u32(at.perm),
    last: true,
  } as const;
  hwpt.fault.queue.enqueue({ ...asked, device, requests: [request] });
}

/** TRIGGER_VEVENT. ENOENT: no such device, or it is behind no virtual IOMMU; EOPNOTSUPP. */
function triggerVevent(call: Call): void {
  const { iommu } = mockIommu(call, call.buffer.u32(TriggerVevent.at.dev_id));
  const { viommu, virtualId } = iommu;
  if (viommu === null || virtualId === 0n) return fail('ENOENT');
  const queue = viommu.events.find((each) => each.isOfTests) ?? fail('EOPNOTSUPP');
  queue.report(virtualId);
}

function pasidAttach(call: Call): void {
  const { buffer } = call;
  const { at } = PasidCmd;
  const device = mockDevice(call, buffer.u32(at.id));
  const pasid = buffer.u32(at.pasid);
  buffer.setU32(at.pt_id, device.attach(buffer.u32(at.pt_id), pasid));
  try {
    respond(call);
  } catch (error) {
    device.detach(pasid);
    throw error;
  }
}

function pasidReplace(call: Call): void {
  const { buffer } = call;
  const { at } = PasidCmd;
  const device = mockDevice(call, buffer.u32(at.id));
  buffer.setU32(at.pt_id, device.replace(buffer.u32(at.pt_id), buffer.u32(at.pasid)));
  respond(call);
}

function pasidDetach(call: Call): void {
  const { at } = PasidCmd;
  mockDevice(call, call.buffer.u32(at.id)).detach(call.buffer.u32(at.pasid));
}

/** PASID_CHECK_HWPT: what a PASID is attached to; 0: nothing. ENOENT, EINVAL. */
function pasidCheck(call: Call): void {
  const { buffer, context } = call;
  const { at } = PasidCmd;
  const attached = mockDevice(call, buffer.u32(at.id)).hwpt(buffer.u32(at.pasid));
  const id = buffer.u32(at.pt_id);
  if (id === 0) {
    if (attached !== null) fail('EINVAL');
    return;
  }
  const object = context.objects.any(id) ?? fail('ENOENT');
  if (!isHwpt(object) || attached !== object) fail('EINVAL');
}
