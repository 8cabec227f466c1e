import { describe, expect, it } from 'vitest';
import { readStruct, writeStruct } from '../../src/abi/layout.js';
import { DmaMapFlag, IopfIoctl, Type1Ioctl, VfioExtension } from '../../src/abi/vfio.js';
import { IommuType1Info, IopfCap } from '../../src/abi/vfio-structs.js';
import { eduCopy } from '../../src/conformance/edu-copy.js';
import { FaultReport } from '../../src/iommu/page-request.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { TestContainer } from '../ioas/iopf/container.js';
import { BUFFER, errnoOf, Kit } from './kit.js';

const { VFIO_IOPF } = VfioExtension;
const { VFIO_DMA_MAP_FLAG_PINNED } = DmaMapFlag;
const IOPF_CAPABILITY = 4;

/** The IOPF capability of GET_INFO, or null where the chain has none. */
function iopfCapability(kit: Kit): { flags: number; premap: number; last: boolean } | null {
  const bytes = new Uint8Array(512);
  bytes.set(writeStruct(IommuType1Info, { argsz: bytes.length }));
  const out = kit.call(kit.container, Type1Ioctl.VFIO_IOMMU_GET_INFO, bytes);
  const view = new DataView(out.buffer);
  let at = view.getUint32(IommuType1Info.at.cap_offset, true);
  for (; at !== 0; at = view.getUint32(at + IopfCap.at.next, true)) {
    const capability = readStruct(IopfCap, out.subarray(at));
    if (capability.id !== IOPF_CAPABILITY) continue;
    return {
      flags: Number(capability.flags),
      premap: Number(capability.premap_pages),
      last: capability.next === 0,
    };
  }
  return null;
}

function fillBuffer(kit: Kit, page: number, byte: number): void {
  kit.mm.space.fillPages(BUFFER / PAGE_SIZE + page, 1, byte);
}

function bufferByte(kit: Kit, page: number): number {
  const bytes = new Uint8Array(1);
  kit.mm.copyFrom(BUFFER + page * PAGE_SIZE, bytes);
  return bytes[0]!;
}

describe('a container with IOPF off', () => {
  it('shows nothing of it, as docs/iopf-abi.md says', () => {
    const kit = new Kit({ iopf: 'off' }).ready();
    expect(kit.checkExtension(VFIO_IOPF)).toBe(0);
    expect(iopfCapability(kit)).toBeNull();
    expect(
      errnoOf(() => kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_ENABLE_IOPF, 0)),
    ).toBe('ENOTTY');
    expect(
      errnoOf(() => kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_DISABLE_IOPF, 0)),
    ).toBe('ENOTTY');
    expect(errnoOf(() => kit.map(0, 1, 0, READ | VFIO_DMA_MAP_FLAG_PINNED))).toBe('EINVAL');
  });

  it('pins and accounts what is mapped, and nothing after it is unmapped', () => {
    const kit = new Kit({ iopf: 'off' }).ready();
    kit.map(0x100, 16);
    expect(kit.counters.pinnedPages).toBe(16);
    expect(kit.mm.lockedPages).toBe(16);
    expect(kit.unmap(0x100, 16)).toBe(16);
    expect([kit.counters.pinnedPages, kit.counters.residentPages, kit.mm.lockedPages]).toEqual([
      0, 0, 0,
    ]);
    expect(kit.counters.pinnedPagesPeak).toBe(16);
  });
});

describe('a container with IOPF on by default', () => {
  it('R5.9: says so by extension and by the last capability of the chain', () => {
    const kit = new Kit({ premapPages: 8 });
    expect(kit.checkExtension(VFIO_IOPF)).toBe(1);
    kit.ready();
    expect(iopfCapability(kit)).toEqual({ flags: 3, premap: 8, last: true });
  });

  it('R5.9: has no extension where a device of the container cannot fault', () => {
    const kit = new Kit({ iopf: 'ask', groups: [{ canFault: false }] }).ready();
    expect(kit.checkExtension(VFIO_IOPF)).toBe(0);
    expect(iopfCapability(kit)?.flags).toBe(0);
  });

  it('R6.1: MAP_DMA pins and maps nothing; the device faults in what it touches; UNMAP removes it', () => {
    const kit = new Kit().ready();
    kit.openDevice(1);
    fillBuffer(kit, 3, 0xab);
    kit.map(0x100, 64);
    expect([kit.counters.pinnedPages, kit.counters.residentPages, kit.mm.lockedPages]).toEqual([
      0, 0, 0,
    ]);
    eduCopy(kit.functions[0]!, 0x103 * PAGE_SIZE, 0x110 * PAGE_SIZE, 16);
    expect(bufferByte(kit, 0x10)).toBe(0xab);
    expect(kit.counters.pagesFaultedIn).toBe(2);
    expect(kit.counters.residentPages).toBe(2);
    expect(kit.unmap(0x100, 64)).toBe(64);
    expect(kit.counters.residentPages).toBe(0);
    expect(kit.counters.pinnedPagesPeak).toBe(0);
  });

  it('R3.1: the device gets the new page after the program has replaced the old one, never the old one', () => {
    const kit = new Kit().ready();
    kit.openDevice(1);
    kit.map(0x100, 4);
    fillBuffer(kit, 0, 0x11);
    eduCopy(kit.functions[0]!, 0x100 * PAGE_SIZE, 0x101 * PAGE_SIZE, 16);
    expect(bufferByte(kit, 1)).toBe(0x11);
    kit.mm.mmap(BUFFER / PAGE_SIZE, 1, 'anon', READ | WRITE);
    fillBuffer(kit, 0, 0x22);
    eduCopy(kit.functions[0]!, 0x100 * PAGE_SIZE, 0x101 * PAGE_SIZE, 16);
    expect(bufferByte(kit, 1)).toBe(0x22);
  });

  it('falls back to static pins where a device cannot fault, as the program asked for nothing', () => {
    const kit = new Kit({ groups: [{ canFault: false }] }).ready();
    kit.map(0x100, 4);
    expect(kit.counters.pinnedPages).toBe(4);
    expect(iopfCapability(kit)?.flags).toBe(0);
  });

  it('goes back to static pins when a device that cannot fault joins', () => {
    const kit = new Kit({ groups: [{}, { canFault: false }] }).ready();
    kit.map(0x100, 4);
    expect(kit.counters.pinnedPages).toBe(0);
    kit.addGroup(2);
    expect(kit.counters.pinnedPages).toBe(4);
    expect(iopfCapability(kit)?.flags).toBe(0);
  });

  it('R7.2: a PINNED mapping is pinned, accounted and never faults', () => {
    const kit = new Kit().ready();
    kit.openDevice(1);
    fillBuffer(kit, 0, 0x33);
    kit.map(0x100, 4, 0, READ | WRITE | VFIO_DMA_MAP_FLAG_PINNED);
    expect([kit.counters.pinnedPages, kit.mm.lockedPages]).toEqual([4, 4]);
    eduCopy(kit.functions[0]!, 0x100 * PAGE_SIZE, 0x101 * PAGE_SIZE, 16);
    expect(bufferByte(kit, 1)).toBe(0x33);
    expect(kit.counters.faults).toBe(0);
    expect(kit.unmap(0x100, 4)).toBe(4);
    expect([kit.counters.pinnedPages, kit.mm.lockedPages, kit.memory.pinned]).toEqual([0, 0, 0]);
  });

  it('R5.11: release leaves no pin, no account, no resident page and no notifier', () => {
    const kit = new Kit({ groups: [{}, {}] }).ready();
    kit.addGroup(2);
    kit.openDevice(2);
    kit.map(0x100, 8);
    kit.map(0x200, 4, 8, READ | VFIO_DMA_MAP_FLAG_PINNED);
    eduCopy(kit.functions[1]!, 0x100 * PAGE_SIZE, 0x101 * PAGE_SIZE, 16);
    kit.process.exit();
    expect([
      kit.counters.pinnedPages,
      kit.counters.residentPages,
      kit.counters.mappedPages,
    ]).toEqual([0, 0, 0]);
    expect([kit.memory.pinned, kit.mm.space.notifierCount]).toEqual([0, 0]);
    expect(kit.functions.map((each) => each.iommu.domain)).toEqual([null, null]);
    expect(errnoOf(() => kit.machine.openGroup(1))).toBeNull();
  });
});

describe('a container that is asked for IOPF', () => {
  const enable = (kit: Kit): number =>
    kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_ENABLE_IOPF, 0);
  const disable = (kit: Kit): number =>
    kit.container.ioctl(kit.process, IopfIoctl.VFIO_IOMMU_DISABLE_IOPF, 0);

  it('R5.8: ENABLE unpins and de-accounts what is mapped, which stays mapped', () => {
    const kit = new Kit({ iopf: 'ask' }).ready();
    kit.openDevice(1);
    for (let page = 0; page < 4; page++) fillBuffer(kit, page, 0x44);
    kit.map(0x100, 4);
    expect(kit.counters.pinnedPages).toBe(4);
    expect(enable(kit)).toBe(0);
    expect([kit.counters.pinnedPages, kit.counters.residentPages, kit.mm.lockedPages]).toEqual([
      0, 4, 0,
    ]);
    eduCopy(kit.functions[0]!, 0x100 * PAGE_SIZE, 0x101 * PAGE_SIZE, 16);
    expect(kit.counters.faults).toBe(0);
    expect(enable(kit)).toBe(0);
  });

  it('R5.10: DISABLE pins and maps everything again', () => {
    const kit = new Kit({ iopf: 'ask' }).ready();
    enable(kit);
    kit.map(0x100, 4);
    expect(disable(kit)).toBe(0);
    expect([kit.counters.pinnedPages, kit.counters.residentPages, kit.mm.lockedPages]).toEqual([
      4, 4, 4,
    ]);
    expect(disable(kit)).toBe(0);
  });

  it('R5.10: DISABLE that may not lock so much is ENOMEM, and the container works on with IOPF', () => {
    const kit = new Kit({ iopf: 'ask' }).ready();
    kit.openDevice(1);
    enable(kit);
    kit.mm.space.ipcLock = false;
    kit.mm.space.lockLimitPages = 2;
    kit.map(0x100, 4);
    fillBuffer(kit, 0, 0x55);
    expect(errnoOf(() => disable(kit))).toBe('ENOMEM');
    expect([kit.counters.pinnedPages, kit.mm.lockedPages, kit.memory.pinned]).toEqual([0, 0, 0]);
    eduCopy(kit.functions[0]!, 0x100 * PAGE_SIZE, 0x101 * PAGE_SIZE, 16);
    expect(bufferByte(kit, 1)).toBe(0x55);
  });

  it('R5.1: a device that cannot fault fails ENABLE with ENODEV, and everything is as before', () => {
    const kit = new Kit({ iopf: 'ask', groups: [{}, { canFault: false }] });
    kit.addGroup(1);
    kit.addGroup(2);
    kit.setIommu();
    kit.map(0x100, 4);
    expect(errnoOf(() => enable(kit))).toBe('ENODEV');
    expect([kit.counters.pinnedPages, kit.mm.lockedPages]).toEqual([4, 4]);
    expect(kit.functions.map((each) => each.iommu.iopfEnabled)).toEqual([false, false]);
  });

  it('R5.5: a group that cannot fault does not join an enabled container: ENODEV, and it is as it was', () => {
    const kit = new Kit({ iopf: 'ask', groups: [{}, { canFault: false }] }).ready();
    enable(kit);
    kit.map(0x100, 4);
    expect(errnoOf(() => kit.addGroup(2))).toBe('ENODEV');
    expect(kit.functions[1]!.iommu.domain).toBeNull();
    expect(kit.functions[0]!.iommu.iopfEnabled).toBe(true);
    expect(kit.counters.mappedPages).toBe(4);
  });

  it('R5.4: what fails says why by its errno, never by -1, and leaves IOPF as it was', () => {
    const kit = new Kit({ iopf: 'ask', groups: [{}, { canFault: false }] }).ready();
    const { iommu } = kit.functions[0]!;
    const { handler } = new TestContainer().iopf;
    iommu.handlers.register(handler, FaultReport.FLAT);
    iommu.enableIopf();
    expect(errnoOf(() => enable(kit))).toBe('EBUSY');
    expect([iommu.handlers.flat, iommu.iopfEnabled, iopfCapability(kit)!.flags & 1]).toEqual([
      handler,
      true,
      0,
    ]);
    iommu.disableIopf();
    expect(errnoOf(() => enable(kit))).toBe('EBUSY');
    expect([iommu.handlers.flat, iommu.iopfEnabled]).toEqual([handler, false]);
    iommu.handlers.unregister(handler);
    expect(errnoOf(() => enable(kit))).toBeNull();

    expect(errnoOf(() => kit.addGroup(2))).toBe('ENODEV');
    kit.mm.space.ipcLock = false;
    kit.mm.space.lockLimitPages = 2;
    expect(errnoOf(() => kit.map(0x100, 4, 0, READ | VFIO_DMA_MAP_FLAG_PINNED))).toBe('ENOMEM');
    kit.map(0x100, 4);
    expect(errnoOf(() => disable(kit))).toBe('ENOMEM');
    expect(errnoOf(() => kit.map(0x102, 4))).toBe('EEXIST');
    expect([iopfCapability(kit)!.flags & 1, iommu.iopfEnabled]).toEqual([1, true]);
    expect([kit.counters.mappedPages, kit.counters.pinnedPages, kit.mm.lockedPages]).toEqual([
      4, 0, 0,
    ]);
  });

  it('before SET_IOMMU ENABLE is EINVAL, as every call of the IOMMU', () => {
    const kit = new Kit({ iopf: 'ask' });
    expect(errnoOf(() => enable(kit))).toBe('EINVAL');
  });
});
