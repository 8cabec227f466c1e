import { Bug } from '../../abi/bug.js';
import { PAGE_SIZE } from '../address-space.js';
import type { DmaBuffer, FrameMemory, SegmentList } from '../frame-memory.js';
import { FRAMES_PER_SPACE } from './frames.js';
import { IOVEC_MAX, IovecArray } from './iovec.js';
import { deviceReadv, deviceWritev } from './remote-transfer.js';
import { type ProcessSpace, SPACES_MAX } from './space.js';

type Transfer = typeof deviceReadv;

/** The space of this process: devices' own memory. */
const OWN_SPACE = SPACES_MAX;

/**
 * Memory of live processes, by the frames that their spaces hand out. Buffers need native
 * addresses.
 *
 * Programs that poll rely on the order in which segments are copied: data before the completion
 * that tells of it, an index before the ring that it covers. That holds on weakly ordered
 * processors too: the kernel takes one remote vector after the other, and drops the pins on the
 * pages of each behind its copy (mm/process_vm_access.c) by atomics that are full barriers
 * (Documentation/atomic_t.txt). They also order a call's copies before what this thread does next.
 * What it has stored before comes first as well: the call releases one lock (exec_update_lock) and
 * takes another (mmap_lock) before it copies. Bytes *within* a segment may appear in any order;
 * naturally aligned words of up to 8 bytes appear whole.
 */
export class ProcessMemory implements FrameMemory {
  private readonly spaces = new Map<number, ProcessSpace>();
  private readonly local = new IovecArray();
  private readonly remote = new IovecArray();

  add(space: ProcessSpace): void {
    this.spaces.set(space.id, space);
  }

  remove(space: ProcessSpace): void {
    this.spaces.delete(space.id);
  }

  get all(): Iterable<ProcessSpace> {
    return this.spaces.values();
  }

  /** The process and the page of it that a frame stands for; process 0 where it has ended. */
  placeOf(frame: number): { pid: number; page: number } {
    const id = Math.floor(frame / FRAMES_PER_SPACE);
    return { pid: this.spaces.get(id)?.pid ?? 0, page: frame - id * FRAMES_PER_SPACE };
  }

  /** The frame of the first page of memory of this process, page aligned. */
  frameOf(buffer: DmaBuffer): number {
    return OWN_SPACE * FRAMES_PER_SPACE + buffer.address / PAGE_SIZE;
  }

  read(list: SegmentList): number {
    return this.move(list, deviceReadv);
  }

  write(list: SegmentList): number {
    return this.move(list, deviceWritev);
  }

  private move(list: SegmentList, transfer: Transfer): number {
    const { local, remote } = this;
    let moved = 0;
    for (let segment = 0; segment < list.count; ) {
      const id = Math.floor(list.frame[segment]! / FRAMES_PER_SPACE);
      const base = id * FRAMES_PER_SPACE;
      let bytes = 0;
      local.count = remote.count = 0;
      // The run of segments in one space; process_vm_* treats both sides as one stream of bytes.
      for (; segment < list.count && local.count < IOVEC_MAX; segment++) {
        const page = list.frame[segment]! - base;
        if (page < 0 || page >= FRAMES_PER_SPACE) break;
        const buffer = list.buffer[segment]!;
        if (buffer.address === 0)
          throw new Bug('device memory without a native address', { segment });
        local.push(buffer.address + list.bufferOffset[segment]!, list.length[segment]!);
        remote.push(page * PAGE_SIZE + list.offset[segment]!, list.length[segment]!);
        bytes += list.length[segment]!;
      }
      const space = this.spaces.get(id);
      if (space === undefined ? id !== OWN_SPACE : space.suspect && !space.alive) return moved;
      const task = space?.task ?? process.pid;
      const got = transfer(task, local.address, local.count, remote.address, remote.count);
      if (got > 0) moved += got;
      if (got !== bytes) {
        space?.forgetProtections();
        return moved;
      }
    }
    return moved;
  }
}
