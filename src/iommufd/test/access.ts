/** Use of an IOAS's memory by the CPU (kernel: struct iommufd_access, device.c). */
import { fail } from '../../abi/errno.js';
import { READ, WRITE } from '../../mm/address-space.js';
import type { Area } from '../area.js';
import type { IommufdContext } from '../context.js';
import { Ioas, type MemoryUser } from '../ioas.js';
import type { IommufdObject } from '../objects.js';
import { ADDRESS_END, PAGE } from '../ranges.js';

/** A part of an area, as pages of its source. */
interface Part {
  readonly area: Area;
  readonly first: number;
  readonly count: number;
}

export interface AccessOptions {
  /** It pins: areas are of whole pages. */
  readonly pins: boolean;
  /** It is a part of an object: unmaps are refused while it has pins, and it keeps no context. */
  readonly isInternal?: boolean;
  /** An area goes: all pins of [first, end) are to be given back. */
  readonly unmapping?: (first: bigint, end: bigint) => void;
}

export class IoasAccess implements IommufdObject, MemoryUser {
  id = 0;
  /** Whoever made it is one: a program cannot destroy it. */
  users = 1;
  readonly alignment: bigint;
  ioas: Ioas | null = null;

  constructor(
    private readonly context: IommufdContext,
    private readonly options: AccessOptions,
  ) {
    this.alignment = options.pins ? PAGE : 1n;
    context.objects.add(this);
    if (options.isInternal !== true) context.hold();
  }

  /** ENOENT: no such IOAS; EADDRINUSE: an area of it is not aligned as it needs. */
  attach(ioasId: number): void {
    this.change(this.context.objects.get(ioasId, Ioas));
  }

  /** Moves it; what is pinned is given back first. ENOENT: it is attached to nothing; as above. */
  replace(ioasId: number): void {
    if (this.ioas === null) fail('ENOENT');
    this.attach(ioasId);
  }

  change(ioas: Ioas | null): void {
    const old = this.ioas;
    if (old === ioas) return;
    ioas?.addUser(this);
    if (ioas !== null) ioas.users++;
    if (old !== null) {
      this.options.unmapping?.(0n, ADDRESS_END);
      old.removeUser(this);
      old.users--;
    }
    this.ioas = ioas;
  }

  unmapping(first: bigint, end: bigint): void {
    this.options.unmapping?.(first, end);
  }

  /**
   * Pins what is mapped at [iova, iova + length), and returns the frames of its pages. EINVAL: no
   * length; EOVERFLOW; ENOENT: a part is not mapped; EINVAL: it is not of whole pages; EPERM;
   * EFAULT, ENOMEM. Then nothing is pinned.
   */
  pin(iova: bigint, length: bigint, write: boolean): number[] {
    const frames: number[] = [];
    const done: Part[] = [];
    try {
      for (const { area, at, end, isLast } of this.areas(iova, length)) {
        if (start(area, at) % PAGE !== 0n) fail('EINVAL');
        if (!isLast && start(area, area.end) % PAGE !== 0n) fail('EINVAL');
        checkPermission(area, write);
        if (write && (area.source.permission & WRITE) === 0) fail('EPERM');
        const part = partOf(area, at, end);
        this.count(area.source.pin(part.first, part.count));
        this.hold(area, 1);
        done.push(part);
        for (const run of area.source.pinnedRuns(part.first, part.count))
          for (let i = 0; i < run.count; i++) frames.push(run.frame + i);
      }
    } catch (error) {
      for (const part of done) this.unpinPart(part);
      throw error;
    }
    return frames;
  }

  /** Undoes one `pin` of the same range. */
  unpin(iova: bigint, length: bigint): void {
    for (const { area, at, end } of this.areas(iova, length)) this.unpinPart(partOf(area, at, end));
  }

  /** Copies from or to what is mapped. Errors as `pin`; what lies before is copied. */
  readWrite(iova: bigint, bytes: Uint8Array, write: boolean): void {
    let done = 0;
    for (const { area, at, end } of this.areas(iova, BigInt(bytes.length))) {
      checkPermission(area, write);
      const { mm, permission, vaddrPage } = area.source;
      if (write && (permission & WRITE) === 0) fail('EPERM');
      const address = Number(BigInt(vaddrPage) * PAGE + start(area, at));
      const part = bytes.subarray(done, done + Number(end - at));
      if (!(write ? mm.copyTo(address, part) : mm.copyFrom(address, part))) fail('EFAULT');
      done += part.length;
    }
  }

  /** It is not used any more, and nothing of it is pinned. */
  end(): void {
    this.users--;
    this.context.objects.remove(this);
  }

  destroy(): void {
    this.change(null);
    if (this.options.isInternal !== true) this.context.drop();
  }

  /** Areas that follow one another from an address on, with the part of each. */
  private *areas(
    iova: bigint,
    length: bigint,
  ): Generator<{ area: Area; at: bigint; end: bigint; isLast: boolean }, void, void> {
    if (length === 0n) fail('EINVAL');
    const stop = iova + length;
    if (stop > ADDRESS_END) fail('EOVERFLOW');
    const { areas } = this.ioas ?? fail('ENOENT');
    for (let at = iova; at < stop; ) {
      const area = areas.firstIn(at, at + 1n) ?? fail('ENOENT');
      const isLast = area.end >= stop;
      const end = isLast ? stop : area.end;
      yield { area, at, end, isLast };
      at = end;
    }
  }

  private unpinPart({ area, first, count }: Part): void {
    this.count(-area.source.unpin(first, count));
    this.hold(area, -1);
  }

  private hold(area: Area, by: 1 | -1): void {
    area.accesses += by;
    if (this.options.isInternal === true) area.locks += by;
  }

  private count(pages: number): void {
    this.context.machine.counters.addPinned(pages);
  }
}

/** Where an address of an area is in its source, in bytes. */
function start(area: Area, iova: bigint): bigint {
  return area.start + (iova - area.iova);
}

function partOf(area: Area, at: bigint, end: bigint): Part {
  const first = Number(start(area, at) / PAGE);
  return { area, first, count: Number((start(area, end) + PAGE - 1n) / PAGE) - first };
}

function checkPermission({ permission }: Area, write: boolean): void {
  if ((permission & (write ? WRITE : READ)) === 0) fail('EPERM');
}
