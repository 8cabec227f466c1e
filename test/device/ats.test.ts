import { describe, expect, it } from 'vitest';
import { HwptPageResponse, HwptPgfault } from '../../src/abi/iommufd-structs.js';
import { writeStruct } from '../../src/abi/layout.js';
import { PciCommand, PciRegionIndex } from '../../src/abi/pci.js';
import { AtsCommand, AtsRegister } from '../../src/device/ats/ats-device.js';
import { ats } from '../../src/device/ats/kind.js';
import { FaultQueue } from '../../src/iommu/fault-queue.js';
import { FaultReport } from '../../src/iommu/page-request.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { command, IOVA_BASE_PAGE, Program, read32, write32 } from './program.js';

const { RUN, FROM_MEMORY } = AtsCommand;

function started({ faulting = false }: { faulting?: boolean } = {}) {
  const program = new Program({ pages: 8, faulting });
  const device = ats.create({}, program.surroundings);
  device.open(program.sink);
  command(device, PciCommand.MEMORY | PciCommand.MASTER);
  const run = (iova: number, bits: number): void => {
    write32(device, 0, AtsRegister.ADDRESS, iova);
    write32(device, 0, AtsRegister.ADDRESS + 4, 0);
    write32(device, 0, AtsRegister.COMMAND, bits | RUN);
  };
  const isRunning = (): boolean => (read32(device, 0, AtsRegister.COMMAND) & RUN) !== 0;
  return { program, device, run, isRunning };
}

/** The same with a program that answers page requests, and nothing mapped. */
function asking() {
  const made = started();
  const { domain, iommu } = made.program;
  domain.unmap(IOVA_BASE_PAGE, 8);
  const queue = new FaultQueue(() => 1);
  iommu.handlers.register(queue, FaultReport.FLAT);
  iommu.enableIopf();
  const requests = (): number[] => {
    const records = new Uint8Array(10 * HwptPgfault.size);
    const view = new DataView(records.buffer, 0, queue.read(records));
    return Array.from({ length: view.byteLength / HwptPgfault.size }, (_, i) =>
      view.getUint32(i * HwptPgfault.size + HwptPgfault.at.cookie, true),
    );
  };
  const answer = (cookie: number, code: number): void => {
    queue.write(writeStruct(HwptPageResponse, { cookie, code }));
    made.device.poll();
  };
  return { ...made, queue, requests, answer };
}

describe('the ats device', () => {
  it('has ATS and PRI, switched on, which programs can only read', () => {
    const { device } = started();
    const long = (offset: number): number => read32(device, PciRegionIndex.CONFIG, offset);
    expect(long(0)).toBe(0x11e91234);
    expect(long(8)).toBe(0x00ff0002);
    expect(long(0x100)).toBe(0x1081000f);
    expect(long(0x104)).toBe(0x80000020);
    write32(device, PciRegionIndex.CONFIG, 0x104, 0);
    expect(long(0x104)).toBe(0x80000020);
    expect(long(0x108)).toBe(0x00010013);
    expect(long(0x10c)).toBe(1);
    expect(device.iommu.hasPri).toBe(true);
  });

  it('moves a page from memory to its buffer, and from there to memory', () => {
    const { program, run, isRunning } = started();
    program.memory.bytes.fill(0x42, 0, PAGE_SIZE);
    run(program.iova(0), FROM_MEMORY);
    run(program.iova(3 * PAGE_SIZE + 8), 0);
    expect(isRunning()).toBe(false);
    expect(program.memory.bytes.indexOf(0x42, PAGE_SIZE)).toBe(3 * PAGE_SIZE + 8);
    expect(program.memory.bytes.lastIndexOf(0x42)).toBe(4 * PAGE_SIZE + 7);
  });

  it('finds what is faulted in while it waits', () => {
    const { program, run, isRunning } = started({ faulting: true });
    run(program.iova(PAGE_SIZE), FROM_MEMORY);
    expect([isRunning(), program.faults]).toEqual([false, [IOVA_BASE_PAGE + 1]]);
  });

  it('asks for each page that is missing and goes on where it was once it is there', () => {
    const { program, run, isRunning, requests, answer } = asking();
    program.memory.bytes.fill(0x42, 100, 100 + PAGE_SIZE);
    run(program.iova(100), FROM_MEMORY);
    for (const frame of [0, 1]) {
      expect(isRunning()).toBe(true);
      const [cookie] = requests();
      program.domain.map(IOVA_BASE_PAGE + frame, frame, 1, READ | WRITE);
      answer(cookie!, 0);
    }
    expect([isRunning(), requests()]).toEqual([false, []]);
    program.memory.bytes.fill(0);
    run(program.iova(0), 0);
    expect(program.memory.bytes.subarray(0, PAGE_SIZE).every((byte) => byte === 0x42)).toBe(true);
  });

  it('asks again where nothing was mapped, and gives up where the answer is INVALID', () => {
    const { program, run, isRunning, requests, answer } = asking();
    run(program.iova(0), FROM_MEMORY);
    answer(requests()[0]!, 0);
    const again = requests();
    expect([isRunning(), again.length]).toEqual([true, 1]);
    answer(again[0]!, 1);
    expect([isRunning(), requests()]).toEqual([false, []]);
  });

  it('takes no other work while it runs, and forgets it with a reset', () => {
    const { program, device, run, isRunning, queue } = asking();
    run(program.iova(0), FROM_MEMORY);
    write32(device, 0, AtsRegister.ADDRESS, 0x5000);
    expect(read32(device, 0, AtsRegister.ADDRESS)).toBe(program.iova(0));
    device.reset();
    expect(isRunning()).toBe(false);
    device.iommu.reset();
    expect(queue.unread).toBe(0);
  });
});
