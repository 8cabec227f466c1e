/**
 * mmap, mprotect, mremap and munmap where they concern trapped areas. To the kernel the pages of
 * such an area have PROT_NONE from the first moment on; what the program asked for is in the trap
 * state.
 */

import { Errno } from '../../abi/errno.js';
import {
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_SHARED,
  MREMAP_DONTUNMAP,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
} from '../../abi/linux.js';
import type { MappedPart } from '../../file/file.js';
import { PAGE_SIZE, pagesUp } from '../../mm/address-space.js';

import type { Architecture } from '../arch/index.js';
import type { Listener } from '../seccomp/listener.js';
import type { CallToMake, Errand, Errands, Outcome } from './errands.js';
import { isTrapPage, type TrappedArea, TrapState } from './trap-page.js';

const PROT_NONE = 0;
/** PROT_READ, PROT_WRITE, PROT_EXEC. */
const PROT_PLAIN = 7;

/** An mmap of a device file with parts that are not its memory. */
export interface TrappedMapping {
  /** Which function of the machine. */
  readonly device: number;
  /** Parts of the mapping, bytes from its start, that trap; whole pages, ascending. */
  readonly trapped: readonly MappedPart[];
  /** Parts that are memory of other files. */
  readonly files: readonly FilePart[];
}

/** Bytes from the start of a mapping, and the engine's descriptor of the file that they are of. */
type FilePart = Required<MappedPart>;

const isError = (result: number): boolean => result < 0 && result > -4096;
const failed = (error: number): Outcome => ({ kind: 'return', value: -error });

export class MappingCalls {
  /** No area has been trapped in this run yet, so nothing can concern one. */
  private unused = true;

  constructor(
    private readonly call: Listener,
    private readonly architecture: Architecture,
    private readonly errands: Errands,
  ) {}

  /** Whether the call that is to be answered comes from an errand. */
  get isOurs(): boolean {
    return isTrapPage(this.call.returnsTo);
  }

  /**
   * The current call is an mmap of a device file that may be made. False: its process has no trap
   * page.
   */
  map(mapping: TrappedMapping): boolean {
    const { call } = this;
    if (TrapState.read(call.tid) === null) return false;
    this.unused = false;
    const [address, length, protection] = [call.argument(0), call.argument(1), call.int(2)];
    const [flags, fd, offset] = [call.int(3), call.int(4), call.argument(5)];
    if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) === MAP_FIXED) this.unmap(address, length);
    const make = (at: number): CallToMake => ({
      nr: this.architecture.nr.mmap,
      arguments: [at, length, PROT_NONE, flags, fd, offset],
    });
    this.errands.send(this.mapping(call.tid, make(address), mapping, protection));
    return true;
  }

  /** munmap, and mmap with MAP_FIXED, of [start, start + length): the kernel does it. */
  unmap(start: number, length: number): void {
    const end = start + pagesUp(length);
    if (this.isOurs || start % PAGE_SIZE !== 0) return;
    const state = this.stateWith(start, end);
    if (state?.remove(start, end)) state.write(this.call.tid);
  }

  /** mprotect; false: it concerns no trapped area, and the kernel does it. */
  protect(): boolean {
    const { call } = this;
    const start = call.argument(0);
    const end = start + pagesUp(call.argument(1));
    const protection = call.int(2);
    if (this.isOurs || start % PAGE_SIZE !== 0 || (protection & ~PROT_PLAIN) !== 0) return false;
    const state = this.stateWith(start, end);
    if (state === null) return false;
    const gaps = gapsOf(state.within(start, end), start, end);
    if (!state.protect(start, end, protection)) {
      call.refuse(Errno.ENOMEM);
    } else if (gaps.length === 0) {
      state.write(call.tid);
      call.respond(0);
    } else this.errands.send(this.protecting(call.tid, gaps, protection, state));
    return true;
  }

  /** mremap; false: it concerns no trapped area, and the kernel does it. */
  move(): boolean {
    const { call } = this;
    const [from, oldLength, newLength] = [0, 1, 2].map((n) => call.argument(n)) as [
      number,
      number,
      number,
    ];
    const flags = call.int(3);
    const to = call.argument(4);
    if (this.isOurs) return false;
    const [oldBytes, newBytes] = [pagesUp(oldLength), pagesUp(newLength)];
    const isFixed = (flags & MREMAP_FIXED) !== 0;
    const overlaps = to < from + oldBytes && from < to + newBytes;
    const isWrong =
      newBytes === 0 ||
      from % PAGE_SIZE !== 0 ||
      (isFixed && ((flags & MREMAP_MAYMOVE) === 0 || to % PAGE_SIZE !== 0 || overlaps));
    const state = this.stateWith(from, from + Math.max(oldBytes, PAGE_SIZE));
    if (state === null) {
      // What the kernel refuses takes nothing away.
      if (isFixed && !isWrong) this.unmap(to, newLength);
      return false;
    }
    // A device's mapping cannot be doubled, left behind or grown (kernel: VM_DONTEXPAND).
    if (isWrong || oldBytes === 0 || (flags & MREMAP_DONTUNMAP) !== 0) call.refuse(Errno.EINVAL);
    else if (newBytes > oldBytes) call.refuse(Errno.EFAULT);
    else if (isFixed) this.errands.send(this.moving(call.tid, state, from, oldBytes, newBytes, to));
    else {
      this.unmap(from + newBytes, oldBytes - newBytes);
      return false;
    }
    return true;
  }

  private *mapping(
    tid: number,
    make: CallToMake,
    { device, trapped, files }: TrappedMapping,
    protection: number,
  ): Errand {
    const [, length, , , , offset] = make.arguments as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const start = yield make;
    if (isError(start)) return { kind: 'return', value: start };
    const areas: TrappedArea[] = trapped.map((area) => ({
      start: start + area.offset,
      end: start + area.offset + area.size,
      offset: offset + area.offset,
      device,
      protection,
    }));
    const open = gapsOf(areas, start, start + pagesUp(length));
    const state = TrapState.read(tid);
    // What a MAP_FIXED replaced has gone out of the state before.
    if (state === null || !areas.every((area) => state.add(area)) || !state.write(tid))
      return yield* this.undone(start, length, Errno.ENOMEM);
    for (const gap of open) {
      const result = yield this.mprotect(gap, protection);
      if (isError(result)) return yield* this.undone(start, length, -result);
    }
    for (const part of files) {
      const result = yield* this.mapFile(start, part, protection);
      if (isError(result)) return yield* this.undone(start, length, -result);
    }
    return { kind: 'return', value: start };
  }

  /** Puts memory of another file in the place of a part; what mmap(2) returns. */
  private *mapFile(
    start: number,
    { offset, size, file }: FilePart,
    protection: number,
  ): Generator<CallToMake, number, number> {
    const { nr } = this.architecture;
    const fd = this.call.addFile(file.fd, -1, true);
    if (fd < 0) return fd;
    const flags = MAP_SHARED | MAP_FIXED;
    const result = yield {
      nr: nr.mmap,
      arguments: [start + offset, size, protection, flags, fd, file.offset],
    };
    yield { nr: nr.close, arguments: [fd] };
    return result;
  }

  private *undone(start: number, length: number, error: number): Errand {
    yield { nr: this.architecture.nr.munmap, arguments: [start, length] };
    return failed(error);
  }

  private *protecting(
    tid: number,
    gaps: readonly Gap[],
    protection: number,
    state: TrapState,
  ): Errand {
    for (const gap of gaps) {
      const result = yield this.mprotect(gap, protection);
      if (isError(result)) return { kind: 'return', value: result };
    }
    state.write(tid);
    return { kind: 'return', value: 0 };
  }

  /** Moves the pieces of a mapping, which are areas of memory of their own to the kernel. */
  private *moving(
    tid: number,
    state: TrapState,
    from: number,
    oldBytes: number,
    newBytes: number,
    to: number,
  ): Errand {
    const { nr } = this.architecture;
    const trapped = state.within(from, from + newBytes).map((area) => ({
      ...area,
      start: Math.max(area.start, from),
      end: Math.min(area.end, from + newBytes),
      offset: area.offset + Math.max(from - area.start, 0),
    }));
    if (newBytes < oldBytes) {
      const result = yield {
        nr: nr.munmap,
        arguments: [from + newBytes, oldBytes - newBytes],
      };
      if (isError(result)) return { kind: 'return', value: result };
    }
    const pieces = [...trapped, ...gapsOf(trapped, from, from + newBytes)];
    for (const { start, end } of pieces.sort((one, other) => one.start - other.start)) {
      const length = end - start;
      const result = yield {
        nr: nr.mremap,
        arguments: [start, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to + start - from],
      };
      if (isError(result)) return { kind: 'return', value: result };
    }
    state.remove(from, from + oldBytes);
    state.remove(to, to + newBytes);
    for (const area of trapped)
      state.add({ ...area, start: area.start - from + to, end: area.end - from + to });
    state.write(tid);
    return { kind: 'return', value: to };
  }

  private mprotect({ start, end }: Gap, protection: number): CallToMake {
    return { nr: this.architecture.nr.mprotect, arguments: [start, end - start, protection] };
  }

  /** The caller's state if it has trapped areas in [start, end). */
  private stateWith(start: number, end: number): TrapState | null {
    const state = this.unused || end <= start ? null : TrapState.read(this.call.tid);
    return state !== null && state.within(start, end).length > 0 ? state : null;
  }
}

/** Addresses [start, end). */
interface Gap {
  readonly start: number;
  readonly end: number;
}

/** What of [start, end) lies in none of the areas, which ascend. */
function gapsOf(areas: readonly Gap[], start: number, end: number): Gap[] {
  const gaps: Gap[] = [];
  let at = start;
  for (const area of areas) {
    if (area.start > at) gaps.push({ start: at, end: area.start });
    at = Math.max(at, area.end);
  }
  if (at < end) gaps.push({ start: at, end });
  return gaps;
}
