/**
 * What the actors of a scenario can do, each on the paths that ship.
 *
 * An operation begins with a point where others may come in, and ends with what it came to: an errno name or `ok` for calls.
 */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { Errno, errnoName, VfioError } from '../abi/errno.js';
import { HwptPageResponse, HwptPgfault } from '../abi/iommufd.js';
import { DirtyPagesFlag, DmaMapFlag, Type1Ioctl } from '../abi/vfio.js';
import { DirtyBitmap, DirtyBitmapGet, DmaMap, DmaUnmap } from '../abi/vfio-structs.js';
import { type Flow, freshStep, step, type Wait } from '../flow/flow.js';
import type { IommuDevice } from '../iommu/device.js';
import { FaultQueue } from '../iommu/fault-queue.js';
import { FaultReport } from '../iommu/page-request.js';
import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import { SimulatedSpace } from '../mm/simulated.js';
import type { Caller } from '../vfio/file.js';
import type { World } from './world.js';

/** First IOVA page and first virtual page of every scenario. */
export const IOVA = 0x200;
export const VADDR = 0x10200;
/** Where a program's call arguments lie: beside its memory, so that making a call touches no page. */
const ARGUMENT = 2 ** 46;
const BITMAP_AT = 128;
const BITMAP_BYTES = 128;

const DirtyFlag = {
  START: DirtyPagesFlag.VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  STOP: DirtyPagesFlag.VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  GET_BITMAP: DirtyPagesFlag.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
} as const;

/** An actor is between two operations: all it knows is what they returned. */
export class Operation implements Wait {
  constructor(
    private readonly verb: string,
    private readonly first = -1,
    private readonly count = 0,
    private readonly tail = '',
  ) {}

  get what(): string {
    if (this.first < 0) return `${this.verb}${this.tail}`;
    const range =
      this.count === 1 ? hex(this.first) : `[${hex(this.first)}, ${hex(this.first + this.count)})`;
    return `${this.verb} ${range}${this.tail}`;
  }

  ready(): boolean {
    return true;
  }
}

export function hex(page: number): string {
  return `0x${page.toString(16)}`;
}

function accessName(access: number): string {
  return access === READ ? 'read' : access === WRITE ? 'write' : 'read/write';
}

/** Memory of a program, with a place for call arguments that is no page. */
export class ProgramSpace extends SimulatedSpace {
  readonly argument = new ArgumentBuffer(BITMAP_AT + BITMAP_BYTES);

  override copyFrom(address: number, into: Uint8Array): boolean {
    if (address < ARGUMENT) return super.copyFrom(address, into);
    const from = this.argument.bytes;
    for (let i = 0; i < into.length; i++) into[i] = from[address - ARGUMENT + i]!;
    return true;
  }

  override copyTo(address: number, from: Uint8Array): boolean {
    if (address < ARGUMENT) return super.copyTo(address, from);
    this.argument.bytes.set(from, address - ARGUMENT);
    return true;
  }
}

export interface MapOptions {
  /** Page of the program's memory, from `VADDR` on; default: as the IOVA. */
  readonly to?: number;
  readonly permission?: number;
  readonly pinned?: boolean;
}

/** A process with the container open. */
export class Program implements Caller {
  constructor(
    private readonly world: World,
    readonly mm: ProgramSpace,
  ) {}

  file(): null {
    return null;
  }

  install(): number {
    throw new VfioError(Errno.EMFILE);
  }

  /** VFIO_IOMMU_MAP_DMA of `count` pages from `page` on (0: the first of the scenario). */
  *map(page: number, count: number, options: MapOptions = {}): Flow<string> {
    yield new Operation('MAP_DMA', IOVA + page, count, options.pinned ? ' PINNED' : '');
    const { argument } = this.mm;
    argument.setU32(DmaMap.at.argsz, DmaMap.size);
    const flags =
      (options.permission ?? READ | WRITE) | (options.pinned ? DmaMapFlag.VFIO_DMA_MAP_FLAG_PINNED : 0);
    argument.setU32(DmaMap.at.flags, flags);
    argument.setPages(DmaMap.at.vaddr, VADDR + (options.to ?? page));
    argument.setPages(DmaMap.at.iova, IOVA + page);
    argument.setPages(DmaMap.at.size, count);
    return this.call(Type1Ioctl.VFIO_IOMMU_MAP_DMA);
  }

  /** VFIO_IOMMU_UNMAP_DMA. */
  *unmap(page: number, count: number): Flow<string> {
    yield new Operation('UNMAP_DMA', IOVA + page, count);
    const { argument } = this.mm;
    argument.setU32(DmaUnmap.at.argsz, DmaUnmap.size);
    argument.setU32(DmaUnmap.at.flags, 0);
    argument.setPages(DmaUnmap.at.iova, IOVA + page);
    argument.setPages(DmaUnmap.at.size, count);
    return this.call(Type1Ioctl.VFIO_IOMMU_UNMAP_DMA);
  }

  /** VFIO_IOMMU_ENABLE_IOPF. */
  *enable(): Flow<string> {
    yield new Operation('ENABLE_IOPF');
    return yield* this.world.result(this.world.type1.iopf!.enable());
  }

  /** VFIO_IOMMU_DISABLE_IOPF. */
  *disable(): Flow<string> {
    yield new Operation('DISABLE_IOPF');
    return yield* this.world.result(this.world.type1.iopf!.disable());
  }

  /** VFIO_GROUP_SET_CONTAINER. */
  *attach(group: number): Flow<string> {
    yield new Operation(`SET_CONTAINER group ${group}`);
    return yield* this.world.result(this.world.attach(this.world.group(group)));
  }

  /** VFIO_GROUP_UNSET_CONTAINER. */
  *detach(group: number): Flow<string> {
    yield new Operation(`UNSET_CONTAINER group ${group}`);
    return yield* this.world.result(this.world.detach(this.world.group(group)));
  }

  /** Starts the dirty log, or stops it. */
  *logDirty(on: boolean): Flow<string> {
    yield new Operation(`DIRTY_PAGES ${on ? 'START' : 'STOP'}`);
    const { START, STOP } = DirtyFlag;
    return this.dirtyPages(on ? START : STOP);
  }

  /** Reports the dirty pages, which are clean from then on. */
  *reportDirty(): Flow<string> {
    yield new Operation('DIRTY_PAGES GET_BITMAP');
    const { argument } = this.mm;
    const get = DirtyBitmap.size;
    argument.setPages(get + DirtyBitmapGet.at.iova, IOVA);
    argument.setPages(get + DirtyBitmapGet.at.size, this.world.pages);
    argument.setU64(get + DirtyBitmapGet.at['bitmap.pgsize'], PAGE_SIZE);
    argument.setU64(get + DirtyBitmapGet.at['bitmap.size'], BITMAP_BYTES);
    argument.setU64(get + DirtyBitmapGet.at['bitmap.data'], ARGUMENT + BITMAP_AT);
    argument.bytes.fill(0, BITMAP_AT);
    const result = this.dirtyPages(DirtyFlag.GET_BITMAP);
    if (result === 'ok') this.world.dirtyReported(argument.bytes.subarray(BITMAP_AT));
    return result;
  }

  /** The container's descriptor is closed: every group leaves, and everything goes. */
  *close(): Flow<string> {
    yield new Operation('close container');
    return yield* this.world.result(this.world.close());
  }

  /** The program writes pages of its own memory. */
  *touch(page: number, count = 1): Flow<string> {
    yield new Operation('touches', VADDR + page, count);
    return this.mm.fillPages(VADDR + page, count, 1)
      ? this.world.note('ok', 0)
      : this.world.note('SIGSEGV', 11);
  }

  private dirtyPages(flags: number): string {
    const { argument } = this.mm;
    argument.setU32(DirtyBitmap.at.argsz, DirtyBitmap.size + DirtyBitmapGet.size);
    argument.setU32(DirtyBitmap.at.flags, flags);
    return this.call(Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES);
  }

  private call(request: number): string {
    const { world } = this;
    const before = world.containerPrint();
    try {
      world.type1.ioctl(this, request, ARGUMENT);
      return world.note('ok', 0);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      world.failedCall(before, error);
      return world.note(errnoName(error.errno), error.errno);
    }
  }
}

/** A device that does DMA. */
export class Device {
  constructor(
    private readonly world: World,
    readonly iommu: IommuDevice,
  ) {}

  /** The fault queue of its first stage, once a guest has opened one. */
  faultQueue: FaultQueue | null = null;

  openQueue(): void {
    this.faultQueue = new FaultQueue(() => 1);
    this.iommu.handlers.register(this.faultQueue, FaultReport.NESTED_L1);
  }

  /** Function-level reset: it waits for no answer any more. */
  *reset(): Flow<void> {
    yield new Operation(`reset of ${this.iommu.address}`);
    this.iommu.reset();
  }

  read(page: number): Flow<boolean> {
    return this.access(page, READ);
  }

  write(page: number): Flow<boolean> {
    return this.access(page, WRITE);
  }

  /** One access: translated, or asked for and tried again, three times at most. True: it reached memory. */
  *access(page: number, access: number): Flow<boolean> {
    const iovaPage = IOVA + page;
    yield new Operation(accessName(access), iovaPage, 1);
    const { world, iommu } = this;
    for (let tries = 0; tries < 3; tries++) {
      const frame = iommu.translate(iovaPage, access);
      if (frame >= 0) {
        world.reached(this, iovaPage, access, frame);
        return world.note(true, 1);
      }
      world.asked(iovaPage, access);
      const answered = yield* iommu.faultFlow(iovaPage, access);
      world.answered(iovaPage, access);
      if (!answered) return world.note(false, 0);
      world.note(null, tries);
      yield RETRY;
    }
    return world.note(false, 0);
  }

  /** Reports a page request and does nothing with its answer. */
  *fault(page: number, access: number): Flow<boolean> {
    yield new Operation(`page request ${accessName(access)}`, IOVA + page, 1);
    this.world.asked(IOVA + page, access);
    const answer = yield* this.iommu.faultFlow(IOVA + page, access);
    this.world.answered(IOVA + page, access);
    return this.world.note(answer, answer ? 1 : 0);
  }

  /** A group of page requests for several pages, answered once. */
  *faultGroup(pages: readonly number[], access: number, group: number): Flow<number | null> {
    yield new Operation(`page request group ${group} ${accessName(access)}`, IOVA + pages[0]!, pages.length);
    let code: number | null = null;
    for (let i = 0; i < pages.length; i++) {
      const iovaPage = IOVA + pages[i]!;
      const last = i === pages.length - 1;
      const level = this.iommu.nested ? 'stage2' : 'flat';
      this.world.asked(iovaPage, access);
      code = (yield* this.iommu.report({
        kind: 'page-request',
        iovaPage,
        access,
        pasid: -1,
        group,
        last,
        level,
      })).code;
      if (!last) yield PARTIAL;
    }
    for (const page of pages) this.world.answered(IOVA + page, access);
    return this.world.note(code, code ?? 9);
  }

  /** A page request at a level, as it is reported; returns the errno. */
  *report(page: number, access: number, level: 'flat' | 'stage1' | 'stage2', group: number): Flow<number> {
    yield new Operation(`page request ${level} ${accessName(access)}`, IOVA + page, 1);
    const iovaPage = IOVA + page;
    this.world.asked(iovaPage, access);
    const fault = { kind: 'page-request', iovaPage, access, pasid: -1, group, last: true, level } as const;
    const { errno } = yield* this.iommu.report(fault);
    this.world.answered(iovaPage, access);
    return this.world.note(errno, errno);
  }
}

/** A guest that owns the first stage of a device: reads page requests and answers them. */
export class Guest {
  private readonly records = new Uint8Array(8 * HwptPgfault.size);
  private readonly response = new ArgumentBuffer(HwptPageResponse.size);

  constructor(
    private readonly world: World,
    private readonly device: Device,
  ) {}

  /** Makes the fault queue of the device's first stage. */
  *open(): Flow<void> {
    yield new Operation('opens a fault queue');
    this.device.openQueue();
  }

  /** read(2) of what there is; returns the cookie of the first group, or 0. */
  *read(): Flow<number> {
    yield new Operation('reads the fault queue');
    const bytes = this.device.faultQueue!.read(this.records);
    const view = new DataView(this.records.buffer);
    const cookie = bytes === 0 ? 0 : view.getUint32(HwptPgfault.at.cookie, true);
    return this.world.note(cookie, cookie);
  }

  /** write(2) of an answer. */
  *respond(cookie: number, code: number): Flow<string> {
    yield new Operation(`answers cookie ${cookie} with ${code === 0 ? 'SUCCESS' : 'INVALID'}`);
    this.response.setU32(HwptPageResponse.at.cookie, cookie);
    this.response.setU32(HwptPageResponse.at.code, code);
    try {
      this.device.faultQueue!.write(this.response.bytes);
      return this.world.note('ok', 0);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      return this.world.note(errnoName(error.errno), error.errno);
    }
  }
}

/** The host's memory management, which takes pages away with a window between telling and doing. */
export class Host {
  constructor(private readonly world: World) {}

  /** Another frame behind a page, as migration and compaction do. */
  *migrate(page: number, count = 1): Flow<void> {
    yield new Operation('migrates', VADDR + page, count);
    yield* this.mm.migrateFlow(VADDR + page, count);
  }

  /** The program's memory is discarded (madvise MADV_DONTNEED). */
  *discard(page: number, count = 1): Flow<void> {
    yield new Operation('discards', VADDR + page, count);
    yield* this.mm.dontNeedFlow(VADDR + page, count);
  }

  /** munmap(2) by another thread of the program. */
  *munmap(page: number, count = 1): Flow<void> {
    yield new Operation('munmap', VADDR + page, count);
    yield* this.mm.munmapFlow(VADDR + page, count);
  }

  /** mprotect(2) by another thread of the program. */
  *protect(page: number, count: number, protection: number): Flow<void> {
    yield new Operation(
      'mprotect',
      VADDR + page,
      count,
      ` ${protection === 0 ? 'none' : accessName(protection)}`,
    );
    yield* this.mm.mprotectFlow(VADDR + page, count, protection);
  }

  /** Takes a page to swap. */
  *pageOut(page: number, count = 1): Flow<void> {
    yield new Operation('swaps out', VADDR + page, count);
    this.mm.pageOut(VADDR + page, count);
  }

  /** The program forks, and its child ends at once. */
  *fork(): Flow<void> {
    yield new Operation('forks');
    this.mm.fork(9).exit();
  }

  /** Devices of a group come in another order from now on, as after a rescan of the bus. */
  *rescan(group: number): Flow<void> {
    yield new Operation(`rescans group ${group}`);
    this.world.group(group).iommuGroup.devices.reverse();
  }

  private get mm(): ProgramSpace {
    return this.world.programs[0]!.mm;
  }
}

const RETRY = freshStep('answered SUCCESS, tries the access again');
const PARTIAL = step('partial request reported');
