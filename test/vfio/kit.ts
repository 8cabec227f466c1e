/** A machine, a process and a container in it, for tests of the VFIO files. */
import { Errno, VfioError } from '../../src/abi/errno.js';
import {
  type FieldValues,
  readStruct,
  type StructLayout,
  writeStruct,
} from '../../src/abi/layout.js';
import { ContainerIoctl, GroupIoctl, Type1Ioctl, VfioExtension } from '../../src/abi/vfio.js';
import { DmaMap, DmaUnmap } from '../../src/abi/vfio-structs.js';
import { Process } from '../../src/conformance/process.js';
import { ProcessMemory } from '../../src/conformance/process-memory.js';
import { deviceKinds } from '../../src/device/kinds.js';
import type { VfioFile } from '../../src/file/file.js';
import { IommuDevice } from '../../src/iommu/device.js';
import type { IommuProperties } from '../../src/iommu/geometry.js';
import { Counters } from '../../src/iommu/observer.js';
import { TableMemory } from '../../src/iommu/stage1.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { allocatePlain } from '../../src/mm/frame-memory.js';
import { SimulatedMemory } from '../../src/mm/simulated-memory.js';
import { createMachine, type Machine, type MachineOptions } from '../../src/vfio/machine.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';

/** Where the program's buffer lies, and where arguments are put. */
export const BUFFER = 0x1000_0000;
export const ARGUMENTS = 0x2000_0000;
export const BUFFER_PAGES = 1024;

export interface GroupSpec {
  readonly canFault?: boolean;
  readonly geometry?: IommuProperties;
}

export type KitOptions = Omit<MachineOptions, 'groups' | 'counters'> & {
  readonly groups?: readonly GroupSpec[];
};

/** One edu device per group; groups count from 1, devices are 0000:00:01.0, 0000:00:02.0, … */
export class Kit {
  readonly memory = new SimulatedMemory();
  readonly counters = new Counters();
  readonly machine: Machine;
  readonly process: Process;
  readonly functions: PciFunction[];
  readonly container: VfioFile;
  readonly containerFd: number;
  private readonly groupFds: number[] = [];

  constructor(options: KitOptions = {}) {
    const { groups = [{}], ...rest } = options;
    this.functions = groups.map((group, i) =>
      this.edu(`0000:00:0${i + 1}.0`, group.canFault ?? true),
    );
    this.machine = createMachine({
      ...rest,
      counters: this.counters,
      tables: new TableMemory(this.memory, allocatePlain),
      groups: groups.map((group, i) => ({
        number: i + 1,
        functions: [this.functions[i]!],
        ...(group.geometry ? { geometry: group.geometry } : {}),
      })),
    });
    this.process = new Process(this.newMemory());
    this.container = this.machine.openContainer();
    this.containerFd = this.process.install(this.container);
  }

  get mm(): ProcessMemory {
    return this.process.mm;
  }

  /** Opens a group and puts it into the container. */
  addGroup(number: number): void {
    this.openGroup(number);
    this.setContainer(number);
  }

  openGroup(number: number): void {
    this.groupFds[number] = this.process.install(this.machine.openGroup(number));
  }

  setContainer(number: number): void {
    const group = this.process.get(this.groupFds[number]!).what as VfioFile;
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setInt32(0, this.containerFd, true);
    this.call(group, GroupIoctl.VFIO_GROUP_SET_CONTAINER, bytes);
  }

  closeGroup(number: number): void {
    this.process.close(this.groupFds[number]!);
  }

  setIommu(type: number = VfioExtension.VFIO_TYPE1v2_IOMMU): void {
    this.container.ioctl(this.process, ContainerIoctl.VFIO_SET_IOMMU, type);
  }

  /** Group 1 in the container, with a type1 IOMMU of version 2. */
  ready(): this {
    this.addGroup(1);
    this.setIommu();
    return this;
  }

  /** Opens the device of a group and switches bus mastering on. */
  openDevice(number: number): VfioFile {
    const { address } = this.functions[number - 1]!;
    const group = this.process.get(this.groupFds[number]!).what as VfioFile;
    const name = Buffer.from(`${address}\0`);
    this.mm.space.copyTo(ARGUMENTS, name);
    const fd = group.ioctl(this.process, GroupIoctl.VFIO_GROUP_GET_DEVICE_FD, ARGUMENTS);
    return this.process.get(fd).what as VfioFile;
  }

  /** Makes a call with these argument bytes and returns them as they are after it. */
  call(file: VfioFile, request: number, bytes: Uint8Array): Uint8Array {
    this.mm.space.copyTo(ARGUMENTS, bytes);
    file.ioctl(this.process, request, ARGUMENTS);
    const out = new Uint8Array(bytes.length);
    this.mm.space.copyFrom(ARGUMENTS, out);
    return out;
  }

  callStruct<N extends string>(
    file: VfioFile,
    request: number,
    layout: StructLayout<N>,
    values: Partial<FieldValues<N>>,
  ): Partial<FieldValues<N>> {
    return readStruct(layout, this.call(file, request, writeStruct(layout, values)));
  }

  /** VFIO_IOMMU_MAP_DMA of whole pages of the buffer, in pages. */
  map(iovaPage: number, pages: number, bufferPage = 0, flags = READ | WRITE): void {
    this.callStruct(this.container, Type1Ioctl.VFIO_IOMMU_MAP_DMA, DmaMap, {
      argsz: DmaMap.size,
      flags,
      vaddr: BUFFER + bufferPage * PAGE_SIZE,
      iova: iovaPage * PAGE_SIZE,
      size: BigInt(pages) * BigInt(PAGE_SIZE),
    });
  }

  /** VFIO_IOMMU_UNMAP_DMA; returns how many pages it was for. */
  unmap(iovaPage: number, pages: number, flags = 0): number {
    const out = this.callStruct(this.container, Type1Ioctl.VFIO_IOMMU_UNMAP_DMA, DmaUnmap, {
      argsz: DmaUnmap.size,
      flags,
      iova: iovaPage * PAGE_SIZE,
      size: BigInt(pages) * BigInt(PAGE_SIZE),
    });
    return Number(out.size) / PAGE_SIZE;
  }

  checkExtension(extension: number): number {
    return this.container.ioctl(this.process, ContainerIoctl.VFIO_CHECK_EXTENSION, extension);
  }

  /** A process with an empty buffer. */
  newMemory(): ProcessMemory {
    const mm = ProcessMemory.create(this.memory, {
      zeroPageUnshared: true,
      lockLimitPages: Number.POSITIVE_INFINITY,
      ipcLock: true,
    });
    mm.mmap(ARGUMENTS / PAGE_SIZE, 4, 'anon', READ | WRITE);
    mm.mmap(BUFFER / PAGE_SIZE, BUFFER_PAGES, 'anon', READ | WRITE);
    return mm;
  }

  private edu(address: string, canFault: boolean): PciFunction {
    const host = {
      frames: this.memory,
      allocate: allocatePlain,
      regionMemory: (_index: number, bytes: number) => allocatePlain(bytes),
    };
    const iommu = new IommuDevice({ address, canFault, counters: this.counters });
    return deviceKinds.get('edu')!.create({}, { address, iommu, host });
  }
}

/** The errno's name that a call fails with; null where it does not. */
export function errnoOf(call: () => unknown): string | null {
  try {
    call();
    return null;
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    return Object.entries(Errno).find(([, number]) => number === error.errno)![0];
  }
}
