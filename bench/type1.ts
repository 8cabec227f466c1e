/**
 * MAP_DMA and UNMAP_DMA of one page as whole ioctls with their arguments, at 10 to 60,000 live
 * mappings; nothing is pinned.
 */
import { ContainerIoctl, GroupIoctl, Type1Ioctl, VfioExtension } from '../src/abi/vfio.js';
import { DmaMap, DmaUnmap } from '../src/abi/vfio-structs.js';
import { deviceKinds } from '../src/device/kinds.js';
import type { Caller } from '../src/file/caller.js';
import { DescriptorList } from '../src/file/descriptor-list.js';
import { IommuDevice } from '../src/iommu/device.js';
import type { AddressSpace } from '../src/mm/address-space.js';
import { allocatePlain } from '../src/mm/frame-memory.js';
import { createMachine } from '../src/vfio/machine.js';
import { median } from './figures.js';

const PAGE = 4096;
const VADDR = 0x100000000000;
const ROUNDS = 7;
const PAIRS = 100_000;

/** A process with one page of memory, at address 0, for arguments. */
const argument = new Uint8Array(PAGE);
const view = new DataView(argument.buffer);
const mm: AddressSpace = {
  id: 0,
  taskSize: 2 ** 47,
  invalidations: 0,
  lockedPages: 0,
  lockLimitPages: Number.POSITIVE_INFINITY,
  ipcLock: true,
  copyFrom(address, into) {
    for (let index = 0; index < into.length; index++) into[index] = argument[address + index]!;
    return true;
  },
  copyTo(address, from) {
    for (let index = 0; index < from.length; index++) argument[address + index] = from[index]!;
    return true;
  },
  pageIn: () => 0,
  pin: () => 0,
  unpin: () => undefined,
  accountLocked: () => undefined,
  subscribe: () => () => undefined,
};

const address = '0000:00:04.0';
const host = {
  frames: { read: () => 0, write: () => 0 },
  allocate: allocatePlain,
  regionMemory: (_index: number, bytes: number) => allocatePlain(bytes),
};
const edu = deviceKinds
  .get('edu')!
  .create({}, { address, iommu: new IommuDevice({ address }), host });
const machine = createMachine({ groups: [{ number: 1, functions: [edu] }], iopf: 'auto' });
const container = machine.openContainer();
const group = machine.openGroup(1);
const descriptors = new DescriptorList();
descriptors.install(container);
const caller: Caller = {
  mm,
  sysResource: false,
  file: (fd) => descriptors.file(fd),
  install: (file) => descriptors.install(file),
  reserve: (file) => descriptors.reserve(file),
};
view.setInt32(0, 0, true);
group.ioctl(caller, GroupIoctl.VFIO_GROUP_SET_CONTAINER, 0);
container.ioctl(caller, ContainerIoctl.VFIO_SET_IOMMU, VfioExtension.VFIO_TYPE1v2_IOMMU);

function putAddress(offset: number, value: number): void {
  view.setUint32(offset, value % 2 ** 32, true);
  view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
}

function map(page: number): void {
  view.setUint32(DmaMap.at.argsz, DmaMap.size, true);
  view.setUint32(DmaMap.at.flags, 3, true);
  putAddress(DmaMap.at.vaddr, VADDR + page * PAGE);
  putAddress(DmaMap.at.iova, page * PAGE);
  putAddress(DmaMap.at.size, PAGE);
  container.ioctl(caller, Type1Ioctl.VFIO_IOMMU_MAP_DMA, 0);
}

function unmap(page: number): void {
  view.setUint32(DmaUnmap.at.argsz, DmaUnmap.size, true);
  view.setUint32(DmaUnmap.at.flags, 0, true);
  putAddress(DmaUnmap.at.iova, page * PAGE);
  putAddress(DmaUnmap.at.size, PAGE);
  container.ioctl(caller, Type1Ioctl.VFIO_IOMMU_UNMAP_DMA, 0);
}

console.log('MAP_DMA and UNMAP_DMA of one page, as ioctls with their arguments');
let live = 0;
for (const wanted of [10, 1_000, 10_000, 60_000]) {
  // Every other page, so that a page between two can come and go.
  for (; live < wanted; live++) map(live * 2);
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    let state = 12_345;
    const began = performance.now();
    for (let pair = 0; pair < PAIRS; pair++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      const page = (state % wanted) * 2 + 1;
      map(page);
      unmap(page);
    }
    times.push(((performance.now() - began) / PAIRS) * 1e6);
  }
  console.log(`  ${wanted} live mappings: ${median(times).toFixed(0)} ns a pair`);
}
