/**
 * read(2), write(2) and mmap(2) of a device file: which region an offset means, and what may be
 * done there (kernel: vfio_pci_rw, vfio_pci_core_mmap).
 */

import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import type { KernelProfile } from '../abi/kernel.js';
import { MAP_SHARED, MAP_SHARED_VALIDATE } from '../abi/linux.js';
import { PciBar, PciCapability, PciConfig, PciMsix, PciRegionIndex } from '../abi/pci.js';
import { REGION_OFFSET } from '../abi/vfio.js';
import type { Caller } from '../file/caller.js';
import type { MappedPart, MmapRequest } from '../file/file.js';
import { pagesUp } from '../mm/address-space.js';
import { findCapability, memoryEnabled, readConfig16, readConfig32 } from './config-access.js';
import type { PciFunction, RegionArea } from './pci-function.js';

const { ROM, CONFIG, VGA, BAR5, COUNT } = PciRegionIndex;
const MAP_TYPE = 0x0f;

/** A transfer is cut into pieces of this many bytes, so that a huge count costs no memory. */
const PIECE_BYTES = 4096;
const buffer = new ArgumentBuffer(PIECE_BYTES);

/** The bytes of a BAR that hold the MSI-X table, which vfio keeps for itself: [start, end). */
interface MsixTable {
  readonly bar: number;
  readonly start: number;
  readonly end: number;
}

export class RegionAccess {
  private readonly msix: MsixTable | null;
  /** Where the power management capability is; 0: the function has none. */
  private readonly power: number;
  /** What `locate` found: the region, where in it, and how many bytes of it. */
  private index = 0;
  private position = 0;
  private length = 0;

  constructor(
    private readonly pciFunction: PciFunction,
    private readonly kernel: KernelProfile,
  ) {
    this.msix = findMsixTable(pciFunction);
    this.power = findCapability(pciFunction, PciCapability.PM);
  }

  /**
   * Returns the bytes read: fewer at the end of a region. EINVAL, EFAULT, EIO where the memory of
   * BARs is off.
   */
  read(caller: Caller, address: number, count: number, offset: number): number {
    if (count === 0) return 0;
    this.locate(offset, count);
    const { index, position, length } = this;
    for (let done = 0; done < length; ) {
      const piece = buffer.prefix(Math.min(PIECE_BYTES, length - done));
      this.transfer(index, position + done, piece, false);
      if (!caller.mm.copyTo(address + done, piece)) fail('EFAULT');
      done += piece.length;
    }
    return length;
  }

  /** Returns the bytes written. As `read`; EINVAL for the ROM. */
  write(caller: Caller, address: number, count: number, offset: number): number {
    if (count === 0) return 0;
    this.locate(offset, count);
    const { index, position, length } = this;
    if (index === ROM) fail('EINVAL');
    for (let done = 0; done < length; ) {
      const piece = buffer.prefix(Math.min(PIECE_BYTES, length - done));
      if (!caller.mm.copyFrom(address + done, piece)) fail('EFAULT');
      this.transfer(index, position + done, piece, true);
      done += piece.length;
    }
    return length;
  }

  /** Whether a BAR has these bytes and vfio does not keep them for the MSI-X table. */
  canWrite(bar: number, position: number, width: number): boolean {
    const { size } = this.pciFunction.regions[bar]!;
    if (position + width > size) return false;
    const table = this.msix?.bar === bar ? this.msix : null;
    return !table || position + width <= table.start || position >= table.end;
  }

  /**
   * A load of `into.length` bytes (1, 2, 4 or 8) from a mapped BAR, at an offset of the file.
   * False: its memory is off, nothing answers, and the program gets SIGBUS (kernel:
   * vfio_pci_mmap_huge_fault).
   */
  load(offset: number, into: Uint8Array): boolean {
    if (!this.decodes(indexOf(offset))) return false;
    this.pciFunction.readRegion(indexOf(offset), offset % REGION_OFFSET, into);
    return true;
  }

  /** A store; as `load`. */
  store(offset: number, from: Uint8Array): boolean {
    if (!this.decodes(indexOf(offset))) return false;
    this.pciFunction.writeRegion(indexOf(offset), offset % REGION_OFFSET, from);
    return true;
  }

  /**
   * EINVAL unless the range lies in a BAR that may be mapped, and in its sparse areas where it has
   * some. Returns the parts of the range, from its start, that are not memory of the device's file.
   */
  mmap(request: MmapRequest): readonly MappedPart[] {
    const index = indexOf(request.offset);
    const start = request.offset % REGION_OFFSET;
    const end = start + request.length;
    const type = request.flags & MAP_TYPE;
    if (type !== MAP_SHARED && type !== MAP_SHARED_VALIDATE) fail('EINVAL');
    const region = index <= BAR5 ? this.pciFunction.regions[index] : undefined;
    if (!region?.mappable || end > pagesUp(region.size)) fail('EINVAL');
    if (
      region.sparse &&
      !region.sparse.some((area) => start >= area.offset && end <= area.offset + area.size)
    ) {
      fail('EINVAL');
    }
    const within = (area: RegionArea): MappedPart[] => {
      const from = Math.max(area.offset, start);
      const to = Math.min(pagesUp(area.offset + area.size), pagesUp(end));
      return from < to ? [{ offset: from - start, size: to - from }] : [];
    };
    const trapped = (region.trapped ?? []).flatMap(within);
    if (region.files === undefined) return trapped;
    const ofFiles = region.files.flatMap((area) =>
      within(area).map((part) => {
        const offset = area.fileOffset + start + part.offset - area.offset;
        return { ...part, file: { fd: area.fd, offset } };
      }),
    );
    return [...trapped, ...ofFiles];
  }

  private locate(offset: number, count: number): void {
    const index = indexOf(offset);
    const position = offset % REGION_OFFSET;
    const region = index < COUNT && index !== VGA ? this.pciFunction.regions[index] : undefined;
    if (!region) fail('EINVAL');
    if (index === CONFIG) {
      if (position + count > region.size) fail('EFAULT');
      this.length = count;
    } else {
      if (position >= region.size) fail('EINVAL');
      this.length = Math.min(count, region.size - position);
    }
    this.index = index;
    this.position = position;
  }

  private transfer(index: number, position: number, bytes: Uint8Array, isWrite: boolean): void {
    const widest = index === CONFIG ? 4 : this.kernel.barAccess;
    const memory =
      index <= BAR5 && (this.pciFunction.decodes !== undefined || !this.isIoBar(index));
    for (let done = 0; done < bytes.length; ) {
      const at = position + done;
      const table = this.msix && this.msix.bar === index ? this.msix : null;
      const width = accessWidth(at, bytes.length - done, widest, table);
      const piece = width === bytes.length ? bytes : bytes.subarray(done, done + width);
      if (table && at >= table.start && at < table.end) {
        if (!isWrite) piece.fill(0xff);
      } else {
        if (memory && !this.decodes(index)) fail('EIO');
        if (isWrite) this.pciFunction.writeRegion(index, at, piece);
        else this.pciFunction.readRegion(index, at, piece);
      }
      done += width;
    }
  }

  private decodes(bar: number): boolean {
    const { pciFunction, power } = this;
    return pciFunction.decodes?.(bar) ?? memoryEnabled(pciFunction, power);
  }

  private isIoBar(index: number): boolean {
    return (
      (readConfig16(this.pciFunction, PciConfig.BASE_ADDRESS_0 + 4 * index) & PciBar.SPACE_IO) !== 0
    );
  }
}

/** The region that an offset of a device file lies in. */
function indexOf(offset: number): number {
  return Math.floor(offset / REGION_OFFSET);
}

/**
 * The widest naturally aligned access at `at` that neither passes the end nor an edge of the MSI-X
 * table.
 */
function accessWidth(at: number, left: number, widest: number, table: MsixTable | null): number {
  let room = left;
  if (table && at >= table.start && at < table.end) return Math.min(left, table.end - at);
  if (table && at < table.start) room = Math.min(room, table.start - at);
  for (let width = widest; width > 1; width /= 2)
    if (room >= width && at % width === 0) return width;
  return 1;
}

function findMsixTable(pciFunction: PciFunction): MsixTable | null {
  const at = findCapability(pciFunction, PciCapability.MSIX);
  if (at === 0) return null;
  const entries = (readConfig16(pciFunction, at + PciMsix.FLAGS) & PciMsix.TABLE_SIZE) + 1;
  const table = readConfig32(pciFunction, at + PciMsix.TABLE);
  const start = (table & ~PciMsix.BAR_INDEX) >>> 0;
  return { bar: table & PciMsix.BAR_INDEX, start, end: start + entries * PciMsix.ENTRY_SIZE };
}
