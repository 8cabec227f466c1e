/**
 * What I/O address spaces are, plainly: lists that are searched from end to end, no page tables,
 * and pins that are counted anew for every question. One device, which the first id is.
 */
import { LOCK_LIMIT_PAGES, MEMORY, PAGE } from '../../model-process.js';
import type { Call, Outcome } from './program.js';

const END = 2n ** 64n;
const WRITE = 2;
const MSI = { first: 0xfee0_0000n, end: 0xfef0_0000n };
const APERTURE_END = 2n ** 48n;

interface Range {
  readonly first: bigint;
  readonly end: bigint;
}

/** Memory that one call has mapped, and that copies share. */
interface Source {
  readonly writable: boolean;
}

interface Area extends Range {
  readonly source: Source;
  /** Address in the program. */
  readonly address: bigint;
  readonly permission: number;
}

interface Space {
  areas: Area[];
  large: boolean;
  allowed: Range[];
}

class Refused extends Error {}

function refuse(errno: string): never {
  throw new Refused(errno);
}

const meets = (a: Range, b: Range): boolean => a.first < b.end && b.first < a.end;

export class IoasModel {
  private readonly spaces = new Map<number, Space>();
  private attached: { id: number; hwpt: number } | null = null;

  run(call: Call): Outcome {
    try {
      return { errno: null, value: this.carryOut(call) };
    } catch (error) {
      if (error instanceof Refused) return { errno: error.message, value: 0n };
      throw error;
    }
  }

  /** Where the device gets with an address: an address of the program and a permission, or null. */
  translate(iova: bigint): { address: bigint; permission: number } | null {
    const space = this.attached === null ? undefined : this.spaces.get(this.attached.id);
    const area = space?.areas.find(({ first, end }) => first <= iova && iova < end);
    if (area === undefined) return null;
    return { address: area.address + iova - area.first, permission: area.permission };
  }

  get pins(): number {
    return this.attached === null ? 0 : pinsOf([this.spaces.get(this.attached.id)!.areas]);
  }

  /** Pages of all areas, whether a device can reach them or not. */
  get mappedPages(): number {
    return pinsOf([...this.spaces.values()].map(({ areas }) => areas));
  }

  private carryOut(call: Call): bigint {
    switch (call.op) {
      case 'alloc': {
        const id = this.freeId();
        this.spaces.set(id, { areas: [], large: true, allowed: [] });
        return BigInt(id);
      }
      case 'destroy':
        return this.destroy(call.id);
      case 'map': {
        if (call.iova === END - 1n) refuse('EOVERFLOW');
        if (call.permission === 0) refuse('EINVAL');
        const space = this.space(call.id);
        if (call.length === 0n) refuse('EINVAL');
        const source = { writable: (call.permission & WRITE) !== 0 };
        const piece = { source, address: call.address, length: call.length };
        return this.place(call.id, space, [piece], call.permission, call.iova, call.address);
      }
      case 'unmap':
        return this.unmap(this.space(call.id), call.iova, call.length);
      case 'copy': {
        if (call.iova === END - 1n) refuse('EOVERFLOW');
        if (call.permission === 0) refuse('EINVAL');
        const pieces = piecesOf(this.space(call.from), call.source, call.length);
        const space = this.space(call.to);
        return this.place(call.to, space, pieces, call.permission, call.iova, pieces[0]!.address);
      }
      case 'attach':
        return this.attach(call.id);
      case 'detach':
        this.attached = null;
        return 0n;
      case 'hugePages':
        return this.hugePages(call.id, this.space(call.id), call.on);
      case 'allow':
        return this.allow(call.id, this.space(call.id), call.first, call.pages);
    }
  }

  private space(id: number): Space {
    return this.spaces.get(id) ?? refuse('ENOENT');
  }

  private freeId(): number {
    let id = 2;
    while (this.spaces.has(id) || this.attached?.hwpt === id) id++;
    return id;
  }

  private destroy(id: number): bigint {
    if (id === 1 || this.attached?.hwpt === id) refuse('EBUSY');
    this.space(id);
    if (this.attached?.id === id) refuse('EBUSY');
    this.spaces.delete(id);
    return 0n;
  }

  private isAttached(id: number): boolean {
    return this.attached?.id === id;
  }

  private alignment(id: number, { large }: Space): bigint {
    return large && !this.isAttached(id) ? 1n : PAGE;
  }

  private reserved(id: number): Range[] {
    return this.isAttached(id) ? [MSI, { first: APERTURE_END, end: END }] : [];
  }

  private place(
    id: number,
    space: Space,
    pieces: readonly { source: Source; address: bigint; length: bigint }[],
    permission: number,
    fixed: bigint | null,
    hint: bigint,
  ): bigint {
    const alignment = this.alignment(id, space);
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0n);
    if (length % alignment !== 0n) refuse('EINVAL');
    let first = fixed;
    if (first === null) first = this.choose(id, space, length, hint);
    else {
      if (first % alignment !== 0n) refuse('EINVAL');
      const range = { first, end: first + length };
      if (range.end > END) refuse('EOVERFLOW');
      if (this.reserved(id).some((each) => meets(each, range))) refuse('EINVAL');
      if (space.areas.some((each) => meets(each, range))) refuse('EEXIST');
    }
    let at = first;
    const added = pieces.map(({ source, address, length: bytes }) => {
      if ((permission & WRITE) !== 0 && !source.writable) refuse('EPERM');
      if (address % alignment !== 0n) refuse('EINVAL');
      const area = { first: at, end: at + bytes, source, address, permission };
      at = area.end;
      return area;
    });
    if (this.isAttached(id)) checkPins([space.areas], added);
    space.areas.push(...added);
    return first;
  }

  private choose(id: number, space: Space, length: bigint, hint: bigint): bigint {
    let power = 1n;
    while (power < length) power *= 2n;
    const lowest = hint & -hint;
    const step = [2n ** 21n, power, lowest].reduce((a, b) => (a < b ? a : b));
    if (step < this.alignment(id, space)) refuse('EINVAL');
    const taken = [...this.reserved(id), ...space.areas];
    const spans = space.allowed.length > 0 ? space.allowed : [{ first: 0n, end: END }];
    for (const { first, end } of spans) {
      // The first page and the last are never chosen.
      const span = { first: first < PAGE ? PAGE : first, end: end > END - PAGE ? END - PAGE : end };
      // Behind each thing that is in the way there may be room.
      const starts = [span.first, ...taken.map(({ end }) => end)]
        .filter((at) => at >= span.first && at < span.end)
        .sort((a, b) => (a < b ? -1 : 1));
      for (const start of starts) {
        const at = (((start + step - 1n) / step) * step) | (hint % PAGE);
        const range = { first: start, end: at + length };
        if (range.end > span.end || at >= span.end - 1n) continue;
        if (!taken.some((each) => meets(each, range))) return at;
      }
    }
    return refuse('ENOSPC');
  }

  private unmap(space: Space, iova: bigint, length: bigint): bigint {
    const isAll = iova === 0n && length === END - 1n;
    if (!isAll) {
      if (iova === END - 1n || length === END - 1n) refuse('EOVERFLOW');
      if (length === 0n) refuse('EINVAL');
      if (iova + length > END) refuse('EOVERFLOW');
    }
    const range = isAll ? { first: 0n, end: END } : { first: iova, end: iova + length };
    let bytes = 0n;
    for (const area of [...space.areas].sort((a, b) => (a.first < b.first ? -1 : 1))) {
      if (!meets(area, range)) continue;
      if (area.first < range.first || area.end > range.end) refuse('ENOENT');
      space.areas = space.areas.filter((each) => each !== area);
      bytes += area.end - area.first;
    }
    if (bytes === 0n && !isAll) refuse('ENOENT');
    return bytes;
  }

  private attach(id: number): bigint {
    const { attached } = this;
    if (attached?.hwpt === id) return BigInt(id);
    const space = this.spaces.get(id);
    if (space === undefined) return refuse(id === 1 ? 'EINVAL' : 'ENOENT');
    if (attached?.id === id) return BigInt(attached.hwpt);
    const isTaken = (range: Range): boolean =>
      [...space.areas, ...space.allowed].some((each) => meets(each, range));
    if (isTaken(MSI)) refuse('EADDRINUSE');
    const isAligned = ({ first, end, address }: Area): boolean =>
      first % PAGE === 0n && end % PAGE === 0n && address % PAGE === 0n;
    if (!space.areas.every(isAligned)) refuse('EADDRINUSE');
    if (isTaken({ first: APERTURE_END, end: END })) refuse('EADDRINUSE');
    // Where it was stays pinned until it has moved.
    const before = attached === null ? [] : [this.spaces.get(attached.id)!.areas];
    const inOrder = [...space.areas].sort((a, b) => (a.first < b.first ? -1 : 1));
    checkPins(before, inOrder);
    const hwpt = this.freeId();
    this.attached = { id, hwpt };
    return BigInt(hwpt);
  }

  private hugePages(id: number, space: Space, on: boolean): bigint {
    if (on === space.large) return 0n;
    if (!on) {
      if (this.isAttached(id) && space.areas.length > 0) refuse('EINVAL');
      for (const { first, end, address } of space.areas)
        if (first % PAGE !== 0n || end % PAGE !== 0n || address % PAGE !== 0n) refuse('EADDRINUSE');
    }
    space.large = on;
    return 0n;
  }

  private allow(id: number, space: Space, first: bigint, pages: bigint): bigint {
    const range = { first, end: first + pages * PAGE };
    if (pages === 0n) space.allowed = [];
    else {
      if (range.end > END) refuse('EINVAL');
      if (this.reserved(id).some((each) => meets(each, range))) refuse('EADDRINUSE');
      space.allowed = [range];
    }
    return 0n;
  }
}

function piecesOf(
  { areas }: Space,
  iova: bigint,
  length: bigint,
): { source: Source; address: bigint; length: bigint }[] {
  if (length === 0n) refuse('EINVAL');
  const end = iova + length;
  if (end > END) refuse('EOVERFLOW');
  const pieces: { source: Source; address: bigint; length: bigint }[] = [];
  for (let at = iova; at < end; ) {
    const area = areas.find((each) => each.first <= at && at < each.end) ?? refuse('ENOENT');
    const stop = area.end < end ? area.end : end;
    pieces.push({
      source: area.source,
      address: area.address + at - area.first,
      length: stop - at,
    });
    at = stop;
  }
  return pieces;
}

const pagesOf = ({ address, first, end }: Area): bigint[] => {
  const pages: bigint[] = [];
  for (let page = address / PAGE; page * PAGE < address + end - first; page++) pages.push(page);
  return pages;
};

/** Pages that are pinned for areas: one of the same source counts once. */
function pinned(spaces: readonly (readonly Area[])[]): Map<Source, Set<bigint>> {
  const pages = new Map<Source, Set<bigint>>();
  for (const area of spaces.flat()) {
    const held = pages.get(area.source) ?? new Set<bigint>();
    for (const page of pagesOf(area)) held.add(page);
    pages.set(area.source, held);
  }
  return pages;
}

function pinsOf(spaces: readonly (readonly Area[])[]): number {
  return [...pinned(spaces).values()].reduce((sum, { size }) => sum + size, 0);
}

/** Refuses areas that cannot be pinned in addition: page after page of them decides. */
function checkPins(spaces: readonly (readonly Area[])[], added: readonly Area[]): void {
  const held = pinned(spaces);
  let charged = pinsOf(spaces);
  for (const area of added) {
    const pages = held.get(area.source) ?? new Set<bigint>();
    held.set(area.source, pages);
    const missing = pagesOf(area).filter((page) => !pages.has(page));
    for (let at = 0; at < missing.length; ) {
      let run = at;
      // What follows one another and can be had is charged at once.
      while (
        run < missing.length &&
        missing[run] === missing[at]! + BigInt(run - at) &&
        canBeHad(missing[run]!, area.source.writable)
      )
        run++;
      if (run === at) refuse('EFAULT');
      charged += run - at;
      if (charged > LOCK_LIMIT_PAGES) refuse('ENOMEM');
      at = run;
    }
    for (const page of missing) pages.add(page);
  }
}

function canBeHad(page: bigint, write: boolean): boolean {
  const index = Number(page - MEMORY.base / PAGE);
  if (index < 0 || index >= MEMORY.pages || index === MEMORY.hole) return false;
  return !write || index !== MEMORY.readOnly;
}
