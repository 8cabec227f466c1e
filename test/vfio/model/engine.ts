/** Runs a program's calls on the engine, as a process would make them. */
import { errnoName, VfioError } from '../../../src/abi/errno.js';
import type { KernelVersion } from '../../../src/abi/kernel.js';
import { readStruct, type StructLayout, writeStruct } from '../../../src/abi/layout.js';
import { ContainerIoctl, GroupIoctl, Type1Ioctl } from '../../../src/abi/vfio.js';
import {
  DirtyBitmap,
  DirtyBitmapGet,
  DmaAvailCap,
  DmaMap,
  DmaUnmap,
  IommuType1Info,
  VfioBitmap,
} from '../../../src/abi/vfio-structs.js';
import type { Process } from '../../../src/conformance/process.js';
import { silentFunction } from '../../../src/device/silent-function.js';
import type { VfioFile } from '../../../src/file/file.js';
import { IommuDevice } from '../../../src/iommu/device.js';
import { Counters } from '../../../src/iommu/observer.js';
import { PAGE_SIZE, READ, WRITE } from '../../../src/mm/address-space.js';
import { SimulatedMemory } from '../../../src/mm/simulated-memory.js';
import { createMachine } from '../../../src/vfio/machine.js';
import { ARGUMENTS, modelProcess } from '../../model-process.js';
import { BITMAP, type Call, ENTRY_LIMIT, type Outcome } from './program.js';

const GROUP = 1;
const DMA_AVAILABLE = 3;

export class Engine {
  readonly memory = new SimulatedMemory();
  readonly counters = new Counters();
  readonly iommu = new IommuDevice({ address: '0000:00:01.0' });
  readonly process: Process;
  private readonly container: VfioFile;
  private readonly containerFd: number;
  private readonly group: VfioFile;

  constructor(kernel: KernelVersion) {
    const machine = createMachine({
      kernel,
      iopf: 'off',
      counters: this.counters,
      dmaEntryLimit: ENTRY_LIMIT,
      groups: [{ number: GROUP, functions: [silentFunction(this.iommu)] }],
    });
    this.process = modelProcess(this.memory);
    this.process.mm.mmap(Number(BITMAP.base) / PAGE_SIZE, 1, 'anon', READ | WRITE);
    this.container = machine.openContainer();
    this.containerFd = this.process.install(this.container);
    this.group = machine.openGroup(GROUP);
    this.process.install(this.group);
    this.run({ op: 'setContainer' });
    this.run({ op: 'setIommu', type: 3 });
  }

  get bitmap(): bigint {
    const bytes = new Uint8Array(BITMAP.bytes);
    this.process.mm.copyFrom(Number(BITMAP.base), bytes);
    return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
  }

  run(call: Call): Outcome {
    try {
      return { errno: null, size: this.answer(call) };
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      return { errno: errnoName(error.errno), size: 0n };
    }
  }

  private answer(call: Call): bigint {
    switch (call.op) {
      case 'map': {
        const { iova, size, vaddr, flags } = call;
        this.call(
          Type1Ioctl.VFIO_IOMMU_MAP_DMA,
          writeStruct(DmaMap, { argsz: DmaMap.size, flags, iova, size, vaddr }),
        );
        return 0n;
      }
      case 'unmap': {
        const { iova, size, flags } = call;
        return this.unmap(writeStruct(DmaUnmap, { argsz: DmaUnmap.size, flags, iova, size }));
      }
      case 'unmapBitmap': {
        const { iova, size, bytes } = call;
        const argsz = DmaUnmap.size + VfioBitmap.size;
        return this.unmap(
          join(writeStruct(DmaUnmap, { argsz, flags: 1, iova, size }), userBitmap(bytes)),
        );
      }
      case 'dirty':
        this.call(
          Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES,
          writeStruct(DirtyBitmap, { argsz: DirtyBitmap.size, flags: call.flags }),
        );
        return 0n;
      case 'getBitmap': {
        const { iova, size, bytes } = call;
        const argsz = DirtyBitmap.size + DirtyBitmapGet.size;
        const get = writeStruct(DirtyBitmapGet, { iova, size }).subarray(
          0,
          DirtyBitmapGet.at['bitmap.pgsize'],
        );
        this.call(
          Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES,
          join(writeStruct(DirtyBitmap, { argsz, flags: 4 }), get, userBitmap(bytes)),
        );
        return 0n;
      }
      case 'fillBitmap':
        this.process.mm.copyTo(Number(BITMAP.base), new Uint8Array(BITMAP.bytes).fill(call.byte));
        return 0n;
      case 'available':
        return this.available();
      case 'unsetContainer':
        this.group.ioctl(this.process, GroupIoctl.VFIO_GROUP_UNSET_CONTAINER, 0);
        return 0n;
      case 'setContainer':
        this.process.mm.copyTo(ARGUMENTS, Uint8Array.of(this.containerFd, 0, 0, 0));
        this.group.ioctl(this.process, GroupIoctl.VFIO_GROUP_SET_CONTAINER, ARGUMENTS);
        return 0n;
      case 'setIommu':
        this.container.ioctl(this.process, ContainerIoctl.VFIO_SET_IOMMU, call.type);
        return 0n;
    }
  }

  private call(request: number, bytes: Uint8Array): void {
    this.process.mm.copyTo(ARGUMENTS, bytes);
    this.container.ioctl(this.process, request, ARGUMENTS);
  }

  private unmap(bytes: Uint8Array): bigint {
    this.call(Type1Ioctl.VFIO_IOMMU_UNMAP_DMA, bytes);
    return BigInt(this.read(DmaUnmap, 0).size!);
  }

  /** From the capability chain of GET_INFO. */
  private available(): bigint {
    const bytes = new Uint8Array(512);
    bytes.set(writeStruct(IommuType1Info, { argsz: bytes.length }));
    this.call(Type1Ioctl.VFIO_IOMMU_GET_INFO, bytes);
    let at = Number(this.read(IommuType1Info, 0).cap_offset);
    for (; at !== 0; at = Number(this.read(DmaAvailCap, at).next)) {
      const capability = this.read(DmaAvailCap, at);
      if (capability.id === DMA_AVAILABLE) return BigInt(capability.avail!);
    }
    throw new Error('no DMA_AVAIL capability');
  }

  private read<N extends string>(layout: StructLayout<N>, offset: number) {
    const bytes = new Uint8Array(layout.size);
    this.process.mm.copyFrom(ARGUMENTS + offset, bytes);
    return readStruct(layout, bytes);
  }
}

function userBitmap(bytes: bigint): Uint8Array {
  return writeStruct(VfioBitmap, { pgsize: PAGE_SIZE, size: bytes, data: BITMAP.base });
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
