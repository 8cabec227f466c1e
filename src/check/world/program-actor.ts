/**
 * What the programs of a scenario can do, on the paths that ship.
 *
 * An operation begins with a point where others may come in, and ends with what it came to: an
 * errno name or `ok` for calls.
 */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { Errno, VfioError } from '../../abi/errno.js';
import { DirtyPagesFlag, DmaMapFlag, Type1Ioctl } from '../../abi/vfio.js';
import { DirtyBitmap, DirtyBitmapGet, DmaMap, DmaUnmap } from '../../abi/vfio-structs.js';
import type { Caller } from '../../file/caller.js';
import type { Flow } from '../../flow/flow.js';
import type { IoSpace } from '../../ioas/io-space.js';
import type { IommuGroup } from '../../iommu/group.js';
import { type MmuNotifier, PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import { SimulatedSpace, type SimulatedSpaceOptions } from '../../mm/simulated.js';
import type { SimulatedMemory } from '../../mm/simulated-memory.js';
import { type1Ioctl } from '../../vfio/type1/ioctl.js';
import type { Type1 } from '../../vfio/type1/type1.js';
import { checkPages, checkWhole, IOVA, onContainer, onMemory, Side, VADDR } from './operation.js';
import type { MapOptions } from './scenario-world.js';
import type { StepNotes } from './step-notes.js';

/**
 * Where a program's call arguments lie: beside its memory, so that making a call touches no page.
 */
export const ARGUMENT = 2 ** 46;
export const BITMAP_AT = 128;
const BITMAP_BYTES = 128;

const DirtyFlag = {
  START: DirtyPagesFlag.VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  STOP: DirtyPagesFlag.VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  GET_BITMAP: DirtyPagesFlag.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
} as const;

/**
 * Memory of a program, with a place for call arguments that is no page. It notes where the sides of
 * the world see each other.
 */
export class ProgramSpace extends SimulatedSpace implements MmuNotifier {
  private ended = false;
  readonly argument = new ArgumentBuffer(BITMAP_AT + BITMAP_BYTES);

  constructor(
    private readonly notes: StepNotes,
    memory: SimulatedMemory,
    options: SimulatedSpaceOptions,
  ) {
    super(memory, options);
    this.subscribe(this);
  }

  /** Notifiers beside its own. */
  override get notifierCount(): number {
    return super.notifierCount - (this.ended ? 0 : 1);
  }

  invalidate(): void {
    this.notes.accessed |= Side.CONTAINER;
  }

  release(): void {
    this.notes.accessed |= Side.CONTAINER;
    this.ended = true;
  }

  override isInvalidating(page: number): boolean {
    this.notes.accessed |= Side.MEMORY;
    return super.isInvalidating(page);
  }

  override unpin(frames: Float64Array, count: number): void {
    this.notes.accessed |= Side.MEMORY;
    super.unpin(frames, count);
  }

  override pageIn(first: number, count: number, access: number, frames: Float64Array): number {
    this.notes.accessed |= Side.MEMORY;
    return super.pageIn(first, count, access, frames);
  }

  override *pageInFlow(
    first: number,
    count: number,
    access: number,
    frames: Float64Array,
  ): Flow<number> {
    const flow = super.pageInFlow(first, count, access, frames);
    for (;;) {
      this.notes.accessed |= Side.MEMORY;
      const step = flow.next();
      if (step.done) return step.value;
      yield step.value;
    }
  }

  override pin(first: number, count: number, access: number, frames: Float64Array): number {
    this.notes.accessed |= Side.MEMORY;
    return super.pin(first, count, access, frames);
  }

  override copyFrom(address: number, into: Uint8Array): boolean {
    if (address < ARGUMENT) {
      this.notes.accessed |= Side.MEMORY;
      return super.copyFrom(address, into);
    }
    const from = this.argument.bytes;
    for (let i = 0; i < into.length; i++) into[i] = from[address - ARGUMENT + i]!;
    return true;
  }

  override copyTo(address: number, from: Uint8Array): boolean {
    if (address < ARGUMENT) {
      this.notes.accessed |= Side.MEMORY;
      return super.copyTo(address, from);
    }
    this.argument.bytes.set(from, address - ARGUMENT);
    return true;
  }
}

/** What programs do something to: `World`. */
interface Machine {
  readonly notes: StepNotes;
  readonly type1: Type1;
  readonly space: IoSpace;
  readonly ledger: { dirtyReported(bitmap: Uint8Array): void };
  readonly pages: number;
  group(number: number): IommuGroup;
  attach(group: IommuGroup): Flow<void>;
  detach(group: IommuGroup): Flow<void>;
  close(): Flow<void>;
}

/** A process with the container open. */
export class Program implements Caller {
  readonly sysResource = false;

  constructor(
    private readonly world: Machine,
    readonly mm: ProgramSpace,
  ) {}

  file(): null {
    return null;
  }

  install(): never {
    throw new VfioError(Errno.EMFILE);
  }

  reserve(): never {
    throw new VfioError(Errno.EMFILE);
  }

  /** VFIO_IOMMU_MAP_DMA of `count` pages from `page` on (0: the first of the scenario). */
  *map(page: number, count: number, options: MapOptions = {}): Flow<string> {
    checkWhole('map: permission', options.permission ?? 0, 0, 0xffff);
    checkPages('map: to', options.to ?? page, count);
    yield onContainer('MAP_DMA', IOVA + page, count, options.pinned ? ' PINNED' : '');
    const { argument } = this.mm;
    argument.setU32(DmaMap.at.argsz, DmaMap.size);
    const flags =
      (options.permission ?? READ | WRITE) |
      (options.pinned ? DmaMapFlag.VFIO_DMA_MAP_FLAG_PINNED : 0);
    argument.setU32(DmaMap.at.flags, flags);
    argument.setPages(DmaMap.at.vaddr, VADDR + (options.to ?? page));
    argument.setPages(DmaMap.at.iova, IOVA + page);
    argument.setPages(DmaMap.at.size, count);
    return this.call(Type1Ioctl.VFIO_IOMMU_MAP_DMA);
  }

  /** VFIO_IOMMU_UNMAP_DMA. */
  *unmap(page: number, count: number): Flow<string> {
    yield onContainer('UNMAP_DMA', IOVA + page, count);
    const { argument } = this.mm;
    argument.setU32(DmaUnmap.at.argsz, DmaUnmap.size);
    argument.setU32(DmaUnmap.at.flags, 0);
    argument.setPages(DmaUnmap.at.iova, IOVA + page);
    argument.setPages(DmaUnmap.at.size, count);
    return this.call(Type1Ioctl.VFIO_IOMMU_UNMAP_DMA);
  }

  /** VFIO_IOMMU_ENABLE_IOPF. */
  *enable(): Flow<string> {
    yield onContainer('ENABLE_IOPF');
    return yield* this.world.notes.result(this.world.space.iopf.enable());
  }

  /** VFIO_IOMMU_DISABLE_IOPF. */
  *disable(): Flow<string> {
    yield onContainer('DISABLE_IOPF');
    return yield* this.world.notes.result(this.world.space.iopf.disable());
  }

  /** VFIO_GROUP_SET_CONTAINER. */
  *attach(group: number): Flow<string> {
    const found = this.world.group(group);
    yield onContainer(`SET_CONTAINER group ${group}`);
    return yield* this.world.notes.result(this.world.attach(found));
  }

  /** VFIO_GROUP_UNSET_CONTAINER. */
  *detach(group: number): Flow<string> {
    const found = this.world.group(group);
    yield onContainer(`UNSET_CONTAINER group ${group}`);
    return yield* this.world.notes.result(this.world.detach(found));
  }

  /** Starts the dirty log, or stops it. */
  *logDirty(on: boolean): Flow<string> {
    yield onContainer(`DIRTY_PAGES ${on ? 'START' : 'STOP'}`);
    const { START, STOP } = DirtyFlag;
    return this.dirtyPages(on ? START : STOP);
  }

  /** Reports the dirty pages, which are clean from then on. */
  *reportDirty(): Flow<string> {
    yield onContainer('DIRTY_PAGES GET_BITMAP');
    const { argument } = this.mm;
    const get = DirtyBitmap.size;
    argument.setPages(get + DirtyBitmapGet.at.iova, IOVA);
    argument.setPages(get + DirtyBitmapGet.at.size, this.world.pages);
    argument.setU64(get + DirtyBitmapGet.at['bitmap.pgsize'], PAGE_SIZE);
    argument.setU64(get + DirtyBitmapGet.at['bitmap.size'], BITMAP_BYTES);
    argument.setU64(get + DirtyBitmapGet.at['bitmap.data'], ARGUMENT + BITMAP_AT);
    argument.bytes.fill(0, BITMAP_AT);
    const result = this.dirtyPages(DirtyFlag.GET_BITMAP);
    if (result === 'ok') this.world.ledger.dirtyReported(argument.bytes.subarray(BITMAP_AT));
    return result;
  }

  /** The container's descriptor is closed: every group leaves, and everything goes. */
  *close(): Flow<string> {
    yield onContainer('close container');
    return yield* this.world.notes.result(this.world.close());
  }

  /** The program writes pages of its own memory. */
  *touch(page: number, count = 1): Flow<string> {
    yield onMemory('touches', VADDR + page, count);
    return this.mm.fillPages(VADDR + page, count, 1)
      ? this.world.notes.note('ok', 0)
      : this.world.notes.note('SIGSEGV', 11);
  }

  private dirtyPages(flags: number): string {
    const { argument } = this.mm;
    argument.setU32(DirtyBitmap.at.argsz, DirtyBitmap.size + DirtyBitmapGet.size);
    argument.setU32(DirtyBitmap.at.flags, flags);
    return this.call(Type1Ioctl.VFIO_IOMMU_DIRTY_PAGES);
  }

  private call(request: number): string {
    return this.world.notes.call(() => type1Ioctl(this, request, ARGUMENT, this.world.type1));
  }
}
