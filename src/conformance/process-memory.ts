/**
 * The memory of a process in a replay: simulated memory, the mappings of device registers beside
 * it, and the account that ends with the process.
 */

import { Errno } from '../abi/errno.js';
import {
  type AddressSpace,
  type MmuNotifier,
  PAGE_SIZE,
  READ,
  WRITE,
} from '../mm/address-space.js';
import type { MemoryKind } from '../mm/memory-kind.js';
import { SimulatedSpace } from '../mm/simulated.js';
import type { SimulatedFile } from '../mm/simulated-file.js';
import { type SimulatedMemory, ZERO_FRAME } from '../mm/simulated-memory.js';

/** A mapped BAR: its pages are no memory, so pins of them are not accounted. */
interface DeviceArea {
  readonly first: number;
  readonly end: number;
  readonly protection: number;
  /** Whether the device decodes memory: a page of it can be had then only. */
  readonly isDecoding: () => boolean;
  readonly close: () => void;
}

/** Frames of device registers, apart from all memory. */
const DEVICE_FRAMES = 2 ** 51;

export interface ProcessMemoryOptions {
  /**
   * A page that was never written is pinned as a page of its own, and accounted (Linux 6.2 and
   * later).
   */
  readonly zeroPageUnshared: boolean;
  readonly lockLimitPages: number;
  readonly ipcLock: boolean;
}

export class ProcessMemory implements AddressSpace {
  private readonly deviceAreas: DeviceArea[] = [];
  private ended = false;
  /** VmPin, in pages. */
  pinnedPages = 0;

  constructor(
    readonly space: SimulatedSpace,
    private readonly zeroPageUnshared: boolean,
  ) {}

  static create(memory: SimulatedMemory, options: ProcessMemoryOptions): ProcessMemory {
    const { lockLimitPages, ipcLock, zeroPageUnshared } = options;
    return new ProcessMemory(
      new SimulatedSpace(memory, { lockLimitPages, ipcLock, pinUnshares: zeroPageUnshared }),
      zeroPageUnshared,
    );
  }

  get id(): number {
    return this.space.id;
  }

  get taskSize(): number {
    return this.space.taskSize;
  }

  get invalidations(): number {
    return this.space.invalidations;
  }

  get lockedPages(): number {
    return this.space.lockedPages;
  }

  get lockLimitPages(): number {
    return this.space.lockLimitPages;
  }

  get ipcLock(): boolean {
    return this.space.ipcLock;
  }

  fork(id: number): ProcessMemory {
    return new ProcessMemory(this.space.fork(id), this.zeroPageUnshared);
  }

  /** The process ends; its account is gone, whatever is still pinned. */
  exit(): void {
    this.space.exit();
    this.ended = true;
    for (const area of this.deviceAreas.splice(0)) area.close();
  }

  mmap(
    first: number,
    count: number,
    kind: MemoryKind,
    protection: number,
    file?: SimulatedFile,
    offset = 0,
  ): void {
    this.munmap(first, count);
    this.space.mmap(first, count, { kind, protection, offset, ...(file ? { file } : {}) });
  }

  /** Maps a device's registers; `close` drops the mapping's reference to its file. */
  mmapDevice(
    first: number,
    count: number,
    { protection, isDecoding, close }: Pick<DeviceArea, 'protection' | 'isDecoding' | 'close'>,
  ): void {
    this.munmap(first, count);
    this.deviceAreas.push({ first, end: first + count, protection, isDecoding, close });
  }

  /** Whether a page is one of a device's registers. */
  isOfDevice(page: number): boolean {
    return this.deviceAreas.some(({ first, end }) => page >= first && page < end);
  }

  munmap(first: number, count: number): void {
    this.space.munmap(first, count);
    for (const area of [...this.deviceAreas]) {
      if (area.first < first || area.end > first + count) continue;
      this.deviceAreas.splice(this.deviceAreas.indexOf(area), 1);
      area.close();
    }
  }

  copyFrom(address: number, into: Uint8Array): boolean {
    return this.space.copyFrom(address, into);
  }

  copyTo(address: number, from: Uint8Array): boolean {
    return this.space.copyTo(address, from);
  }

  pageIn(first: number, count: number, access: number, frames: Float64Array): number {
    return this.space.pageIn(first, count, access, frames);
  }

  pin(first: number, count: number, access: number, frames: Float64Array): number {
    const area = this.deviceAreas.find(
      (candidate) => first >= candidate.first && first < candidate.end,
    );
    if (!area) return this.space.pin(first, count, access, frames);
    if ((area.protection & access) !== access || !area.isDecoding()) return -Errno.EFAULT;
    const got = Math.min(count, area.end - first);
    for (let i = 0; i < got; i++) frames[i] = DEVICE_FRAMES + first + i;
    return got;
  }

  unpin(frames: Float64Array, count: number): void {
    const memory = Float64Array.from(
      frames.subarray(0, count).filter((frame) => frame < DEVICE_FRAMES),
    );
    this.space.unpin(memory, memory.length);
  }

  pinsAt(frame: number): number {
    return this.space.pinsAt(frame);
  }

  isReserved(frame: number): boolean {
    return frame >= DEVICE_FRAMES || (frame === ZERO_FRAME && !this.zeroPageUnshared);
  }

  accountLocked(pages: number): void {
    if (!this.ended) this.space.accountLocked(pages);
  }

  accountPinned(pages: number): void {
    this.pinnedPages += pages;
  }

  subscribe(notifier: MmuNotifier): () => void {
    return this.space.subscribe(notifier);
  }
}

/** `rw`, `r` or `none` as access bits. */
export function protection(text: string): number {
  return (text.includes('r') ? READ : 0) | (text.includes('w') ? WRITE : 0);
}

/** A page-aligned address or size as a page number. */
export function pageOf(address: string | number): number {
  return Math.floor(Number(address) / PAGE_SIZE);
}
