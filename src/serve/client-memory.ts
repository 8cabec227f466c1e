/**
 * All memory that a client has shared, by frames: what this process has mapped, and what it reaches
 * otherwise. Pieces move in the order of their list, as `ProcessMemory` promises.
 */
import { PAGE_SIZE, X86_64_TASK_SIZE } from '../mm/address-space.js';
import { type FrameMemory, SegmentList } from '../mm/frame-memory.js';
import { FRAMES_PER_SPACE } from '../mm/process/frames.js';
import { close, pread, pwrite } from '../mm/process/libc.js';
import { ProcessMemory } from '../mm/process/memory.js';
import { ProcessSpace, SPACES_MAX } from '../mm/process/space.js';
import { ForeignSpace, type Stretch, type Transfer } from './foreign-space.js';

/** The space of this process's own mappings; foreign ones follow. */
const OWN = 0;

export class ClientMemory implements FrameMemory {
  readonly process = new ProcessMemory();
  /** What is mapped here of files that a client has sent. */
  readonly own: ProcessSpace;
  private readonly foreign = new Map<number, ForeignSpace>();
  private readonly part = new SegmentList();
  private nextId = OWN + 1;

  constructor() {
    this.own = new ProcessSpace(OWN, process.pid, {
      deviceFiles: new Map(),
      sharesZeroPage: false,
      taskSize: X86_64_TASK_SIZE,
    });
    this.process.add(this.own);
  }

  /** A space that is reached by `transfer`; null: there are too many. */
  addForeign(transfer: Transfer): ForeignSpace | null {
    if (this.foreign.size >= SPACES_MAX - 2) return null;
    while (this.foreign.has(this.nextId) || this.nextId === OWN)
      this.nextId = (this.nextId + 1) % SPACES_MAX;
    const space = new ForeignSpace(this.nextId, transfer);
    this.nextId = (this.nextId + 1) % SPACES_MAX;
    this.foreign.set(space.id, space);
    return space;
  }

  remove(space: ForeignSpace): void {
    this.foreign.delete(space.id);
  }

  read(list: SegmentList): number {
    return this.foreign.size === 0 ? this.process.read(list) : this.move(list, false);
  }

  write(list: SegmentList): number {
    return this.foreign.size === 0 ? this.process.write(list) : this.move(list, true);
  }

  private move(list: SegmentList, isWrite: boolean): number {
    let moved = 0;
    for (let segment = 0; segment < list.count; ) {
      const { part } = this;
      part.clear();
      let space: ForeignSpace | undefined;
      for (; segment < list.count; segment++) {
        const frame = list.frame[segment]!;
        space = this.foreign.get(Math.floor(frame / FRAMES_PER_SPACE));
        if (space !== undefined) break;
        const [offset, length] = [list.offset[segment]!, list.length[segment]!];
        part.append(frame, offset, length, list.buffer[segment]!, list.bufferOffset[segment]!);
      }
      if (part.count > 0) {
        const got = isWrite ? this.process.write(part) : this.process.read(part);
        moved += got;
        if (got !== part.bytes) return moved;
      }
      if (space === undefined) continue;
      const stretches = stretchesOf(space, list, segment);
      const got = space.move(isWrite, stretches);
      moved += got;
      if (got !== stretches.reduce((sum, { length }) => sum + length, 0)) return moved;
      segment += stretches.length;
    }
    return moved;
  }
}

/** A segment of a space, and those behind it that may move at the same time. */
function stretchesOf({ id }: ForeignSpace, list: SegmentList, first: number): Stretch[] {
  const base = id * FRAMES_PER_SPACE;
  const stretches: Stretch[] = [];
  for (let at = first; at === first || at < list.together; at++) {
    const page = list.frame[at]! - base;
    if (page < 0 || page >= FRAMES_PER_SPACE) break;
    stretches.push({
      address: page * PAGE_SIZE + list.offset[at]!,
      length: list.length[at]!,
      buffer: list.buffer[at]!,
      offset: list.bufferOffset[at]!,
    });
  }
  return stretches;
}

/** A descriptor as memory (libvfio-user's FILE_IO): `/proc/PID/mem`, or any file. */
export function fileTransfer(fd: number): Transfer & { close(): void } {
  return {
    move(isWrite, stretches) {
      const call = isWrite ? pwrite : pread;
      let moved = 0;
      for (const { address, buffer, length, offset } of stretches)
        for (let done = 0; done < length; ) {
          const got = call(fd, buffer.address + offset + done, length - done, address + done);
          if (got <= 0) return moved;
          done += got;
          moved += got;
        }
      return moved;
    },
    close: () => void close(fd),
  };
}
