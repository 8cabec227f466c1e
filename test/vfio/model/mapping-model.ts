/**
 * What a container does, said as plainly as possible: a list of mappings, BigInt, no cleverness.
 */
import type { KernelVersion } from '../../../src/abi/kernel.js';
import { LOCK_LIMIT_PAGES, MEMORY, PAGE } from '../../model-process.js';
import { BITMAP, type Call, ENTRY_LIMIT, type Outcome } from './program.js';

interface ModelMapping {
  readonly iova: bigint;
  readonly size: bigint;
  vaddr: bigint;
  readonly flags: number;
  invalid: boolean;
  /** The dirty log: bit n for page n, and what the kernel leaves behind them. */
  log: bigint;
}

const END = 2n ** 64n;
const WORD = 64n;
const RANGES = [
  [0n, 0xfee00000n],
  [0xfef00000n, 2n ** 48n],
] as const;

class Refused {
  constructor(readonly errno: string) {}
}

function refuse(errno: string): never {
  throw new Refused(errno);
}

const aligned = (...values: bigint[]): boolean => values.every((value) => value % PAGE === 0n);
const words = (bits: bigint): bigint => (bits + WORD - 1n) / WORD;

export class MappingModel {
  mappings: ModelMapping[] = [];
  bitmap: bigint = 0n;
  private version = 2;
  private inContainer = true;
  private hasIommu = true;
  private logging = false;

  constructor(private readonly kernel: KernelVersion) {}

  get lockedPages(): number {
    return Number(this.mappings.reduce((sum, mapping) => sum + mapping.size, 0n) / PAGE);
  }

  /** The virtual address that a device reaches at an IOVA, or null. */
  translate(iova: bigint): { readonly vaddr: bigint; readonly flags: number } | null {
    const mapping = this.mappings.find((each) => each.iova <= iova && iova < each.iova + each.size);
    return mapping ? { vaddr: mapping.vaddr + iova - mapping.iova, flags: mapping.flags } : null;
  }

  run(call: Call): Outcome {
    try {
      return { errno: null, size: this.answer(call) };
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      return { errno: refused.errno, size: 0n };
    }
  }

  private answer(call: Call): bigint {
    switch (call.op) {
      case 'setContainer':
        if (this.inContainer) refuse('EINVAL');
        this.inContainer = true;
        return 0n;
      case 'unsetContainer':
        if (!this.inContainer) refuse('EINVAL');
        this.inContainer = false;
        this.hasIommu = false;
        this.logging = false;
        this.mappings = [];
        return 0n;
      case 'setIommu':
        return this.setIommu(call.type);
      case 'fillBitmap':
        this.bitmap = BigInt(`0x${call.byte.toString(16).padStart(2, '0').repeat(BITMAP.bytes)}`);
        return 0n;
      default:
        if (!this.hasIommu) refuse('EINVAL');
        return this.iommuCall(call);
    }
  }

  private setIommu(type: number): bigint {
    if (!this.inContainer || this.hasIommu) refuse('EINVAL');
    if (type === 6 && this.kernel === '7.2') refuse('ENODEV');
    if (type !== 1 && type !== 3) refuse('EINVAL');
    this.hasIommu = true;
    this.version = type === 1 ? 1 : 2;
    return 0n;
  }

  private iommuCall(call: Call): bigint {
    switch (call.op) {
      case 'map':
        return this.map(call.iova, call.size, call.vaddr, call.flags);
      case 'unmap':
        return this.unmap(call.iova, call.size, call.flags, false);
      case 'unmapBitmap':
        this.checkBitmap(call.size, call.bytes);
        return this.unmap(call.iova, call.size, 0, true);
      case 'dirty':
        return this.dirty(call.flags);
      case 'getBitmap':
        return this.getBitmap(call.iova, call.size, call.bytes);
      case 'available':
        return BigInt(ENTRY_LIMIT - this.mappings.length);
      default:
        throw new Error(`${call.op} is no call of the IOMMU`);
    }
  }

  private map(iova: bigint, size: bigint, vaddr: bigint, flags: number): bigint {
    const access = flags & 3;
    const update = (flags & 4) !== 0;
    if ((flags & ~7) !== 0 || (access !== 0) === update) refuse('EINVAL');
    if (size === 0n || !aligned(iova, size, vaddr)) refuse('EINVAL');
    if (iova + size > END || vaddr + size > END) refuse(this.wrap);
    const met = this.mappings.find(
      (each) => each.iova < iova + size && iova < each.iova + each.size,
    );
    if (update) {
      if (!met) refuse('ENOENT');
      if (!met.invalid || met.iova !== iova || met.size !== size) refuse('EINVAL');
      met.vaddr = vaddr;
      met.invalid = false;
      return 0n;
    }
    if (met) refuse('EEXIST');
    if (this.mappings.length === ENTRY_LIMIT) refuse('ENOSPC');
    if (!RANGES.some(([start, end]) => start <= iova && iova + size <= end)) refuse('EINVAL');
    this.checkMemory(size, vaddr, access);
    this.mappings.push({ iova, size, vaddr, flags: access, invalid: false, log: 0n });
    this.mappings.sort((a, b) => (a.iova < b.iova ? -1 : 1));
    return 0n;
  }

  /** Pages are pinned one after the other. */
  private checkMemory(size: bigint, vaddr: bigint, access: number): void {
    for (let done = 0; done < size / PAGE; done++) {
      const page = (vaddr - MEMORY.base) / PAGE + BigInt(done);
      const there = page >= 0n && page < BigInt(MEMORY.pages) && page !== BigInt(MEMORY.hole);
      if (!there || (page === BigInt(MEMORY.readOnly) && (access & 2) !== 0)) refuse('EFAULT');
      if (this.lockedPages + done + 1 > LOCK_LIMIT_PAGES) refuse('ENOMEM');
    }
  }

  private unmap(iova: bigint, size: bigint, flags: number, report: boolean): bigint {
    if ((flags & ~6) !== 0) refuse('EINVAL');
    const all = (flags & 2) !== 0;
    if (!aligned(iova)) refuse('EINVAL');
    if (all && (iova !== 0n || size !== 0n)) refuse('EINVAL');
    if (!all && (size === 0n || !aligned(size))) refuse('EINVAL');
    if (iova + size > END) refuse(this.wrap);
    if (report && !this.logging) refuse('EINVAL');
    if (!all && this.version === 2 && this.cuts(iova, size)) refuse('EINVAL');
    let end = all ? END : iova + size;
    if (!all && end === END && this.kernel !== '7.2') end = iova;
    const inside = this.mappings.filter((each) => each.iova < end && each.iova + each.size > iova);
    // Version 1 stops at a mapping that begins before the range.
    const found = inside[0] && inside[0].iova < iova ? [] : inside;
    if ((flags & 4) !== 0) {
      if (found.some((each) => each.invalid)) refuse('EINVAL');
      for (const each of found) each.invalid = true;
    } else {
      if (report) for (const each of found) this.writeLog(each, iova);
      this.mappings = this.mappings.filter((each) => !found.includes(each));
    }
    return found.reduce((sum, each) => sum + each.size, 0n);
  }

  private cuts(iova: bigint, size: bigint): boolean {
    const cut = (edge: bigint) =>
      this.mappings.some((each) => each.iova < edge && edge < each.iova + each.size);
    return cut(iova) || cut(iova + size);
  }

  private dirty(flags: number): bigint {
    if (this.version === 1) refuse('EACCES');
    if (flags !== 1 && flags !== 2) refuse('EINVAL');
    if (flags === 2) for (const mapping of this.mappings) mapping.log = 0n;
    this.logging = flags === 1;
    return 0n;
  }

  private checkBitmap(size: bigint, bytes: bigint): void {
    if (bytes === 0n || bytes > 2n ** 28n || bytes < words(size / PAGE) * 8n) refuse('EINVAL');
  }

  private getBitmap(iova: bigint, size: bigint, bytes: bigint): bigint {
    if (this.version === 1) refuse('EACCES');
    if (iova + size > END || (iova + size === END && this.kernel !== '7.2')) refuse(this.wrap);
    if (size === 0n || !aligned(iova, size)) refuse('EINVAL');
    this.checkBitmap(size, bytes);
    if (!this.logging || this.cuts(iova, size)) refuse('EINVAL');
    for (const each of this.mappings) {
      if (each.iova >= iova && each.iova < iova + size) this.writeLog(each, iova);
    }
    return 0n;
  }

  /**
   * All pages are dirty, as all are pinned. The log is shifted in place and only its pages are
   * cleared afterwards.
   */
  private writeLog(mapping: ModelMapping, base: bigint): void {
    const bits = mapping.size / PAGE;
    const own = (1n << bits) - 1n;
    const offset = (mapping.iova - base) / PAGE;
    const shift = offset % WORD;
    const at = (offset / WORD) * WORD;
    const written = words(bits + shift) * WORD;
    const mask = (1n << written) - 1n;
    mapping.log |= own;
    if (shift > 0n) {
      const kept = mapping.log & ~mask;
      const firstWord = (this.bitmap >> at) & ((1n << WORD) - 1n);
      mapping.log = kept | ((mapping.log << shift) & mask) | firstWord;
    }
    this.bitmap = (this.bitmap & ~(mask << at)) | ((mapping.log & mask) << at);
    mapping.log &= ~own;
  }

  private get wrap(): string {
    return this.kernel === '7.2' ? 'EOVERFLOW' : 'EINVAL';
  }
}
