/** A device on a bench: memory, an IOMMU that maps it, and the calls of its driver. */
import { PciCommand, PciConfig, PciInterruptIndex, PciRegionIndex } from '../../abi/pci.js';
import { Random } from '../../abi/random.js';
import type { DeviceKind } from '../../device/kind.js';
import { IommuDevice } from '../../iommu/device.js';
import { Domain } from '../../iommu/domain.js';
import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import { allocatePlain, type FrameMemory, type SegmentList } from '../../mm/frame-memory.js';
import type { InterruptSink, PciFunction } from '../../vfio/pci-function.js';

export const MEMORY_PAGES = 64;
/** IOVA of the first byte of memory. */
export const MEMORY_IOVA = 0x100000;
const FIRST_PAGE = MEMORY_IOVA / PAGE_SIZE;
const ADDRESS = '0000:01:00.0';
/** Beyond all of a program's memory. */
const DEVICE_FRAME = 2 ** 40;

/** Flat memory that counts what reaches it. */
class BenchMemory implements FrameMemory {
  readonly bytes = new Uint8Array(MEMORY_PAGES * PAGE_SIZE);
  copies = 0;
  /** Frames whose pages were taken, and during which transfer. */
  readonly gone = new Map<number, number>();
  private transfers = 0;
  /** Accesses to frames that were gone before their transfer began. */
  staleAccesses = 0;
  /** Called before each copy. */
  beforeCopy: (() => void) | null = null;

  read(list: SegmentList): number {
    return this.copy(list, false);
  }

  write(list: SegmentList): number {
    return this.copy(list, true);
  }

  /** The page of a frame goes, in the middle of the transfer that is under way. */
  take(frame: number): void {
    if (!this.gone.has(frame)) this.gone.set(frame, this.transfers);
  }

  private copy(list: SegmentList, isWrite: boolean): number {
    this.transfers++;
    this.beforeCopy?.();
    let done = 0;
    for (let index = 0; index < list.count; index++) {
      let frame = list.frame[index]!;
      let offset = list.offset[index]!;
      let at = list.bufferOffset[index]!;
      const { bytes } = list.buffer[index]!;
      for (let left = list.length[index]!; left > 0; frame++, offset = 0) {
        const length = Math.min(left, PAGE_SIZE - offset);
        const taken = this.gone.get(frame);
        if (taken !== undefined) {
          if (taken < this.transfers) this.staleAccesses++;
          return done;
        }
        if (frame < MEMORY_PAGES) {
          this.copies++;
          const start = frame * PAGE_SIZE + offset;
          if (isWrite) this.bytes.set(bytes.subarray(at, at + length), start);
          else bytes.set(this.bytes.subarray(start, start + length), at);
        }
        left -= length;
        at += length;
        done += length;
      }
    }
    return done;
  }
}

/** What a device has signalled. */
class BenchSink implements InterruptSink {
  pins = 0;
  messages: { readonly index: number; readonly vector: number }[] = [];

  intx(asserted: boolean): void {
    if (asserted) this.pins++;
  }

  msi(vector: number): void {
    this.messages.push({ index: PciInterruptIndex.MSI, vector });
  }

  msix(vector: number): void {
    this.messages.push({ index: PciInterruptIndex.MSIX, vector });
  }
}

export class Bench {
  readonly memory = new BenchMemory();
  readonly sink = new BenchSink();
  readonly pciFunction: PciFunction;
  readonly random: Random;
  nowUs = 0;
  private readonly domain = new Domain();

  constructor(kind: DeviceKind, options: Readonly<Record<string, string>>, seed: number) {
    this.random = new Random(seed);
    const iommu = new IommuDevice({ address: ADDRESS });
    iommu.attach(this.domain);
    this.mapAll();
    this.pciFunction = kind.create(options, {
      address: ADDRESS,
      iommu,
      host: {
        frames: this.memory,
        allocate: allocatePlain,
        frameOf: () => DEVICE_FRAME,
        regionMemory: (_index, bytes) => allocatePlain(bytes),
        nowUs: () => this.nowUs,
      },
    });
  }

  /** Opened, with memory decoding on and, unless told else, bus mastering. */
  open(command: number = PciCommand.MEMORY | PciCommand.MASTER): this {
    this.pciFunction.open(this.sink);
    this.write(PciRegionIndex.CONFIG, PciConfig.COMMAND, 2, command);
    return this;
  }

  mapAll(): void {
    this.domain.map(FIRST_PAGE, 0, MEMORY_PAGES, READ | WRITE);
  }

  /** Takes a page from the IOMMU; -1: all. */
  unmap(page: number): void {
    if (page < 0) this.domain.unmap(FIRST_PAGE, MEMORY_PAGES);
    else this.domain.unmap(FIRST_PAGE + page, 1);
  }

  /** Little-endian, unsigned; 1, 2 or 4 bytes. */
  read(region: number, offset: number, size: number): number {
    const bytes = new Uint8Array(size);
    this.pciFunction.readRegion(region, offset, bytes);
    return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
  }

  write(region: number, offset: number, size: number, value: number): void {
    const bytes = Uint8Array.from({ length: size }, (_, byte) =>
      Math.floor((value >>> 0) / 2 ** (8 * byte)),
    );
    this.pciFunction.writeRegion(region, offset, bytes);
  }

  /** Time passes, and the device has turns; some never stop, so they are counted. */
  settle(turns = 64): void {
    for (let turn = 0; turn < turns; turn++) {
      this.nowUs += 1000;
      if (!this.pciFunction.poll() && turn > 2) return;
    }
  }

  /** Random accesses of BARs. Values are addresses of memory as often as not. */
  fuzz(accesses: number): void {
    const { random } = this;
    const bars = [...this.pciFunction.regions.entries()].filter(
      ([index, { size }]) => index < PciRegionIndex.ROM && size > 0,
    );
    const below = (end: number): number => random.below(end);
    for (let access = 0; bars.length > 0 && access < accesses; access++) {
      const [index, { size: bytes }] = bars[below(bars.length)]!;
      const size = [1, 2, 4, 4, 4, 8][below(6)]!;
      // Registers lie together, at the start.
      const room = below(2) === 0 ? Math.min(bytes, 256) : bytes;
      const offset = Math.max(0, Math.min(below(room / size) * size, bytes - size));
      if (size > bytes) continue;
      const value = [
        below(2 ** 32),
        below(16),
        MEMORY_IOVA + below(MEMORY_PAGES) * PAGE_SIZE,
        2 ** below(32),
      ][below(4)]!;
      if (below(3) === 0) this.read(index, offset, size);
      else this.write(index, offset, size, value);
      if (below(8) === 0) this.settle(4);
    }
    this.settle();
  }

  /** Each word of each BAR, up to 64 KiB of it, as a program reads it. */
  snapshot(): ReadonlyMap<string, number> {
    const found = new Map<string, number>();
    for (const [index, { size }] of this.pciFunction.regions.entries())
      for (let at = 0; index < PciRegionIndex.ROM && at + 4 <= Math.min(size, 65536); at += 4)
        found.set(`BAR ${index} at 0x${at.toString(16)}`, this.read(index, at, 4));
    return found;
  }
}
