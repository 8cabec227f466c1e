/**
 * A program's side of a device, for tests: memory, an IOMMU that maps it, and the device file's
 * calls.
 */
import { PciConfig, PciRegionIndex } from '../../src/abi/pci.js';
import type { DeviceHost } from '../../src/device/device-host.js';
import type { CommandFaults, DeviceFaults } from '../../src/device/faults.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { Domain } from '../../src/iommu/domain.js';
import type { DeviceFaultHandler } from '../../src/iommu/page-request.js';
import { FaultReport, PageResponse } from '../../src/iommu/page-request.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import {
  allocatePlain,
  type DmaBuffer,
  type FrameMemory,
  type SegmentList,
} from '../../src/mm/frame-memory.js';
import type { InterruptSink, PciFunction } from '../../src/vfio/pci-function.js';

/** Frame f of the program's memory is at IOVA page f + IOVA_BASE_PAGE. */
export const IOVA_BASE_PAGE = 0x100;
/** The first frame of device memory. */
const DEVICE_FRAME = 2 ** 40;

/**
 * Flat memory; frames that are `gone` cannot be reached. Keeps a list of what was copied, in order.
 */
export class FlatMemory implements FrameMemory {
  readonly bytes: Uint8Array;
  readonly gone = new Set<number>();
  calls = 0;
  #deviceMemory: DmaBuffer | null = null;
  /** Off: pieces of a page or more are counted and not copied, for benches. */
  copies = true;
  /** Called before each copy. */
  beforeCopy: ((list: SegmentList, write: boolean) => void) | null = null;

  constructor(readonly pages: number) {
    this.bytes = new Uint8Array(pages * PAGE_SIZE);
  }

  read(list: SegmentList): number {
    return this.#copy(list, false);
  }

  write(list: SegmentList): number {
    return this.#copy(list, true);
  }

  /** Gives device memory frames of its own, far behind those of the program. */
  frameOf(buffer: DmaBuffer): number {
    this.#deviceMemory = buffer;
    return DEVICE_FRAME;
  }

  #copy(list: SegmentList, write: boolean): number {
    this.calls++;
    this.beforeCopy?.(list, write);
    let done = 0;
    for (let index = 0; index < list.count; index++) {
      if (!this.copies && list.length[index]! >= PAGE_SIZE) {
        done += list.length[index]!;
        continue;
      }
      const start = list.frame[index]! * PAGE_SIZE + list.offset[index]!;
      const device = list.buffer[index]!.bytes;
      const at = list.bufferOffset[index]!;
      if (list.frame[index]! >= DEVICE_FRAME) {
        const length = list.length[index]!;
        const own = this.#deviceMemory!.bytes.subarray(start - DEVICE_FRAME * PAGE_SIZE);
        if (own.length < length) throw new Error('the device reaches beyond its own memory');
        if (write) own.set(device.subarray(at, at + length));
        else device.set(own.subarray(0, length), at);
        done += length;
        continue;
      }
      if (at + list.length[index]! > device.length)
        throw new Error('the device reaches beyond its own memory');
      const reachable =
        this.gone.size === 0 ? list.length[index]! : this.#reachable(start, list.length[index]!);
      if (write) this.bytes.set(device.subarray(at, at + reachable), start);
      else device.set(this.bytes.subarray(start, start + reachable), at);
      done += reachable;
      if (reachable < list.length[index]!) break;
    }
    return done;
  }

  #reachable(start: number, length: number): number {
    for (let at = start; at < start + length; at = (Math.floor(at / PAGE_SIZE) + 1) * PAGE_SIZE) {
      if (this.gone.has(Math.floor(at / PAGE_SIZE))) return at - start;
    }
    return length;
  }
}

/** Records what a device signals. */
export class RecordingSink implements InterruptSink {
  readonly events: string[] = [];
  level = false;
  intx(asserted: boolean): void {
    this.level = asserted;
    this.events.push(`intx ${asserted ? 1 : 0}`);
  }
  msi(vector: number): void {
    this.events.push(`msi ${vector}`);
  }
  msix(vector: number): void {
    this.events.push(`msix ${vector}`);
  }
  take(): string[] {
    return this.events.splice(0);
  }
}

export interface ProgramOptions {
  readonly pages?: number;
  /** Pages are mapped by faults, not up front. */
  readonly faulting?: boolean;
  /** On purpose. */
  readonly commands?: CommandFaults;
  readonly faults?: (iommu: IommuDevice) => DeviceFaults;
}

/** A program with memory, and the host and IOMMU for one device. */
export class Program {
  readonly memory: FlatMemory;
  readonly domain = new Domain();
  readonly iommu = new IommuDevice({ address: '0000:02:00.0' });
  readonly sink = new RecordingSink();
  readonly regions = new Map<number, DmaBuffer>();
  readonly host: DeviceHost;
  /** IOVA pages that were asked for by faults. */
  readonly faults: number[] = [];
  /** Frames whose faults are refused. */
  readonly refusedFrames = new Set<number>();
  /** Called by the fault handler before it maps a page. */
  beforeFault: ((iovaPage: number) => void) | null = null;

  /** `openBlockFile` is the host's. */
  constructor(options: ProgramOptions = {}, openBlockFile?: DeviceHost['openBlockFile']) {
    this.memory = new FlatMemory(options.pages ?? 4096);
    this.host = {
      ...(openBlockFile ? { openBlockFile } : {}),
      ...(options.commands
        ? {
            faults: {
              translator: null,
              gate: null,
              commands: options.commands,
              link: null,
              own: null,
            },
          }
        : {}),
      ...(options.faults ? { faults: options.faults(this.iommu) } : {}),
      frames: this.memory,
      allocate: allocatePlain,
      frameOf: (buffer) => this.memory.frameOf(buffer),
      regionMemory: (index, bytes) => {
        const memory = allocatePlain(bytes);
        this.regions.set(index, memory);
        return memory;
      },
    };
    this.iommu.attach(this.domain);
    if (options.faulting) {
      this.iommu.handlers.register(this.#handler(), FaultReport.FLAT);
      this.iommu.enableIopf();
    } else {
      this.domain.map(IOVA_BASE_PAGE, 0, this.memory.pages, READ | WRITE);
    }
  }

  get surroundings() {
    return { address: this.iommu.address, iommu: this.iommu, host: this.host };
  }

  /** IOVA of the byte at `offset` of memory. */
  iova(offset: number): number {
    return offset + IOVA_BASE_PAGE * PAGE_SIZE;
  }

  unmapFrame(frame: number): void {
    this.domain.unmap(frame + IOVA_BASE_PAGE, 1);
  }

  #handler(): DeviceFaultHandler {
    return {
      answer: (_device, iovaPage) => {
        this.faults.push(iovaPage);
        this.beforeFault?.(iovaPage);
        const frame = iovaPage - IOVA_BASE_PAGE;
        if (frame < 0 || frame >= this.memory.pages || this.refusedFrames.has(frame)) {
          return PageResponse.INVALID;
        }
        this.memory.gone.delete(frame);
        if (this.domain.frameAt(iovaPage) < 0) this.domain.map(iovaPage, frame, 1, READ | WRITE);
        return PageResponse.SUCCESS;
      },
      // biome-ignore lint/correctness/useYield: a flow by its interface; answers at once
      *handle() {
        return PageResponse.FAILURE;
      },
      pageLost: (_device, iovaPage) => {
        this.domain.unmap(iovaPage, 1);
      },
    };
  }
}

export function read(
  device: PciFunction,
  region: number,
  offset: number,
  length: number,
): Uint8Array {
  const bytes = new Uint8Array(length);
  device.readRegion(region, offset, bytes);
  return bytes;
}

export function read32(device: PciFunction, region: number, offset: number): number {
  return new DataView(read(device, region, offset, 4).buffer).getUint32(0, true);
}

export function write32(device: PciFunction, region: number, offset: number, value: number): void {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  device.writeRegion(region, offset, bytes);
}

/** Sets the command register. */
export function command(device: PciFunction, value: number): void {
  device.writeRegion(
    PciRegionIndex.CONFIG,
    PciConfig.COMMAND,
    Uint8Array.of(value & 0xff, value >> 8),
  );
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
