/**
 * What it costs to look whether the pages in I/O page tables are still in memory
 * (`--reclaim-scan`): this process's own memory behind a container, faulted in as a device would.
 */
import { ContainerIoctl, GroupIoctl, Type1Ioctl, VfioExtension } from '../src/abi/vfio.js';
import { DmaMap } from '../src/abi/vfio-structs.js';
import { deviceKinds } from '../src/device/kinds.js';
import type { Caller } from '../src/file/caller.js';
import { DescriptorList } from '../src/file/descriptor-list.js';
import { IommuDevice } from '../src/iommu/device.js';
import { READ, WRITE } from '../src/mm/address-space.js';
import { allocatePlain } from '../src/mm/frame-memory.js';
import { allocateNative } from '../src/mm/process/libc.js';
import { PresenceScan } from '../src/mm/process/presence-scan.js';
import { ProcessSpace } from '../src/mm/process/space.js';
import { createMachine } from '../src/vfio/machine.js';
import { median, processorTime } from './figures.js';

const PAGE = 4096;
const BYTES = 512 * 2 ** 20;
const PAGES = BYTES / PAGE;
const GIB_PAGES = 2 ** 30 / PAGE;
const IOVA = 2 ** 32;
const SLICE_PAGES = 8192;
const ROUNDS = 15;

const mm = new ProcessSpace(0, process.pid, {
  deviceFiles: new Map(),
  sharesZeroPage: false,
  taskSize: 2 ** 47,
});
const scan = new PresenceScan();
const argument = allocateNative(PAGE);
const view = new DataView(argument.bytes.buffer, 0, PAGE);
const address = '0000:00:04.0';
const host = {
  frames: { read: () => 0, write: () => 0 },
  allocate: allocatePlain,
  regionMemory: (_index: number, bytes: number) => allocatePlain(bytes),
};

/** Milliseconds of CPU of a pass over the pages of which `isUsed`, and how many those are. */
function measure(isUsed: (page: number) => boolean): { ms: number; pages: number } {
  const iommu = new IommuDevice({ address });
  const edu = deviceKinds.get('edu')!.create({}, { address, iommu, host });
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
  group.ioctl(caller, GroupIoctl.VFIO_GROUP_SET_CONTAINER, argument.address);
  container.ioctl(caller, ContainerIoctl.VFIO_SET_IOMMU, VfioExtension.VFIO_TYPE1v2_IOMMU);
  const memory = allocateNative(BYTES);
  view.setUint32(DmaMap.at.argsz, DmaMap.size, true);
  view.setUint32(DmaMap.at.flags, READ | WRITE, true);
  view.setBigUint64(DmaMap.at.vaddr, BigInt(memory.address), true);
  view.setBigUint64(DmaMap.at.iova, BigInt(IOVA), true);
  view.setBigUint64(DmaMap.at.size, BigInt(BYTES), true);
  container.ioctl(caller, Type1Ioctl.VFIO_IOMMU_MAP_DMA, argument.address);
  for (let page = 0; page < PAGES; page++) {
    if (!isUsed(page)) continue;
    memory.bytes[page * PAGE] = 1;
    iommu.fault(IOVA / PAGE + page, READ | WRITE);
  }
  const pages = machine.counters.residentPages;
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const began = process.cpuUsage();
    while (scan.step(mm, SLICE_PAGES));
    times.push(processorTime(began) / 1000);
  }
  if (machine.counters.pagesReclaimed !== 0) console.log('  (pages were reclaimed meanwhile)');
  group.release();
  container.release();
  return { ms: median(times), pages };
}

let state = 1;
const random = (): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
console.log('\nreclaim scan: CPU of a pass, median');
const cases: [name: string, isUsed: (page: number) => boolean][] = [
  ['all pages in I/O page tables', () => true],
  ['every 8th page', (page) => page % 8 === 0],
  ['every 64th page', (page) => page % 64 === 0],
  ['1 page of 10 at random', () => random() < 0.1],
];
for (const [name, isUsed] of cases) {
  const { ms, pages } = measure(isUsed);
  const perGib = (ms * GIB_PAGES) / pages;
  console.log(
    `  ${name.padEnd(30)} ${pages} pages: ${ms.toFixed(2)} ms, ${perGib.toFixed(1)} ms per GiB of them`,
  );
}
